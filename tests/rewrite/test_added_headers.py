"""Security headers that a route adds if the application sets none, on every kind of answer."""

from __future__ import annotations

import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from doorward.http1.response_head import ResponseHead
from doorward.middleware import Doorward
from doorward.rewrite.added_headers import AddedHeaders, build_added_headers
from doorward.settings import InvalidSettings, settings_from, settings_in_process
from doorward.wiring.accounts import build_accounts

from tests.conftest import Carrier, Start
from tests.support.asgi import ask, scope
from tests.support.front import Build, Front
from tests.support.live import config_user
from tests.support.origin import OK, Origin, answering
from tests.support.wire import Header, get, lines_of

ALL = {
    "hsts": "180d",
    "frame": "same-origin",
    "nosniff": True,
    "referrer": "same-origin",
    "csp": "default-src 'self'",
}
HSTS = (b"strict-transport-security", b"max-age=15552000")
NOSNIFF = (b"x-content-type-options", b"nosniff")
REFERRER = (b"referrer-policy", b"same-origin")
POLICY = (b"content-security-policy", b"default-src 'self'")
OPTIONS = (b"x-frame-options", b"SAMEORIGIN")
ANCESTORS = (b"content-security-policy", b"frame-ancestors 'self'")
ADDED = [NOSNIFF, REFERRER, POLICY, OPTIONS, ANCESTORS]
NAMES = {name for name, _ in (HSTS, *ADDED)}


def added(**values: Any) -> AddedHeaders:
    route = {"upstream": "http://a", "security_headers": values}
    found = build_added_headers(settings_from({"routes": [route]}).routes[0])
    assert found is not None
    return found


def security_lines(head: bytes) -> list[Header]:
    return [line for line in lines_of(head) if line[0] in NAMES]


def sorted_lines(head: bytes) -> list[Header]:
    """Sorted lines, because some servers group the lines of one name."""
    return sorted(security_lines(head))


def test_a_route_without_settings_adds_no_headers() -> None:
    assert build_added_headers(settings_from({"routes": [{"upstream": "http://a"}]}).routes[0]) is (
        None
    )


def test_every_header_is_added_to_an_answer_that_has_none() -> None:
    assert added(**ALL).missing([], 200, secure=True) == [HSTS, *ADDED]


@pytest.mark.parametrize("status", [200, 206, 302, 404, 500, 503])
def test_hsts_is_sent_only_over_https(status: int) -> None:
    assert added(**ALL).missing([], status, secure=False) == ADDED


def test_an_answer_from_a_cache_keeps_the_policies_that_it_was_stored_with() -> None:
    """A 304 renews the stored headers (RFC 9111 4.3.4), the application's own among them."""
    assert added(**ALL).missing([], 304, secure=True) == [HSTS]
    assert added(**ALL).missing([HSTS], 304, secure=True) == []


@pytest.mark.parametrize(
    ("said", "lacking"),
    [
        ([(b"X-FRAME-OPTIONS", b"ALLOW-FROM https://a")], [NOSNIFF, REFERRER, POLICY]),
        ([(b"x-CONTENT-type-Options", b"")], [REFERRER, POLICY, OPTIONS, ANCESTORS]),
        ([(b"Referrer-Policy", b"unsafe-url")], [NOSNIFF, POLICY, OPTIONS, ANCESTORS]),
        # The application's policy is kept, and one about frames is added.
        ([(b"Content-Security-Policy", b"script-src *")], [NOSNIFF, REFERRER, OPTIONS, ANCESTORS]),
        (
            [(b"Content-Security-Policy", b"script-src *;\tFrame-Ancestors https://a")],
            [NOSNIFF, REFERRER],
        ),
        (
            [
                (b"Content-Security-Policy", b"a"),
                (b"Content-Security-Policy", b"b, frame-ancestors"),
            ],
            [NOSNIFF, REFERRER],
        ),
        # A report-only policy enforces nothing.
        ([(b"Content-Security-Policy-Report-Only", b"frame-ancestors 'none'")], ADDED),
        # Not in a name or value of another header.
        ([(b"X-Y", b"x-frame-options: a"), (b"not-x-frame-options", b"a")], ADDED),
        (
            [(b"Content-Security-Policy", b"report-uri /frame-ancestors x")],
            [NOSNIFF, REFERRER, OPTIONS, ANCESTORS],
        ),
    ],
)
def test_the_applications_own_header_is_kept(said: list[Header], lacking: list[Header]) -> None:
    assert added(**ALL).missing(said, 200, secure=False) == lacking
    head = added(**ALL).complete(ResponseHead(200, said), secure=False)
    assert security_lines(head.text)[-len(lacking) :] == lacking
    assert len(lines_of(head.text)) == len(said) + len(lacking)


def test_a_policy_about_frames_is_not_written_twice() -> None:
    policy = "default-src 'self'; frame-ancestors https://portal.test"
    found = added(frame="deny", csp=policy).missing([], 200, secure=False)
    assert found == [(b"content-security-policy", policy.encode()), (b"x-frame-options", b"DENY")]


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ({}, "security_headers", "adds no header"),
        ({"nosniff": False}, "security_headers", "adds no header"),
        ({"hsts": "500ms"}, "security_headers.hsts", "at least 1s"),
        ({"hsts": 180}, "security_headers.hsts", "lacks a unit"),
        ({"frame": "sameorigin"}, "security_headers.frame", "same-origin"),
        ({"referrer": "none"}, "security_headers", "adds no header"),
        ({"referrer": "self"}, "security_headers.referrer", "is not one of"),
        ({"nosniff": "nosniff"}, "security_headers.nosniff", "neither true nor false"),
        ({"csp": "default-src 'self'\r\nSet-Cookie: a=1"}, "security_headers.csp", "control"),
        ({"csp": "default-src 'self'\nX: y"}, "security_headers.csp", "control"),
        ({"csp": "defualt-src 'self'"}, "security_headers.csp", "did you mean default-src?"),
        ({"csp": "img-src a; img-src b"}, "security_headers.csp", "twice"),
        ({"csp": "default-src ü"}, "security_headers.csp", "ASCII"),
        ({"csp": "img-src a, script-src b"}, "security_headers.csp", "commas"),
        ({"csp": ";"}, "security_headers.csp", "no directive"),
        ({"csp": ""}, "security_headers.csp", "white space"),
        ({"xss": True}, "security_headers.xss", "unknown key"),
    ],
)
def test_a_wrong_value_is_reported_at_the_start(value: Any, key: str, words: str) -> None:
    with pytest.raises(InvalidSettings) as wrong:
        settings_from({"routes": [{"upstream": "http://a", "security_headers": value}]})
    assert f"routes[0].{key}: " in str(wrong.value)
    assert words in str(wrong.value)


def test_hsts_without_https_is_warned_of() -> None:
    route = {"upstream": "http://a", "security_headers": {"hsts": "1d"}}
    settings = settings_from({"routes": [route]})
    assert "routes[0].security_headers.hsts: has no effect, because" in str(settings.warnings)
    secure = settings_from({"routes": [route], "public_url": "https://a.test"})
    assert not any("hsts" in warning for warning in secure.warnings)


# The remaining time of a session

EXPIRES = b"x-doorward-session-expires-in"


async def test_answers_to_a_session_say_how_long_it_lasts(fronts: Build, origin: Origin) -> None:
    """Until its idle timeout or its end, whichever comes first."""
    route = {"upstream": origin.url, "session_expires": True}
    rules = [{"path": "/public/*", "require": "public"}, {"path": "/poll", "activity": False}]
    front = await fronts(routes=[route], access={"rules": rules})
    opened = await front.opened()
    cookie = front.cookie(opened)

    async def left(target: str) -> list[bytes]:
        return (await front.get(target, cookie)).values(EXPIRES)

    assert await left("/") == [b"7200"]
    front.clock.now += 600
    assert await left("/poll") == [b"6600"]  # which does not count as use
    assert await left("/") == [b"7200"]
    assert (await front.get("/public/x")).values(EXPIRES) == []
    assert (await front.get("/")).values(EXPIRES) == []
    built = build_added_headers(settings_from({"routes": [route]}).routes[0])
    assert built is not None
    now = front.clock.now
    for ends_at, said in ((now + 60.9, [(EXPIRES, b"60")]), (now - 1, [(EXPIRES, b"0")])):
        # Even if it is used.
        assert built.expiry(replace(opened.session, expires_at=ends_at), True, now) == said
    endless = replace(opened.session, expires_at=inf, idle_timeout_s=None)
    assert built.expiry(endless, True, now) == []  # for example of a token


async def test_a_remaining_session_time_is_never_cached(fronts: Build, origin: Origin) -> None:
    origin.scripts = (
        answering(
            *[
                b"HTTP/1.1 200 OK\r\nCache-Control: public\r\nContent-Length: 0\r\n"
                b"X-Doorward-Session-Expires-In: 9\r\n\r\n"
            ]
            * 4
        ),
    )
    values = {"upstream": origin.url, "session_expires": True}
    routes = [
        values | {"identity_on_public": False},
        values | {"path": "/told"},
        {"upstream": origin.url, "path": "/bare"},
    ]
    front = await fronts(routes=routes, access={"default": "public"})
    cookie = front.cookie(await front.opened())
    for path, said, control in (
        ("/x", [], b"public"),  # the same for everybody
        ("/told", [b"7200"], b"private"),
        ("/bare", [], b"private"),
    ):
        answer = await front.get(path, cookie)
        assert answer.values(EXPIRES) == said, path  # the application's value is never used
        assert answer.values(b"cache-control") == [control]


def test_session_expires_is_refused_with_shared_caching() -> None:
    route = {"upstream": "http://a", "session_expires": True, "cache_control": "keep"}
    with pytest.raises(InvalidSettings, match=r"routes\[0\].session_expires: would be stored"):
        settings_from({"routes": [route]})


def test_the_session_time_is_sent_under_every_server(deploy: Start, carrier: Carrier) -> None:
    with Origin((answering(OK, b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'),)) as origin:
        routes = [{"upstream": origin.url, "session_expires": True}]
        live = deploy("", routes=routes, users=[config_user()], **carrier)
        cookie = live.login()
        with live.client() as client:
            for status in (200, 304):
                answer = client.ask(get("/", cookie, host=live.host))
                (said,) = answer.values(EXPIRES)
                assert (answer.status, 7100 < int(said) <= 7200) == (status, True)


async def test_the_session_time_is_sent_for_an_application_in_this_process(tmp_path: Path) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    values: dict[str, Any] = {"data_dir": str(tmp_path), "routes": [{"session_expires": True}]}
    settings = settings_in_process({"public_url": "http://app.test"} | values, tmp_path)
    app = Doorward(inner, settings)
    async with app._gate, build_accounts(settings, time.time) as accounts:
        front = Front(app._gate, accounts, None, time.time)  # type: ignore[arg-type]
        cookie = front.cookie(await front.opened())
        answer = await ask(app, scope("/", [(b"host", b"app.test"), cookie]))
        (said,) = answer.values(EXPIRES)
        assert 7100 < int(said) <= 7200


# Under every server

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
APP = PLAIN + b"x-frame-options: DENY\r\nContent-Security-Policy: img-src *\r\n\r\nok"
NOT_MODIFIED = b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'
FAILED = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK


def test_headers_are_added_to_each_kind_of_answer(deploy: Start, carrier: Carrier) -> None:
    answers = (OK, OK, APP, NOT_MODIFIED, FAILED, HEAD)
    with Origin((answering(*answers),)) as origin:
        routes = [
            {"path": "/app", "upstream": origin.url, "security_headers": ALL},
            {"path": "/bare", "upstream": origin.url},
            {"path": "/off", "upstream": "http://127.0.0.1:9", "security_headers": ALL},
        ]
        live = deploy("", routes=routes, access={"default": "public"}, **carrier)
        with live.client() as client:
            assert security_lines(client.ask(get("/bare", host=live.host)).head) == []
            got = client.ask(get("/app", host=live.host))
            assert sorted_lines(got.head) == sorted(ADDED)
            assert (got.status, got.body) == (200, b"ok")
            own = client.ask(get("/app", host=live.host))
            assert sorted_lines(own.head) == sorted(
                [
                    (b"content-security-policy", b"img-src *"),
                    (b"x-frame-options", b"DENY"),
                    NOSNIFF,
                    REFERRER,
                ]
            )
            kept = client.ask(get("/app", host=live.host))
            assert (kept.status, security_lines(kept.head)) == (304, [])
            failed = client.ask(get("/app", host=live.host))
            assert (failed.status, sorted_lines(failed.head)) == (500, sorted(ADDED))
            asked = get("/app", host=live.host).replace(b"GET", b"HEAD", 1)
            got = client.ask(asked)
            assert (got.status, sorted_lines(got.head)) == (200, sorted(ADDED))
        unreachable = live.get("/off")
        assert unreachable.status == 502
        assert unreachable.values(b"referrer-policy") == [b"same-origin"]


async def test_doorwards_own_answers_get_missing_headers(fronts: Build, origin: Origin) -> None:
    """They already have their own policies, but none for the whole host."""
    route = {"upstream": origin.url, "security_headers": ALL | {"referrer": "no-referrer"}}
    rules = [{"path": "/no", "require": "deny"}]
    proxies = {"trusted_proxies": ["192.0.2.0/24"]}
    front = await fronts(routes=[route], access={"rules": rules}, **proxies)
    proxied = ((b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https"))
    program = await front.get("/no", *proxied)
    page = await front.get("/no", *proxied, (b"sec-fetch-mode", b"navigate"))
    login = await front.get("/", *proxied, (b"sec-fetch-mode", b"navigate"))
    assert [answer.status for answer in (program, page, login)] == [403, 403, 303]
    for answer in (program, page):
        assert answer.values(HSTS[0]) == [HSTS[1]]
        assert answer.values(b"x-frame-options") == [b"DENY"]
        assert answer.values(b"referrer-policy") == [b"same-origin"]
        assert len(answer.values(b"content-security-policy")) == 1
    assert security_lines(login.head) == [
        HSTS,
        NOSNIFF,
        (b"referrer-policy", b"no-referrer"),
        POLICY,
        OPTIONS,
        ANCESTORS,
    ]


async def test_a_maintenance_page_is_part_of_its_route(fronts: Build, tmp_path: Path) -> None:
    page = tmp_path / "maintenance.html"
    page.write_text("<h1>Back soon</h1>")
    route = {
        "upstream": "http://127.0.0.1:9",
        "maintenance": str(page),
        "security_headers": {"nosniff": True, "hsts": "1d"},
    }
    trusted = {"trusted_proxies": ["192.0.2.0/24"], "access": {"default": "public"}}
    front = await fronts(routes=[route], **trusted)
    proxied = ((b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https"))
    answer = await front.get("/", *proxied)
    hsts = (b"strict-transport-security", b"max-age=86400")
    assert (answer.status, security_lines(answer.head)) == (503, [hsts, NOSNIFF])


async def test_an_application_in_this_process_gets_them_too(tmp_path: Path) -> None:
    said: list[Header] = [(b"Referrer-Policy", b"origin")]

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": said})
        await send({"type": "http.response.body", "body": b"ok"})

    values: dict[str, Any] = {
        "public_url": "http://app.test",
        "data_dir": str(tmp_path),
        "routes": [{"security_headers": ALL}],
        "access": {"default": "public"},
    }
    app = Doorward(inner, settings_in_process(values, tmp_path))
    async with app._gate:
        answer = await ask(app, scope("/"))
    assert security_lines(answer.head) == [
        (b"referrer-policy", b"origin"),
        NOSNIFF,
        POLICY,
        OPTIONS,
        ANCESTORS,
    ]
