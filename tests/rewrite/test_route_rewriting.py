"""The changes that a route's settings make: path, Host, answers, cookies, caching, other sites."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog
from doorward.gate.accept import Accept, Accepted
from doorward.gate.route_demands import compile_demands
from doorward.http1.arrival import Arrival
from doorward.rewrite.answer_headers import answer_headers
from doorward.rewrite.relocation import build_relocation
from doorward.rewrite.route_rewriting import build_rewriting
from doorward.settings import InvalidSettings, Route, settings_from
from hypothesis import given
from hypothesis import strategies as st

from tests.support.front import Build, accepted, front_of
from tests.support.origin import Origin, answering
from tests.support.wire import Header, lines_of

PUBLIC = {"access": {"default": "public"}}
PREFIXED = PUBLIC | {"trusted_proxies": "10.0.0.0/8", "trusted_headers": "x-forwarded-prefix"}


def route(**values: Any) -> Route:
    chosen = {"upstream": "http://10.0.0.5:9000"} | values
    settings = settings_from({"routes": [chosen], "public_url": "https://wiki.test"})
    return settings.routes[0]


def asked(host: bytes = b"wiki.test", scheme: str = "https", target: bytes = b"/") -> Accepted:
    arrival = Arrival(b"GET", target, [(b"host", host)], "192.0.2.1", scheme)
    return Accept((), lambda host: True)(arrival)


def put_right(line: Header, request: Accepted | None = None, **values: Any) -> bytes:
    """The value of an answer's header, rewritten by a route with these settings."""
    relocate = build_relocation(route(**values))
    assert relocate is not None
    ((name, value),) = relocate([line], request or asked())
    assert name == line[0]
    return value


# The path


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        (b"/wiki/?a=/wiki", b"/?a=/wiki"),
        (b"/wiki/", b"/"),
        (b"/wiki/wiki/x", b"/wiki/x"),
        (b"/wiki/a%2Fb;c//d?e=%zz&&f", b"/a%2Fb;c//d?e=%zz&&f"),
        (b"/wiki/%2Fa", b"/%2Fa"),
    ],
)
async def test_the_routes_path_is_stripped_byte_for_byte(
    fronts: Build, origin: Origin, target: bytes, sent: bytes
) -> None:
    routes = [{"path": "/wiki", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    front = await fronts(routes=routes, **PUBLIC)
    assert (await front.get(target)).status == 200
    assert origin.heads[0].startswith(b"GET " + sent + b" HTTP/1.1\r\nhost: app.test\r\n")
    assert b"x-forwarded-prefix: /wiki\r\n" in origin.heads[0]


@pytest.mark.parametrize("query", [b"", b"?a=/wiki&b=%2F"])
async def test_the_routes_path_redirects_to_its_slash(
    fronts: Build, origin: Origin, query: bytes
) -> None:
    """Otherwise relative links on the page would lead out of it."""
    strip = {"upstream": origin.url, "rewrite": {"strip_path": True}}
    routes = [{"path": "/wiki", **strip}, {"path": "/app", "upstream": origin.url}]
    rules = [{"path": "/wiki/*", "require": "public"}, {"path": "/app/*", "require": "public"}]
    front = await fronts(routes=routes, access={"rules": rules})
    for method in ("GET", "HEAD"):
        answer = await front.get(b"/wiki" + query, method=method)
        assert (answer.status, answer.values(b"location")) == (308, [b"/wiki/" + query])
        assert answer.values(b"cache-control") == [b"no-store"] and answer.body == b""
    assert not origin.heads
    for target, method in ((b"/wiki", "PROPFIND"), (b"/wiki", "POST"), (b"/app", "GET")):
        assert (await front.get(target, method=method)).status == 200
    assert origin.heads[0].startswith(b"PROPFIND / HTTP/1.1\r\n")


async def test_a_client_without_access_is_not_redirected_to_the_slash(
    fronts: Build, origin: Origin
) -> None:
    routes = [{"path": "/wiki", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    front = await fronts(routes=routes)
    assert (await front.get("/wiki")).status == 401
    answer = await front.get("/wiki", (b"sec-fetch-mode", b"navigate"))
    assert answer.values(b"location") == [b"/.doorward/login?rd=/wiki"]


@pytest.mark.parametrize("target", [b"/wiki//evil.test/x", b"/wiki/\\evil.test/x", b"/wiki//"])
async def test_a_rest_that_could_be_read_as_a_host_is_refused(
    fronts: Build, origin: Origin, target: bytes
) -> None:
    routes = [{"path": "/wiki", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    front = await fronts(routes=routes, **PUBLIC)
    assert (await front.get(target)).status == 400
    assert not origin.heads


async def test_rules_are_matched_on_the_path_that_was_sent(fronts: Build, origin: Origin) -> None:
    """Traefik's CVE-2026-40912 and others: a rewrite bypassed the check."""
    routes = [{"path": "/wiki", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    rules = [
        {"path": "/wiki/admin/*", "require": "deny"},
        {"path": "/open/*", "require": "deny"},
        {"path": "/wiki/*", "require": "public"},
    ]
    front = await fronts(routes=routes, access={"rules": rules})
    assert (await front.get("/wiki/open/x")).status == 200
    for around in ("/wiki/admin", "/wiki/%61dmin/x", "/wiki/x/../admin", "/wiki;/admin/x"):
        assert (await front.get(around)).status in (400, 403, 404), around
    assert (await front.get("/wiki%2Fadmin")).status in (400, 404)
    assert len(origin.heads) == 1


async def test_the_redirect_to_the_slash_keeps_only_a_trusted_peers_prefix(
    fronts: Build, origin: Origin
) -> None:
    routes = [{"path": "/wiki", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    front = await fronts(routes=routes, **PREFIXED)
    said = (b"x-forwarded-prefix", b"/outer/")
    for peer, location in (("10.0.0.9", b"/outer/wiki/?a"), ("192.0.2.1", b"/wiki/?a")):
        answer = await front.get("/wiki?a", said, peer=peer)
        assert (answer.status, answer.values(b"location")) == (308, [location])


async def test_a_chain_of_prefixes_is_carried_on_for_trusted_peers_only(
    fronts: Build, origin: Origin
) -> None:
    routes = [{"path": "/wiki", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    front = await fronts(routes=routes, **PREFIXED)
    said = (b"x-forwarded-prefix", b"/outer/")
    await front.get("/wiki/x", said, peer="10.0.0.1")
    await front.get("/wiki/x", said)
    assert origin.heads[0].count(b"x-forwarded-prefix") == 1
    assert b"x-forwarded-prefix: /outer/wiki\r\n" in origin.heads[0]
    assert b"x-forwarded-prefix: /wiki\r\n" in origin.heads[1]


async def test_a_value_that_looks_like_a_prefix_header_is_ignored(
    fronts: Build, origin: Origin
) -> None:
    """CVE-2022-22720, CVE-2023-25690: hiding the line with the body's length would allow
    smuggling."""
    routes = [{"path": "/wiki", "upstream": origin.url, "rewrite": {"strip_path": True}}]
    front = await fronts(routes=routes, **PREFIXED)
    bait = (b"foo", b"x-forwarded-prefix: /outer")
    lines = [bait, (b"x-forwarded-prefix", b"/outer"), (b"content-length", b"0")]
    await front.get("/wiki/x", *lines, peer="10.0.0.1")
    head = origin.heads[0].split(b"\r\n")
    assert b"foo: x-forwarded-prefix: /outer" in head
    assert b"content-length: 0" in head
    assert [line for line in head if line.startswith(b"x-forwarded-prefix:")] == [
        b"x-forwarded-prefix: /outer/wiki"
    ]


raw = st.text("ab/%2Fc;.&=?~", max_size=30).map(str.encode)


@given(raw)
def test_only_the_prefix_of_the_target_is_removed(rest: bytes) -> None:
    rewriting = build_rewriting(route(path="/wiki", rewrite={"strip_path": True}))
    assert rewriting is not None
    target = b"/wiki" + rest
    head = b"GET %b HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n" % target
    line, host, told, more = rewriting.head(head, asked()).split(b"\r\n", 3)
    sent = line.split(b" ")[1]
    assert sent == rest or (sent == b"/" + rest and not rest.startswith(b"/"))
    assert (host, told, more) == (b"host: a", b"x-forwarded-prefix: /wiki", b"x: y\r\n\r\n")


# The Host


@pytest.mark.parametrize(
    ("host", "upstream", "sent"),
    [
        ("upstream", "http://10.0.0.5:9000", b"10.0.0.5:9000"),
        ("upstream", "http://app.internal", b"app.internal"),
        ("upstream", "https://app.internal:8443", b"app.internal:8443"),
        ("upstream", "https://[2001:db8::1]", b"[2001:db8::1]"),
        ("old.internal:81", "unix:/run/app.sock", b"old.internal:81"),
        ("[::1]:81", "unix:/run/app.sock", b"[::1]:81"),
        ("[::1]", "unix:/run/app.sock", b"[::1]"),
    ],
)
def test_another_host_is_sent(host: str, upstream: str, sent: bytes) -> None:
    rewriting = build_rewriting(route(upstream=upstream, rewrite={"host": host}))
    assert rewriting is not None
    head = rewriting.head(b"GET / HTTP/1.1\r\nhost: wiki.test\r\nhost-x: y\r\n\r\n", asked())
    assert head == b"GET / HTTP/1.1\r\nhost: %b\r\nhost-x: y\r\n\r\n" % sent


async def test_the_requested_host_is_kept_or_sent_as_x_forwarded_host(
    fronts: Build, origin: Origin
) -> None:
    routes = [
        {"path": "/", "upstream": origin.url},
        {"path": "/old", "upstream": origin.url, "rewrite": {"host": "old.internal"}},
    ]
    front = await fronts(routes=routes, **PUBLIC)
    for target in ("/x", "/old", "/x"):  # the same headers, which can only be read once
        await front.get(target)
    hosts = [head.split(b"\r\n")[1] for head in origin.heads]
    assert hosts == [b"host: app.test", b"host: old.internal", b"host: app.test"]
    assert b"x-forwarded-host: app.test\r\n" in origin.heads[1]


@pytest.mark.parametrize(
    ("path", "strips", "target", "sent"),
    [
        ("/wiki", True, b"/wiki/x?y=/z", b"/base/x?y=/z"),
        ("/wiki", True, b"/wiki/a%2Fb//c", b"/base/a%2Fb//c"),
        ("/wiki", False, b"/wiki/x", b"/base/wiki/x"),
        ("/", False, b"/", b"/base/"),
        ("/", False, b"/x", b"/base/x"),
    ],
)
async def test_an_upstreams_own_path_is_prepended(
    fronts: Build, origin: Origin, path: str, strips: bool, target: bytes, sent: bytes
) -> None:
    rewrite = {"strip_path": strips}
    route = {"path": path, "upstream": f"{origin.url}/base/", "rewrite": rewrite}
    front = await fronts(routes=[route], **PUBLIC)
    assert (await front.get(target)).status == 200
    assert origin.heads[0].startswith(b"GET " + sent + b" HTTP/1.1\r\nhost: app.test\r\n")


async def test_an_upstreams_own_path_leaves_the_whole_server_alone(
    fronts: Build, origin: Origin
) -> None:
    front = await fronts(routes=[{"upstream": f"{origin.url}/base"}], **PUBLIC)
    assert (await front.get("*", method="OPTIONS")).status == 200
    assert origin.heads[0].startswith(b"OPTIONS * HTTP/1.1")


async def test_a_second_target_is_moved_as_the_request_is(fronts: Build, origin: Origin) -> None:
    route = {
        "path": "/dav",
        "upstream": f"{origin.url}/base",
        "rewrite": {"strip_path": True, "host": "upstream"},
    }
    front = await fronts(routes=[route], **PUBLIC)
    destination = (b"destination", b"http://app.test/dav/b")
    assert (await front.get("/dav/a", destination, method="COPY")).status == 200
    assert origin.heads[0].startswith(b"COPY /base/a HTTP/1.1")
    assert b"destination: " + origin.url.encode() + b"/base/b\r\n" in origin.heads[0]


# Locations in the application's answers


UNDER: dict[str, Any] = {
    "path": "/wiki",
    "rewrite": {"strip_path": True, "answers": True, "elsewhere": ["http://intranet:8080"]},
}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"/login?next=/x#y", b"/wiki/login?next=/x#y"),
        (b"/", b"/wiki/"),
        (b"/?a", b"/wiki/?a"),
        (b"http://10.0.0.5:9000/a", b"/wiki/a"),
        (b"https://10.0.0.5:9000/a", b"/wiki/a"),
        (b"HTTP://INTRANET:8080", b"/wiki/"),
        (b"http://intranet:8080?q", b"/wiki/?q"),
        (b"http://intranet:8080#f", b"/wiki/#f"),
        (b"//10.0.0.5:9000/a", b"/wiki/a"),
        (b"https://wiki.test/a", b"/wiki/a"),
        (b"https://wiki.test:443/a", b"/wiki/a"),
        (b"http://wiki.test/a", b"/wiki/a"),
        (b"//wiki.test/a", b"/wiki/a"),
        (b"http://10.0.0.5:9000//evil.test", b"http://10.0.0.5:9000//evil.test"),
        (b"/\xc3\xa9", b"/wiki/\xc3\xa9"),
        # Unchanged.
        (b"/wiki", b"/wiki"),
        (b"/wiki/a", b"/wiki/a"),
        (b"/wiki?a", b"/wiki?a"),
        (b"https://wiki.test/wiki/a", b"/wiki/a"),
        (b"/wikis", b"/wiki/wikis"),
        (b"/.doorward/logout", b"/.doorward/logout"),
        (b"a/b", b"a/b"),
        (b"?a", b"?a"),
        (b"#a", b"#a"),
        (b"", b""),
        (b"//evil.test/a", b"//evil.test/a"),
        (b"/\\evil.test", b"/\\evil.test"),
        (b"/\t/evil.test", b"/\t/evil.test"),
        (b"https://evil.test/a", b"https://evil.test/a"),
        (b"http://intranet:80/a", b"http://intranet:80/a"),
        (b"https://intranet:8080/a", b"https://intranet:8080/a"),
        (b"http://10.0.0.5:9000@evil.test/a", b"http://10.0.0.5:9000@evil.test/a"),
        (b"http://10.0.0.5:9000\\@evil.test/a", b"http://10.0.0.5:9000\\@evil.test/a"),
        (b"http://10.0.0.5:9000.evil.test/a", b"http://10.0.0.5:9000.evil.test/a"),
        (b"ftp://10.0.0.5:9000/a", b"ftp://10.0.0.5:9000/a"),
        (b"javascript:alert(1)", b"javascript:alert(1)"),
        (b"mailto:a@b", b"mailto:a@b"),
    ],
)
def test_a_location_is_rewritten(said: bytes, told: bytes) -> None:
    for name in (b"Location", b"content-location"):
        assert put_right((name, said), **UNDER) == told


BASED = UNDER | {"upstream": "http://10.0.0.5:9000/base"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"/base/login?a#b", b"/wiki/login?a#b"),
        (b"/base", b"/wiki/"),
        (b"/base?a", b"/wiki/?a"),
        (b"http://10.0.0.5:9000/base/a", b"/wiki/a"),
        (b"https://wiki.test/base/a", b"/wiki/a"),
        # Not reachable through this route.
        (b"/other", b"/other"),
        (b"/based", b"/based"),
        (b"/base//evil.test", b"/wiki//evil.test"),
    ],
)
def test_a_location_beneath_the_upstreams_own_path_is_rewritten(said: bytes, told: bytes) -> None:
    assert put_right((b"location", said), **BASED) == told
    cookie = put_right((b"set-cookie", b"a=1; Path=/base"), **BASED)
    assert cookie == b"a=1; Path=/wiki"


def test_a_stripped_location_cannot_become_another_host() -> None:
    based = "http://10.0.0.5:9000/base"
    values: dict[str, Any] = {"rewrite": {"answers": True}, "upstream": based}
    assert put_right((b"location", b"/base//evil.test"), **values) == b"/base//evil.test"
    assert put_right((b"location", b"/base/a"), **values) == b"/a"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"0; url=/a", b"0; url=/wiki/a"),
        (b'5;URL="http://intranet:8080/a"', b'5;URL="/wiki/a"'),
        (b" 5.5 , url = '/a' ", b" 5.5 , url = '/wiki/a' "),
        (b"5", b"5"),
        (b"5; url=https://evil.test/", b"5; url=https://evil.test/"),
        (b"soon; url=/a", b"soon; url=/a"),
        (b"5; url='/a", b"5; url='/a"),
        (b"5; url='/a'b'", b"5; url='/wiki/a'b'"),
        (b"5; url=/a b", b"5; url=/a b"),
        (b"5; url='", b"5; url='"),
    ],
)
def test_a_refresh_header_is_rewritten(said: bytes, told: bytes) -> None:
    assert put_right((b"Refresh", said), **UNDER) == told


def test_a_redirect_to_https_is_never_turned_into_a_loop() -> None:
    values: dict[str, Any] = {"rewrite": {"answers": True}}
    up = (b"location", b"https://wiki.test/a")
    assert put_right(up, asked(scheme="http"), **values) == b"https://wiki.test/a"
    assert put_right(up, asked(), **values) == b"/a"
    down = (b"location", b"http://wiki.test:8443/a")
    assert put_right(down, asked(b"wiki.test:8443"), **values) == b"/a"


def test_an_application_that_is_sent_another_host_may_name_it() -> None:
    rewrite = {"answers": True, "host": "old.internal"}
    assert put_right((b"location", b"http://old.internal/a"), rewrite=rewrite) == b"/a"


def test_other_headers_are_left_alone() -> None:
    for name in (b"link", b"uri", b"x-location", b"location-x"):
        assert put_right((name, b"http://10.0.0.5:9000/a"), **UNDER) == b"http://10.0.0.5:9000/a"


@given(
    st.text("/\\.:@?#%ahtps w\t0159", max_size=40).map(str.encode)
    | st.text("/\\\t@", max_size=6).map(lambda rest: b"http://intranet:8080" + rest.encode())
)
def test_a_rewritten_location_stays_on_this_host(said: bytes) -> None:
    """Every rewritten value is a path on this host in every browser's reading."""
    told = put_right((b"location", said), **UNDER)
    if told != said:
        assert told.startswith(b"/wiki") and b"\t" not in told


# Cookies


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"a=1", b"a=1"),
        (b"a=1; Path=/", b"a=1; Path=/wiki"),
        (b"a=1; path=/x; HttpOnly", b"a=1; Path=/wiki/x; HttpOnly"),
        (b"a=1; Path=/wiki/x", b"a=1; Path=/wiki/x"),
        (b"a=1; Path=", b"a=1; Path="),
        (b"a=1; Domain=intranet; Path=/", b"a=1; Path=/wiki"),
        (b"a=1; Domain=.wiki.test", b"a=1; Domain=.wiki.test"),
        (b"a=1;Domain=WIKI.test", b"a=1;Domain=WIKI.test"),
        (b"a=1; Domain=test", b"a=1; Domain=test"),
        (b"a=1; Domain=xwiki.test", b"a=1"),
        (b"a=1; Domain=", b"a=1"),
        (b"__Host-a=1; Secure; Path=/", b"__Host-a=1; Secure; Path=/"),
        (
            b'a="x; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
            b'a="x; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
        ),
    ],
)
def test_a_cookies_domain_and_path_are_rewritten(said: bytes, told: bytes) -> None:
    assert put_right((b"Set-Cookie", said), **UNDER) == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"a=1", b"a=1; Secure; HttpOnly; SameSite=Lax"),
        (b"a=1; secure; Domain=x", b"a=1; secure; Domain=x; HttpOnly; SameSite=Lax"),
        (b"a=1;HTTPONLY;samesite=None;Secure", b"a=1;HTTPONLY;samesite=None;Secure"),
        (b"secure=httponly", b"secure=httponly; Secure; HttpOnly; SameSite=Lax"),
    ],
)
def test_missing_cookie_attributes_are_added(said: bytes, told: bytes) -> None:
    cookies = {"secure": True, "http_only": True, "same_site": "lax"}
    assert put_right((b"set-cookie", said), cookies=cookies) == told


@pytest.mark.outside
async def test_answers_are_rewritten_if_enabled(tmp_path: Path) -> None:
    lines = b"Location: /login\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX: /y\r\n"
    answer = b"HTTP/1.1 302 Found\r\n" + lines + b"Content-Length: 0\r\n\r\n"
    with Origin((answering(answer),)) as origin:
        routes = [
            {
                "path": "/wiki",
                "upstream": origin.url,
                "rewrite": {"strip_path": True, "answers": True},
                "cookies": {"http_only": True},
            },
            {"path": "/plain", "upstream": origin.url},
        ]
        async with front_of(tmp_path, origin, routes=routes, **PUBLIC) as front:
            head = (await front.get("/wiki/x")).head
            assert b"location: /wiki/login\r\n" in head
            assert b"set-cookie: a=1; Path=/wiki; HttpOnly\r\nset-cookie: b=2; HttpOnly\r\n" in head
            plain = (await front.get("/plain/x")).head
            assert lines.lower() in plain.lower(), "off by default"


@pytest.mark.outside
async def test_a_cookie_with_our_name_is_dropped_and_logged_without_its_value(
    tmp_path: Path,
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: doorward=secret\r\nContent-Length: 0\r\n\r\n"
    with Origin((answering(answer),)) as origin:
        async with front_of(tmp_path, origin, **PUBLIC) as front:
            with structlog.testing.capture_logs() as logs:
                for _ in range(3):
                    assert (await front.get("/")).values(b"set-cookie") == []
    told = [line for line in logs if line["event"] == "upstream_cookie_dropped"]
    assert len(told) == 1 and "secret" not in str(told)


# Caching


CACHED = [
    (b"", b"private"),
    (b"Cache-Control: public, max-age=60", b"private, max-age=60"),
    (b"Cache-Control: PUBLIC", b"private"),
    (b"Cache-Control: max-age=60", b"private, max-age=60"),
    (b"Cache-Control: s-maxage=600, max-age=60", b"private, max-age=60"),
    (b'Cache-Control: s-maxage="600"', b"private"),
    (b"Cache-Control: no-cache", b"private, no-cache"),
    (b"Cache-Control: no-store", b"no-store"),
    (b"Cache-Control: No-Store, no-cache", b"No-Store, no-cache"),
    (b"Cache-Control: no-store, public", b"private, no-store"),
    (b"Cache-Control: private, max-age=60", b"private, max-age=60"),
    (b"Cache-Control: private\r\nCache-Control: public", b"private"),
    (
        b"Cache-Control: max-age=60\r\nCache-Control: public, immutable",
        b"private, max-age=60, immutable",
    ),
    (b'Cache-Control: private="set-cookie, x", max-age=60', b"private, max-age=60"),
    (b'Cache-Control: no-cache="set-cookie", max-age=60', b"private, no-cache, max-age=60"),
    (b"Cache-Control: max-age=60; public", b"private"),
    (b'Cache-Control: private="x, public', b"private"),
    (b"Cache-Control: ,, ,", b"private"),
    (b"Expires: Thu, 01 Jan 2099 00:00:00 GMT", b"private"),
]


@pytest.mark.parametrize(("said", "told"), CACHED, ids=ascii)
def test_an_answer_for_one_session_is_never_stored_by_a_shared_cache(
    said: bytes, told: bytes
) -> None:
    """RFC 9111 3.5 and 5.2.2: each of these allows, or could allow, a shared cache to store an
    answer."""
    headers = lines_of(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n" + said + b"\r\n\r\n")
    kept = answer_headers(headers, lambda line: False, private=True)
    assert b", ".join(value for name, value in kept if name == b"cache-control") == told
    assert (b"x-a", b"1") in kept
    assert answer_headers(headers, lambda line: False) == headers, "a public answer is as it came"


@pytest.mark.parametrize(
    "name",
    [
        "Surrogate-Control",
        "CDN-Cache-Control",
        "Cloudflare-CDN-Cache-Control",
        "Akamai-Cache-Control",
        "X-LiteSpeed-Cache-Control",
        "X-Accel-Expires",
    ],
)
def test_headers_that_override_cache_control_are_removed(name: str) -> None:
    headers = [(name.encode(), b"max-age=60"), (b"ETag", b"x")]
    assert answer_headers(headers, lambda line: False) == headers
    kept = answer_headers(headers, lambda line: False, private=True)
    assert kept == [(b"ETag", b"x"), (b"cache-control", b"private")]


def test_expires_is_removed_only_beside_max_age() -> None:
    past = (b"expires", b"0")
    kept = answer_headers([past], lambda line: False, private=True)
    assert kept == [past, (b"cache-control", b"private")]
    lines = [past, (b"cache-control", b"max-age=60")]
    kept = answer_headers(lines, lambda line: False, private=True)
    assert kept == [(b"cache-control", b"private, max-age=60")]


@pytest.mark.outside
async def test_protected_answers_are_never_stored_by_shared_caches(tmp_path: Path) -> None:
    """The application does not know that it is protected."""
    said = b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 0\r\n\r\n"
    as_said, private = [b"public, max-age=60"], [b"private, max-age=60"]
    with Origin((answering(said),)) as origin:
        values = {
            "routes": [
                {"upstream": origin.url},
                {"path": "/kept", "upstream": origin.url, "cache_control": "keep"},
                {"path": "/open/untold", "upstream": origin.url, "identity_on_public": False},
                {"path": "/open/none", "upstream": origin.url, "identity": "none"},
            ],
            "access": {"rules": [{"path": "/open/*", "require": "public"}]},
        }
        async with front_of(tmp_path, origin, **values) as front:
            cookie = front.cookie(await front.opened())

            async def asked(target: str, *headers: Header) -> tuple[list[bytes], bool]:
                answer = await front.get(target, *headers)
                return answer.values(b"cache-control"), b"remote-user" in origin.heads[-1].lower()

            assert await asked("/x", cookie) == (private, True)
            assert await asked("/kept", cookie) == (as_said, True), "who asked for that gets it"
            assert await asked("/open/x") == (as_said, False)
            assert await asked("/open/x", cookie) == (private, True), "it says who asks"
            assert await asked("/open/untold", cookie) == (as_said, False), "it does not"
            assert await asked("/open/none", cookie) == (as_said, False)


# Other sites


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", [], 200),
        ("POST", [(b"sec-fetch-site", b"same-origin")], 200),
        ("POST", [(b"sec-fetch-site", b"none")], 200),
        ("POST", [(b"sec-fetch-site", b"same-site")], 403),
        ("POST", [(b"sec-fetch-site", b"cross-site")], 403),
        ("POST", [(b"sec-fetch-site", b"x")], 403),
        ("POST", [(b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")], 403),
        ("POST", [(b"origin", b"http://app.test")], 200),
        ("POST", [(b"origin", b"https://app.test")], 200),
        ("POST", [(b"origin", b"https://public.test")], 200),
        ("POST", [(b"origin", b"https://evil.test")], 403),
        ("POST", [(b"origin", b"https://app.test.evil.test")], 403),
        ("POST", [(b"origin", b"http://app.test:81")], 403),
        ("POST", [(b"origin", b"null")], 403),
        ("POST", [(b"origin", b"")], 403),
        ("POST", [(b"origin", b"http://app.test"), (b"origin", b"https://evil.test")], 403),
        ("PUT", [(b"origin", b"https://evil.test")], 403),
        ("DELETE", [(b"origin", b"https://evil.test")], 403),
        ("MKCOL", [(b"origin", b"https://evil.test")], 403),
        ("get", [(b"origin", b"https://evil.test")], 403),
        ("GET", [(b"origin", b"https://evil.test"), (b"sec-fetch-site", b"cross-site")], 200),
        ("HEAD", [(b"sec-fetch-site", b"cross-site")], 200),
        ("OPTIONS", [(b"origin", b"https://evil.test")], 200),
        ("GET", [(b"sec-fetch-site", b"cross-site"), (b"x-http-method-override", b"PUT")], 403),
    ],
)
async def test_only_same_origin_requests_can_change_something(
    fronts: Build, origin: Origin, method: str, headers: list[Header], status: int
) -> None:
    routes = [{"upstream": origin.url, "same_origin": True}]
    front = await fronts(routes=routes, public_url="https://public.test", **PUBLIC)
    assert (await front.get("/", *headers, method=method)).status == status
    assert len(origin.heads) == (status == 200)


async def test_the_check_for_other_sites_is_off_by_default(fronts: Build) -> None:
    front = await fronts(**PUBLIC)
    evil = (b"origin", b"https://evil.test")
    assert (await front.get("/", evil, method="POST")).status == 200


# Settings


def test_a_route_without_rewriting_costs_nothing() -> None:
    assert compile_demands(route(), "https://wiki.test") is None
    assert build_rewriting(route()) is None
    assert build_relocation(route()) is None
    assert accepted().headers.forwarded == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rewrite": {"strip_path": True}}, "path is /"),
        ({"rewrite": {"elsewhere": ["http://a"]}}, "without answers"),
        ({"rewrite": {"answers": True, "elsewhere": ["http://a/b"]}}, "has a path"),
        ({"rewrite": {"host": "upstream"}, "upstream": "unix:/run/a"}, "no host"),
        ({"rewrite": {"host": "upstream"}, "upstream": ["http://a", "http://b"]}, "different"),
        ({"rewrite": {"host": "a/b"}}, "not a host"),
        ({"rewrite": {"host": "a:0"}}, "not a port"),
        ({"rewrite": {"host": "a\r\nx: y"}}, "not a host"),
        ({"cookies": {"same_site": "none"}}, "only on secure cookies"),
        ({"cookies": {"same_site": "off"}}, "not one of keep, lax"),
        ({"cache_control": "public"}, "not one of private, keep"),
    ],
)
def test_contradictory_settings_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        route(**values)


def test_secure_cookies_are_refused_over_http() -> None:
    chosen = [{"upstream": "http://a", "cookies": {"secure": True}}]
    with pytest.raises(InvalidSettings, match="public_url is http"):
        settings_from({"routes": chosen})
    assert settings_from({"routes": chosen, "public_url": "https://a.test"})
