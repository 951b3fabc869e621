"""Person or program: the headers of real clients, and the answer that each of them can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from doorward.gate.client_kind import ClientKind, detect_client_kind

from tests.support.front import Build, Front
from tests.support.wire import Header

NAVIGATION, SENDER, FRAME, PROGRAM = (
    ClientKind.NAVIGATION,
    ClientKind.FORM,
    ClientKind.FRAME,
    ClientKind.PROGRAM,
)

CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;"
    "q=0.8,application/signed-exchange;v=b3;q=0.7"
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
SAFARI = FIREFOX
IMAGES = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


def fetch(mode: str, dest: str, site: str = "same-origin") -> str:
    return f"Sec-Fetch-Site: {site}\nSec-Fetch-Mode: {mode}\nSec-Fetch-Dest: {dest}\n"


# Name, method, header lines as the client sends them, and the kind of client.
CLIENTS: list[tuple[str, str, str, ClientKind]] = [
    # Windows of browsers
    ("Chrome", "GET", fetch("navigate", "document", "none") + f"Accept: {CHROME}", NAVIGATION),
    ("Chrome over plain http", "GET", f"Accept: {CHROME}", NAVIGATION),
    ("Edge, from a link elsewhere", "GET", fetch("navigate", "document", "cross-site"), NAVIGATION),
    ("Firefox", "GET", fetch("navigate", "document", "none") + f"Accept: {FIREFOX}", NAVIGATION),
    ("Firefox over plain http", "GET", f"Accept: {FIREFOX}", NAVIGATION),
    ("Safari 16.4", "GET", fetch("navigate", "document") + f"Accept: {SAFARI}", NAVIGATION),
    ("Safari 15, without Sec-Fetch", "GET", f"Accept: {SAFARI}", NAVIGATION),
    ("Internet Explorer 11", "GET", "Accept: text/html, application/xhtml+xml, */*", NAVIGATION),
    (
        "WebKit of 2010, on readers",
        "GET",
        "Accept: application/xml,application/xhtml+xml,text/html;q=0.9,text/plain;q=0.8,"
        "image/png,*/*;q=0.5",
        NAVIGATION,
    ),
    (
        "An Android app's WebView",
        "GET",
        f"X-Requested-With: com.example.mail\nAccept: {CHROME}",
        NAVIGATION,
    ),
    (
        "Lynx",
        "GET",
        "Accept: text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01",
        NAVIGATION,
    ),
    ("w3m", "GET", "Accept: text/html, text/*;q=0.5, image/*, application/*", NAVIGATION),
    ("Chrome, prefetching by rule", "GET", fetch("navigate", "document"), NAVIGATION),
    ("A browser's HEAD", "HEAD", f"Accept: {FIREFOX}", NAVIGATION),
    # Forms
    ("A form in Chrome", "POST", fetch("navigate", "document") + f"Accept: {CHROME}", SENDER),
    ("A form over plain http", "POST", f"Accept: {FIREFOX}", SENDER),
    ("A payment page's form", "POST", fetch("navigate", "document", "cross-site"), SENDER),
    # Frames
    ("An iframe", "GET", fetch("navigate", "iframe") + f"Accept: {CHROME}", FRAME),
    ("A form in an iframe", "POST", fetch("navigate", "iframe"), FRAME),
    ("A frame of a frameset", "GET", fetch("navigate", "frame"), FRAME),
    ("An embedded PDF", "GET", fetch("navigate", "embed"), FRAME),
    ("An object", "GET", fetch("navigate", "object"), FRAME),
    # Resources of pages
    ("An image", "GET", fetch("no-cors", "image") + f"Accept: {IMAGES}", PROGRAM),
    ("An image over plain http", "GET", f"Accept: {IMAGES}", PROGRAM),
    ("A video", "GET", fetch("no-cors", "video") + "Accept: */*", PROGRAM),
    ("A stylesheet", "GET", fetch("no-cors", "style") + "Accept: text/css,*/*;q=0.1", PROGRAM),
    ("A font", "GET", fetch("cors", "font") + "Accept: */*", PROGRAM),
    ("A manifest", "GET", fetch("cors", "manifest") + "Accept: */*", PROGRAM),
    ("A service worker", "GET", fetch("same-origin", "serviceworker"), PROGRAM),
    (
        "A prefetched link",
        "GET",
        fetch("no-cors", "empty") + f"Sec-Purpose: prefetch\nAccept: {CHROME}",
        PROGRAM,
    ),
    ("A beacon", "POST", fetch("no-cors", "empty") + "Accept: */*", PROGRAM),
    ("A preflight", "OPTIONS", "Access-Control-Request-Method: PUT\nAccept: */*", PROGRAM),
    ("An EventSource", "GET", "Accept: text/event-stream", PROGRAM),
    ("A WebSocket", "GET", fetch("websocket", "empty") + "Upgrade: websocket", PROGRAM),
    # Scripts of pages
    ("fetch()", "GET", fetch("cors", "empty") + "Accept: */*", PROGRAM),
    ("fetch() over plain http", "GET", "Accept: */*", PROGRAM),
    ("XMLHttpRequest", "POST", fetch("cors", "empty") + "Accept: */*", PROGRAM),
    (
        "jQuery, for a piece of a page",
        "GET",
        "X-Requested-With: XMLHttpRequest\nAccept: text/html, */*; q=0.01",
        PROGRAM,
    ),
    (
        "jQuery, posting a form",
        "POST",
        "X-Requested-With: XMLHttpRequest\nAccept: text/html, */*; q=0.01",
        PROGRAM,
    ),
    ("axios", "GET", "Accept: application/json, text/plain, */*", PROGRAM),
    ("htmx", "GET", fetch("cors", "empty") + "HX-Request: true\nAccept: text/html, */*", PROGRAM),
    (
        "Turbo",
        "GET",
        fetch("cors", "empty") + "Accept: text/html, application/xhtml+xml",
        PROGRAM,
    ),
    (
        "Unpoly",
        "GET",
        "X-Requested-With: XMLHttpRequest\nAccept: text/html, */*",
        PROGRAM,
    ),
    # Command lines and libraries
    ("curl", "GET", "User-Agent: curl/8.5.0\nAccept: */*", PROGRAM),
    ("curl -d", "POST", "Accept: */*\nContent-Type: application/x-www-form-urlencoded", PROGRAM),
    ("wget", "GET", "User-Agent: Wget/1.21\nAccept: */*\nAccept-Encoding: identity", PROGRAM),
    ("git", "GET", "User-Agent: git/2.43.0\nAccept: */*\nGit-Protocol: version=2", PROGRAM),
    ("git, pushing", "POST", "Accept: application/x-git-receive-pack-result", PROGRAM),
    ("requests", "GET", "User-Agent: python-requests/2.32\nAccept: */*", PROGRAM),
    ("Go", "GET", "User-Agent: Go-http-client/1.1", PROGRAM),
    (
        "Java up to 21",
        "GET",
        "User-Agent: Java/17.0.9\nAccept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        PROGRAM,
    ),
    ("Java since 22", "GET", "Accept: text/html, image/gif, image/jpeg, */*; q=0.2", PROGRAM),
    (
        "PowerShell",
        "GET",
        "User-Agent: Mozilla/5.0 (Windows NT; en-US) WindowsPowerShell/5.1",
        PROGRAM,
    ),
    # WebDAV, calendars, feeds, probes
    ("WebDAV of macOS", "PROPFIND", "User-Agent: WebDAVFS/3.0.0\nAccept: */*", PROGRAM),
    ("WebDAV of Windows", "PROPFIND", "User-Agent: Microsoft-WebDAV-MiniRedir/10.0", PROGRAM),
    ("davfs2", "PROPFIND", "User-Agent: davfs2/1.6.1 neon/0.32.2\nDepth: 0", PROGRAM),
    ("rclone", "PROPFIND", "User-Agent: rclone/v1.60\nDepth: 1", PROGRAM),
    ("DAVx5", "REPORT", "Accept-Language: de-DE, *;q=0.7\nDepth: 1", PROGRAM),
    ("Apple Calendar", "PROPFIND", "User-Agent: macOS/14.2 dataaccessd/1.0\nAccept: */*", PROGRAM),
    (
        "Thunderbird's calendar",
        "GET",
        "Accept: text/calendar,text/plain;q=0.8,*/*;q=0.5",
        PROGRAM,
    ),
    (
        "A feed reader",
        "GET",
        "Accept: application/atom+xml, application/rss+xml, application/rdf+xml;q=0.9, "
        "application/xml;q=0.8, text/xml;q=0.8, text/html;q=0.7, */*;q=0.1",
        PROGRAM,
    ),
    (
        "Miniflux",
        "GET",
        "Accept: application/xml, application/atom+xml, application/rss+xml, "
        "application/feed+json, text/html, */*;q=0.9",
        PROGRAM,
    ),
    ("Kubernetes' probe", "GET", "User-Agent: kube-probe/1.29\nAccept: */*", PROGRAM),
    ("Prometheus", "GET", "Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1", PROGRAM),
    ("UptimeRobot", "HEAD", "User-Agent: Mozilla/5.0+(compatible; UptimeRobot/2.0)", PROGRAM),
    ("An API client of a framework", "GET", "Accept: application/json, text/html;q=0.9", PROGRAM),
    # Unusual clients
    ("No page, please", "GET", "Accept: text/html;q=0, */*", PROGRAM),
    ("A weight that is none", "GET", "Accept: text/html;q=x", PROGRAM),
    (
        "A page over two lines",
        "GET",
        "Accept: text/html\nAccept: application/json;q=0.5",
        NAVIGATION,
    ),
    ("Two modes", "GET", "Sec-Fetch-Mode: navigate\nSec-Fetch-Mode: cors", PROGRAM),
    ("A destination alone", "GET", f"Sec-Fetch-Dest: empty\nAccept: {CHROME}", PROGRAM),
    ("A window by its destination alone", "GET", "Sec-Fetch-Dest: document", NAVIGATION),
    ("Nothing", "GET", "", PROGRAM),
    ("Accept alone, as in a shell", "GET", "Accept: text/html", NAVIGATION),
]


def lines(text: str) -> list[Header]:
    pairs = (line.partition(": ") for line in text.splitlines())
    return [(name.lower().encode(), value.encode()) for name, _, value in pairs]


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [one[1:] for one in CLIENTS],
    ids=[one[0] for one in CLIENTS],
)
def test_clients_are_classified_by_their_headers(
    method: str, headers: str, expected: ClientKind
) -> None:
    assert detect_client_kind(method, lines(headers)) is expected


@pytest.fixture
async def strict(fronts: Build) -> Front:
    """Everything requires a login or more, and the application is down."""
    rules = [
        {"path": "/admin/*", "groups": ["admins"]},
        {"path": "/down/*", "require": "public"},
    ]
    return await fronts(access={"rules": rules}, routes=[{"upstream": "http://127.0.0.1:9"}])


ANSWERS = {NAVIGATION: "page", SENDER: "page", FRAME: "page", PROGRAM: "json"}


def kind(answer: object) -> str:
    (told,) = answer.values(b"content-type")  # type: ignore[attr-defined]
    return "page" if told.startswith(b"text/html") else told.decode().rpartition("/")[2]


@pytest.mark.parametrize("target", ["/.doorward/nothing", "/down/", "/admin/", "/x?token=%"])
async def test_every_refusal_has_a_form_that_the_client_can_use(strict: Front, target: str) -> None:
    """Doorward's own 404, 502, 403 and 400, for each of those clients."""
    session = strict.cookie(await strict.opened())
    for name, method, headers, who in CLIENTS:
        if method in ("HEAD", "OPTIONS") or b"upgrade" in dict(lines(headers)):
            continue
        answer = await strict.get(target, session, *lines(headers), method=method)
        assert (answer.status >= 400, kind(answer)) == (True, ANSWERS[who]), name


async def test_only_page_navigations_are_redirected_to_the_login(strict: Front) -> None:
    for name, method, headers, who in CLIENTS:
        answer = await strict.get("/wiki", *lines(headers), method=method)
        assert answer.status == (303 if who is NAVIGATION else 401), name


REFERER: Header = (b"referer", b"http://app.test/wiki/edit?page=2")


@pytest.mark.parametrize(
    ("site", "more"),
    [
        ("cross-site", (b"content-type", b"application/x-www-form-urlencoded")),
        ("same-origin", (b"content-length", b"70000")),
        ("same-origin", (b"content-type", b"text/plain")),
    ],
)
async def test_a_lost_form_gets_a_page_that_explains_it(
    strict: Front, site: str, more: Header
) -> None:
    form = [*lines(fetch("navigate", "document", site)), REFERER]
    answer = await strict.get("/wiki/save", *form, more, method="POST")
    page = answer.body.decode()
    assert answer.status == 401 and "did not reach the application" in page
    assert 'href="/.doorward/login?rd=/wiki/edit%3Fpage%3D2"' in page, "back to the form's page"
    assert answer.values(b"www-authenticate") == [b'Bearer realm="doorward"']


async def test_a_frame_gets_a_page_whose_link_opens_the_login_in_the_window(strict: Front) -> None:
    """The login page does not open in frames; a browser would show an empty frame."""
    answer = await strict.get("/wiki/part", *lines(fetch("navigate", "iframe")), REFERER)
    page = answer.body.decode()
    assert answer.status == 401
    assert 'href="/.doorward/login?rd=/wiki/edit%3Fpage%3D2" target="_top"' in page
    assert answer.values(b"x-frame-options") == [b"SAMEORIGIN"]
    assert b"frame-ancestors 'self'" in answer.values(b"content-security-policy")[0]
    assert "did not reach" not in page and "<script" not in page


@pytest.mark.parametrize("referer", [b"http://evil.test/x", b"javascript:1", b"//app.test/x", b"["])
async def test_the_login_link_ignores_a_foreign_referer(strict: Front, referer: bytes) -> None:
    """CVE-2024-21496: a Referer that ends in a link."""
    frame = [*lines(fetch("navigate", "iframe", "cross-site")), (b"referer", referer)]
    answer = await strict.get("/wiki/part", *frame)
    assert b'href="/.doorward/login" target="_top"' in answer.body


def test_only_one_module_reads_the_client_headers() -> None:
    """No other file reads these headers, except for the format of metrics."""
    source = Path(__file__).parents[2] / "proxy" / "doorward"
    texts = {
        path.relative_to(source).as_posix(): path.read_text().lower()
        for path in source.rglob("*.py")
        if path != source / "http1" / "heads.py"  # which only knows their names
        if "doctor" not in path.parts  # which sends them
    }

    def readers(*names: str) -> list[str]:
        return sorted(p for p, text in texts.items() if any(f'"{name}"' in text for name in names))

    who = readers("sec-fetch-mode", "sec-fetch-dest", "x-requested-with", "accept")
    assert who == ["gate/client_kind.py", "server/admin.py"]
    assert readers("sec-fetch-site") == ["gate/same_origin.py"]
