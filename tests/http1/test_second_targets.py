"""Headers with another target: the rules must allow a write to it."""

from __future__ import annotations

import pytest
from doorward.http1.headers import HeaderAction, classify_header, parse_headers, select_trailers
from doorward.http1.second_targets import (
    READERS,
    TARGETS_LIMIT,
    BadTarget,
    ForeignTarget,
    SecondTarget,
    read_second_targets,
    rewrite_target,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.support.front import Build, Front
from tests.support.origin import Origin
from tests.support.wire import Header, values_of

RULES = [
    {"path": "/dav/secret/*", "groups": ["admins"]},
    {"path": "/dav/locked/*", "methods": ["PUT", "DELETE"], "groups": ["admins"]},
    {"path": "/dav/twice/*", "require": "two_factor"},
    {"path": "/dav/open/*", "require": "public"},
]
HERE = "http://app.test"


@pytest.fixture
async def dav(fronts: Build, origin: Origin) -> Front:
    routes = [
        {"path": "/dav", "upstream": origin.url},
        {"path": "/other", "upstream": origin.url},
        {"path": "/dav/sub", "upstream": origin.url},
    ]
    return await fronts(routes=routes, access={"rules": RULES})


def naming(name: str, url: str) -> Header:
    """A header with this name and the target `url`. Add the form of a new header here."""
    written = {"destination": url, "if": f'<{url}> (<opaquelocktoken:x> [W/"a)b"])'}
    return name.encode(), written[name].encode("latin-1")


every_header = pytest.mark.parametrize("name", [name.decode() for name in READERS])
NAMED = [
    ("/dav/b.txt", 200),
    (HERE + "/dav/b.txt", 200),
    ("HTTP://APP.TEST:80/dav/b.txt", 200),
    ("https://app.test/dav/b.txt", 200),  # if the proxy in front does not send the scheme
    ("http://127.0.0.1:8080/dav/b.txt", 200),  # public_url
    ("/dav/b%20c?d=e", 200),
    ("/dav/secret/plan.txt", 403),
    (HERE + "/dav/secret/plan.txt", 403),
    ("/dav/locked/plan.txt", 403),  # the request writes there
    ("/dav/twice/plan.txt", 401),
    ("/dav/sub/x", 502),  # another route
    ("/other/x", 502),
    ("/elsewhere", 502),
    ("/.doorward/login", 502),
    ("/xhr/login", 502),
    ("http://evil.test/dav/b.txt", 502),
    ("http://app.test:81/dav/b.txt", 502),
    ("http://app.test.evil.test/dav/b.txt", 502),
    ("ftp://app.test/dav/b.txt", 502),
    ("http://app.test@evil.test/dav/b.txt", 502),
    ("http://evil.test\\@app.test/dav/b.txt", 502),
    ("/dav/%73ecret/plan.txt", 400),
    ("/dav//secret/plan.txt", 400),
    ("/dav/secret%2Fplan.txt", 400),
    ("/dav/x/../secret/plan.txt", 400),
    ("/dav/b%2e%2e/x", 200),
    ("/dav/%2e%2e/x", 400),
    ("/dav\\secret\\x", 400),
    ("/dav;/secret/x", 400),
    ("/dav/b%00", 400),
    ("/dav/b#c", 400),
    ("/dav/\xe4", 400),
    ("//evil.test/dav/b", 400),
    ("dav/secret/plan.txt", 400),
    ("", 400),
]


@every_header
@pytest.mark.parametrize(("url", "status"), NAMED)
async def test_a_second_target_is_judged_as_a_write_there(
    dav: Front, name: str, url: str, status: int
) -> None:
    """As for CVE-2025-54576: a part of the request that matters, but that no rule checked."""
    cookie = dav.cookie(await dav.opened())
    line = naming(name, url)
    answer = await dav.get("/dav/a.txt", cookie, line, method="COPY")
    assert answer.status == status
    assert len(dav.origin.heads) == (status == 200)
    if status == 200:
        assert values_of(dav.origin.heads[0], line[0]) == [line[1]], "byte for byte"


@every_header
async def test_an_administrator_is_allowed_and_an_anonymous_client_gets_401(
    dav: Front, name: str
) -> None:
    line = naming(name, HERE + "/dav/secret/plan.txt")
    admin = dav.cookie(await dav.opened("root", groups=["admins"]))
    assert (await dav.get("/dav/a.txt", admin, line, method="COPY")).status == 200
    assert (await dav.get("/dav/open/a.txt", line, method="COPY")).status == 401
    open_line = naming(name, "/dav/open/b.txt")
    assert (await dav.get("/dav/open/a.txt", open_line, method="COPY")).status == 200


@every_header
async def test_a_second_target_is_checked_for_every_method_and_repetition(
    dav: Front, name: str
) -> None:
    cookie = dav.cookie(await dav.opened())
    secret, plain = naming(name, "/dav/secret/x"), naming(name, "/dav/x")
    for method in ("GET", "POST", "MOVE", "COPY", "LOCK", "PUT", "BREW"):
        assert (await dav.get("/dav/a", cookie, secret, method=method)).status == 403
    for lines in ((plain, secret), (secret, plain), (plain, plain)):
        assert (await dav.get("/dav/a", cookie, *lines, method="COPY")).status == 400
    assert not dav.origin.heads


async def test_lock_tokens_alone_name_no_target(dav: Front) -> None:
    cookie = dav.cookie(await dav.opened())
    for value in (b"(<urn:uuid:x>)", b'(Not <DAV:no-lock> ["e"]) (<http://evil.test/x>)'):
        assert (await dav.get("/dav/a", cookie, (b"if", value), method="PUT")).status == 200
    for value in (b"x", b"(<a>", b"<a", b'(["a)', b"</dav/a> x", b"(()"):
        assert (await dav.get("/dav/a", cookie, (b"if", value), method="PUT")).status == 400


async def test_the_number_of_second_targets_is_limited(dav: Front) -> None:
    cookie = dav.cookie(await dav.opened())
    for count, status in ((TARGETS_LIMIT, 200), (TARGETS_LIMIT + 1, 400), (2000, 400)):
        line = (b"if", b"</dav/a> (<t>) " * count)
        assert (await dav.get("/dav/a", cookie, line, method="PUT")).status == status


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("host", ["keep", "old.internal"])
async def test_a_stripped_path_is_stripped_from_second_targets_too(
    fronts: Build, origin: Origin, host: str, answers: bool
) -> None:
    """WebDAV servers answer 502 if scheme, host or prefix are not their own."""
    rewrite = {"strip_path": True, "host": host, "answers": answers}
    front = await fronts(
        routes=[{"path": "/dav", "upstream": origin.url, "rewrite": rewrite}],
        access={"default": "public"},
        trusted_proxies=["10.0.0.0/8"],
    )
    lines = [
        (b"x-bait", b"destination: https://app.test/dav/b"),
        (b"destination", b"https://app.test/dav/b/dav?c=/dav"),
        (b"if", b"<https://app.test/dav/a> (<t>) </dav/b> (Not <https://app.test/dav/t>)"),
        (b"x-forwarded-proto", b"https"),
    ]
    answer = await front.get("/dav/a", *lines, method="MOVE", peer="10.0.0.1")
    assert answer.status == 200
    head, sent = origin.heads[0], b"app.test" if host == "keep" else b"old.internal"
    assert head.startswith(b"MOVE /a HTTP/1.1\r\nhost: %b\r\n" % sent)
    assert values_of(head, b"destination") == [b"http://%b/b/dav?c=/dav" % sent]
    assert values_of(head, b"if") == [
        b"<http://%b/a> (<t>) </b> (Not <https://app.test/dav/t>)" % sent
    ]
    assert values_of(head, b"x-bait") == [b"destination: https://app.test/dav/b"]


@pytest.mark.parametrize("url", ["/dav//evil.test/x", HERE + "/dav//x"])
async def test_a_stripped_second_target_cannot_become_a_host(
    fronts: Build, origin: Origin, url: str
) -> None:
    routes = [{"path": "/dav", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    front = await fronts(routes=routes, access={"default": "public"})
    answer = await front.get("/dav/a", (b"destination", url.encode()), method="MOVE")
    assert answer.status == 400 and not origin.heads


@every_header
def test_no_other_spelling_and_no_trailer_names_a_target(name: str) -> None:
    """CGI, WSGI, Rack and PHP do not distinguish `_` and `-`; a trailer arrives after the
    decision."""
    line = (name.encode(), b"/a")
    assert parse_headers([line]).targets == (line,) and parse_headers([line]).passing == [line]
    assert classify_header(name.upper().encode()) is HeaderAction.TARGET
    if b"-" in line[0]:
        assert classify_header(line[0].replace(b"-", b"_")) is HeaderAction.DROP
    assert select_trailers([line]) == []


texts = st.text('<>()[]"/ab:. WNot', max_size=40).map(str.encode)


@given(texts, st.sampled_from(sorted(READERS)))
def test_any_value_is_parsed_stably_or_refused(value: bytes, name: bytes) -> None:
    try:
        found = read_second_targets(((name, value),))
    except (BadTarget, ForeignTarget):
        return
    moved = rewrite_target((name, value), b"http://b.test", b"")
    again = read_second_targets(((name, moved),))
    assert [one.rest for one in again] == [one.rest for one in found]
    assert all(one.site in (None, ("http", "b.test")) for one in again)


def test_urls_and_paths_are_parsed() -> None:
    assert read_second_targets(((b"destination", b" http://A.test:81/b?c "),)) == [
        SecondTarget(("http", "a.test:81"), b"/b?c")
    ]
    assert read_second_targets(((b"destination", b"http://a.test"),)) == [
        SecondTarget(("http", "a.test"), b"/")
    ]
