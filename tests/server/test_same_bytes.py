"""Repeated identical requests: only facts about their bytes are cached. And a request handled
without a task gets the same answer as with one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.wire import Wire, get, values_of

RULES = [
    {"path": "/public/*", "require": "public"},
    {"path": "/admin/*", "groups": ["admins"]},
]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    def script(wire: Wire) -> None:
        while head := wire.head():
            name = (values_of(head, b"remote-user") or [b"nobody"])[0]
            body = name + b" " + head.split()[1]
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            if not head.startswith(b"HEAD"):
                wire.send(body)

    with Origin((script,)) as origin:
        yield origin


@pytest.fixture(scope="module")
def live(deploy: Start, origin: Origin) -> Live:
    users = [config_user("alice"), config_user("root", groups=["admins"])]
    return deploy(origin.url, access={"rules": RULES}, users=users)


def test_repeated_headers_are_reused_for_any_target(live: Live) -> None:
    alice = live.login("alice")
    with live.client() as client:
        for target, status, body in [
            ("/a", 200, b"alice /a"),
            ("/b?x", 200, b"alice /b?x"),
            ("/admin/", 403, None),
            ("/public/", 200, b"alice /public/"),
            ("/.doorward/logout", 200, None),
            ("/xhr/session", 200, None),
            ("/a%2Fb", 200, b"alice /a%2Fb"),
        ] * 2:
            got = client.get(target, alice)
            assert got.status == status, target
            assert body is None or got.body == body


def test_only_header_lines_are_remembered(live: Live) -> None:
    """An empty line before a request must not make its request line one of the headers."""
    request = get("/public/", host=live.host)
    with live.client() as client:
        assert client.ask(b"\r\n" + request).status == 200
        assert client.ask(b"GET /public/ HTTP/1.1\r\n" + request).status == 400


def test_cached_headers_never_mix_users(live: Live) -> None:
    cookies = [live.login("alice"), live.login("root"), "X: y"]
    clients = [live.client() for _ in range(6)]
    for _ in range(3):
        for number, client in enumerate(clients):
            got = client.get("/admin/", cookies[number % 3])
            assert got.status == [403, 200, 401][number % 3]
    for client in clients:
        client.close()


def test_an_ended_session_is_refused_for_repeated_requests(live: Live) -> None:
    cookie = live.login("alice")
    request = get("/", cookie, host=live.host)
    with live.client() as client, live.client() as other:
        for _ in range(3):
            assert client.ask(request).status == other.ask(request).status == 200
        with live.client() as third:
            head = get("/.doorward/logout", cookie, "Content-Length: 0", host=live.host)
            assert third.ask(head.replace(b"GET", b"POST", 1)).status == 303
        assert client.ask(request).status == other.ask(request).status == 401


def test_the_same_bytes_from_elsewhere_are_another_request(deploy: Start, origin: Origin) -> None:
    rules = [{"path": "/*", "networks": ["127.0.0.3"], "require": "public"}]
    live = deploy(origin.url, access={"rules": rules}, users=[config_user()])
    for _ in range(3):
        for source, status in [("127.0.0.3", 200), ("127.0.0.2", 401), ("127.0.0.1", 401)]:
            with live.client(source=source) as client:
                assert [client.get("/", host=live.host).status for _ in range(3)] == [status] * 3
        assert values_of(origin.heads[-1], b"x-forwarded-for") == [b"127.0.0.3"]
    cookie = live.login()
    for source in ("127.0.0.2", "127.0.0.1") * 3:
        with live.client(source=source) as client:
            for _ in range(3):
                assert client.get("/", cookie, host=live.host).status == 200
                assert values_of(origin.heads[-1], b"x-real-ip") == [source.encode()]


def test_the_same_bytes_have_another_id_each_time(live: Live, origin: Origin) -> None:
    cookie, before = live.login(), len(origin.heads)
    with live.client() as client:
        for _ in range(10):
            assert client.get("/", cookie, host=live.host).status == 200
    ids = [values_of(head, b"x-request-id")[0] for head in origin.heads[before:]]
    assert len(set(ids)) == 10


@pytest.mark.parametrize("lines", [(), ("Sec-Fetch-Mode: navigate", "Accept: text/html")])
def test_a_repeated_refusal_has_its_own_request_id(live: Live, lines: tuple[str, ...]) -> None:
    """Each answer to identical bytes has its own request id."""
    cookie = live.login("alice")
    found: set[bytes] = set()
    with live.client() as client:
        for _ in range(5):
            got = client.get("/admin/", cookie, *lines, host=live.host)
            assert got.status == 403 and len(got.body) == int(got.values(b"content-length")[0])
            found.update(re.findall(rb"[0-9a-f]{24,}", got.body))
    assert len(found) == 5
    asked = [live.get("/a", *lines) for _ in range(3)]
    assert {got.status for got in asked} == {303 if lines else 401}


def test_a_change_of_groups_applies_to_repeated_requests(deploy: Start, origin: Origin) -> None:
    """CVE-2021-41230: users kept groups that they no longer had."""
    live = deploy(origin.url, access={"rules": RULES})
    live.add_user("dora", "--group", "admins")
    cookie = live.login("dora")
    with live.client() as client:
        for command, status in [("--remove-group", 403), ("--add-group", 200)] * 2:
            live.command("user", "edit", "dora", command, "admins")
            assert [client.get("/admin/", cookie).status for _ in range(3)] == [status] * 3


def _settled(text: bytes) -> bytes:
    """The answer without the random parts of the page, and of its form."""
    text = re.sub(rb"(nonce[-=]\"?|doorward-kept=)[0-9a-f]+", rb"\1", text)
    return re.sub(rb'(name="kept" value=")[^"]+', rb"\1", text)


def test_both_code_paths_give_the_same_answers(deploy: Start, origin: Origin) -> None:
    """Status, headers and body of every answer that can be given without a task."""
    both = [
        deploy(origin.url, access={"rules": RULES}, users=[config_user()], fast_lane=on)
        for on in (True, False)
    ]
    for live in both:
        live.get("/public/")  # a kept connection
    page = ("Sec-Fetch-Mode: navigate", "Accept: text/html")
    own = (*page, "Sec-Fetch-Site: same-origin")
    form = "Content-Type: application/x-www-form-urlencoded"
    frame = (*own, "Sec-Fetch-Dest: iframe")
    varying = (b"date: ", b"content-length: ")  # the host is in the page
    for method, target, lines in [
        ("POST", "/x", (*own, form, "Content-Length: 0")),
        ("POST", "/x", (*page, "Origin: http://evil.test", form)),
        ("POST", "/x", (*page, form)),
        ("POST", "/x", ("Accept: */*", form)),
        ("POST", "/x", frame),
        ("GET", "/x", frame),
        ("GET", "/public/x", ()),
        ("HEAD", "/public/x", ()),
        ("GET", "/x", ()),
        ("GET", "/x", page),
        ("GET", "/x", ("Cookie: doorward=forged",)),
        ("GET", "/x", ("Cookie: doorward=a; doorward=b",)),
        ("GET", "/public/../x", page),
        ("GET", "/x", ("Expect: x",)),
        ("OPTIONS", "/public/x", ("Max-Forwards: 0",)),
        ("BREW", "/public/x", ()),
    ]:
        answers = []
        for live in both:
            request = get(target, *lines, host=live.host).replace(b"GET", method.encode(), 1)
            for _ in range(2):
                with live.client() as client:
                    answer = client.ask(request)
            head = _settled(answer.head).replace(str(live.port).encode(), b"PORT")
            kept = [line for line in head.split(b"\r\n") if not line.startswith(varying)]
            body = answer.body.partition(b'"request_id"')[0].partition(b"<code")[0]
            body = _settled(body).replace(str(live.port).encode(), b"PORT")
            answers.append((kept[0], sorted(kept[1:]), body))
        assert answers[0] == answers[1], (method, target, lines)


def test_a_kept_connection_that_closed_costs_the_request_nothing(deploy: Start) -> None:
    def once(wire: Wire) -> None:
        wire.head()
        wire.send(OK)

    with Origin((once,)) as origin:
        live = deploy(origin.url, access={"default": "public"})
        with live.client() as client:
            for _ in range(5):
                assert client.get("/").body == b"ok"
        assert len(origin.heads) == 5


def test_an_upstream_that_does_not_answer_is_502(deploy: Start) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(OK)
        wire.head()
        wire.send(b"nonsense\r\n\r\n")

    with Origin((script, answering(OK))) as origin:
        live = deploy(origin.url, access={"default": "public"})
        with live.client() as client:
            assert [client.get("/").status for _ in range(3)] == [200, 502, 200]
