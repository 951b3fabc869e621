"""A logout from Doorward also ends the session at the application, and never depends on it."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts.session import PENDING
from doorward.middleware import Doorward
from doorward.settings import InvalidSettings, settings_from, settings_in_process
from doorward.wiring.accounts import build_accounts
from structlog.testing import capture_logs

from tests.conftest import Carrier, Start
from tests.support.asgi import ask, scope
from tests.support.clock import FixedClock
from tests.support.front import Build, Front
from tests.support.live import config_user
from tests.support.origin import OK, Origin, answering
from tests.support.wire import Answer, Header, Wire, lines_of, values_of

LOGOUT = {"url": "/bye", "cookies": ["PHPSESSID"]}
OURS = b"/.doorward/logout"
FAILED = "application_logout_failed"


async def leave(front: Front, *lines: Header, host: bytes = b"app.test") -> Answer:
    asked = scope(OURS, [(b"host", host), (b"sec-fetch-site", b"same-origin"), *lines], "POST")
    return await ask(front.app, asked)


def expired(answer: Answer) -> list[bytes]:
    """The lines that expire applications' cookies."""
    return [line for line in answer.values(b"set-cookie") if b"doorward" not in line]


def with_others(front: Front, opened: Any, text: bytes = b"PHPSESSID=p1; a=b") -> Header:
    return b"cookie", text + b"; " + front.cookie(opened)[1]


async def test_the_application_is_asked_as_its_user_would_ask(
    fronts: Build, origin: Origin
) -> None:
    """With its own cookies and the user's headers, and without anything of Doorward's."""
    front = await fronts(
        routes=[{"upstream": origin.url, "logout": LOGOUT}],
        access={"rules": [{"path": "/bye", "require": "deny"}]},  # only for browsers
    )
    opened = await front.opened(groups=("staff",))
    left = await leave(front, with_others(front, opened), (b"user-agent", b"Firefox"))
    assert left.status == 303
    (head,) = origin.heads
    assert head.startswith(b"GET /bye HTTP/1.1\r\nhost: app.test\r\n")
    assert values_of(head, b"cookie") == [b"PHPSESSID=p1; a=b"]
    assert values_of(head, b"remote-user") == [b"alice"]
    assert values_of(head, b"remote-groups") == [b"staff"]
    assert values_of(head, b"x-forwarded-for") == [b"192.0.2.1"]
    assert values_of(head, b"user-agent") == [b"Firefox"]
    assert opened.token.encode() not in head
    assert {name for name, _ in lines_of(head)} & {b"content-length", b"origin"} == set()
    assert (await front.get("/", front.cookie(opened))).status == 401


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_the_application_is_asked_for_each_session_that_ends(
    fronts: Build, origin: Origin, name: str
) -> None:
    """It was only asked for one, so the other user stayed logged in there."""
    front = await fronts(routes=[{"upstream": origin.url, "logout": LOGOUT}])
    cookie, bearer = await front.opened("alice"), await front.opened(name)
    authorization = b"authorization", b"Bearer " + bearer.token.encode()
    assert (await leave(front, front.cookie(cookie), authorization)).status == 303
    asked = [values_of(head, b"remote-user") for head in origin.heads]
    assert sorted(asked) == [[b"alice"], [name.encode()]]


@pytest.mark.parametrize("port", ["", ":8080"])
@pytest.mark.parametrize("host", ["[2001:db8::1]", "192.0.2.9", "wiki.test"])
async def test_the_host_of_a_route_may_be_an_address(
    fronts: Build, origin: Origin, host: str, port: str
) -> None:
    route = {"host": host, "upstream": origin.url, "logout": LOGOUT}
    front = await fronts(routes=[route], public_url=f"http://{host}{port}")
    opened = await front.opened()
    left = await leave(front, with_others(front, opened), host=f"{host}{port}".encode())
    assert b"PHPSESSID=; Max-Age=0; Path=/" in expired(left)
    assert origin.heads[0].startswith(f"GET /bye HTTP/1.1\r\nhost: {host}{port}\r\n".encode())


async def test_every_variant_of_a_cookie_expires(fronts: Build, origin: Origin) -> None:
    """Cookies with one name differ by path and domain; a browser keeps the variants that are not
    expired."""
    route = {"host": "app.test", "path": "/wiki", "upstream": origin.url}
    names = ["PHPSESSID", "__Host-app"]
    other = {"host": "other.test", "upstream": origin.url, "logout": {"cookies": ["OTHER"]}}
    logout = {"cookies": names, "url": "/wiki/bye?all=1"}
    front = await fronts(
        routes=[route | {"logout": logout, "rewrite": {"strip_path": True}}, other],
        public_url="http://app.test",
        sessions={"cookie": {"domain": "app.test"}},
    )
    left = await leave(front, with_others(front, await front.opened()))
    assert expired(left) == [
        b"PHPSESSID=; Max-Age=0; Path=/",
        b"PHPSESSID=; Max-Age=0; Path=/wiki",
        b"PHPSESSID=; Max-Age=0; Path=/wiki/",
        b"PHPSESSID=; Max-Age=0; Path=/; Domain=app.test",
        b"PHPSESSID=; Max-Age=0; Path=/wiki; Domain=app.test",
        b"PHPSESSID=; Max-Age=0; Path=/wiki/; Domain=app.test",
        b"__Host-app=; Max-Age=0; Path=/; Secure",
    ]
    (head,) = origin.heads
    assert head.startswith(b"GET /bye?all=1 HTTP/1.1\r\n")
    assert values_of(head, b"x-forwarded-prefix") == [b"/wiki"]
    # Another host has other cookies.
    assert expired(await leave(front, host=b"other.test")) == [
        b"OTHER=; Max-Age=0; Path=/",
        b"OTHER=; Max-Age=0; Path=/; Domain=other.test",
    ]


async def test_cookies_of_a_shared_domain_and_of_https_expire(
    fronts: Build, origin: Origin
) -> None:
    front = await fronts(
        routes=[{"upstream": origin.url, "logout": {"cookies": ["sid"]}}],
        public_url="https://a.example.com",
        sessions={"cookie": {"domain": "example.com"}},
        trusted_proxies=["192.0.2.0/24"],
    )
    proxied = ((b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https"))
    left = await leave(front, *proxied, host=b"a.example.com")
    assert expired(left) == [
        b"sid=; Max-Age=0; Path=/; Secure",
        b"sid=; Max-Age=0; Path=/; Domain=a.example.com; Secure",
        b"sid=; Max-Age=0; Path=/; Domain=example.com; Secure",
    ]
    assert origin.heads == []


async def test_requests_without_a_complete_login_never_reach_the_application(
    fronts: Build, origin: Origin
) -> None:
    front = await fronts(routes=[{"upstream": origin.url, "logout": LOGOUT}])
    assert (await leave(front)).status == 303
    opened = await front.opened()
    opened.session.level = PENDING
    await front.accounts.sessions.end(opened.session, front.clock())
    assert (await leave(front, front.cookie(opened))).status == 303
    assert origin.heads == []


NOT_FOUND = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("case", ["refused", "cut", "404", "no answer", "elsewhere"])
async def test_a_logout_succeeds_whatever_the_application_does(
    fronts: Build, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "no answer":
        monkeypatch.setattr("doorward.web.application_logout.CALL_S", 0.1)
    scripts: dict[str, Any] = {
        "cut": lambda wire: wire.head() and None,
        "404": answering(NOT_FOUND),
        "no answer": lambda wire: (wire.head(), wire.rest()),
    }
    with Origin((scripts.get(case, answering(OK)),)) as origin:
        url = "http://127.0.0.1:9" if case == "refused" else origin.url
        routes: list[dict[str, Any]] = [{"upstream": url, "logout": LOGOUT}]
        if case == "elsewhere":
            routes.append({"path": "/bye", "upstream": origin.url})
        front = await fronts(routes=routes)
        opened = await front.opened()
        with capture_logs() as logs:
            left = await leave(front, front.cookie(opened))
        assert (left.status, len(expired(left))) == (303, 2)
        assert (await front.get("/", front.cookie(opened))).status == 401
        (said,) = [line for line in logs if line["event"] == FAILED]
        assert said["log_level"] == "warning" and said["route"] == "/" and said["reason"]
        if case == "elsewhere":
            assert origin.heads == []


def closing_at_the_second(wire: Wire) -> None:
    """An application whose connections close when they are used again."""
    wire.head()
    wire.send(OK)
    wire.head()


async def test_a_closed_kept_connection_loses_no_logout(fronts: Build) -> None:
    """Connections are kept if the number of requests to the upstream is limited."""
    scripts = closing_at_the_second, answering(OK)
    with Origin(scripts) as origin:
        route = {"upstream": origin.url, "logout": LOGOUT, "concurrency": {"requests": 2}}
        front = await fronts(routes=[route])
        opened = await front.opened()
        assert (await front.get("/", front.cookie(opened))).status == 200
        with capture_logs() as logs:
            assert (await leave(front, front.cookie(opened))).status == 303
        assert not [line for line in logs if line["event"] == FAILED]
        said = [head.split(b" ", 2)[1] for head in origin.heads]
        assert said == [b"/", b"/bye", b"/bye"]


DIALECTS: dict[str, Any] = {"alekeagle": {}, "datepoll": {}, "rocketchat": {}, "xhr": {}}
# Every request with which a program ends its own session, and its JSON body.
ENDINGS = {
    "POST /xhr/logout": "",
    "DELETE /api/session/{iat}": "",
    "DELETE /api/sessions": '{"sessions": [{iat}]}',
    "DELETE /api/sessions/all": "",
    "DELETE /api/v1/user/myself/session/{number}": "",
    "POST /api/v1/user/myself/session/logoutCurrentSession": '{"session_token": "{token}"}',
    "GET /api/v1/logout": "",
    "POST /api/v1/logout": "",
    "POST /api/v1/sessions/logout.me": '{"sessionId": "{id}"}',
    "POST /api/v1/sessions/logout": '{"sessionId": "{id}"}',
    "POST /api/v1/users.logout": "{}",
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_every_way_to_end_the_own_session_is_a_logout(
    fronts: Build, origin: Origin, ending: str
) -> None:
    routes = [{"upstream": origin.url, "logout": LOGOUT}]
    front = await fronts(routes=routes, dialects=DIALECTS)
    opened = await front.opened(roles=("admin",))
    session = opened.session
    values = {
        "{number}": str(session.number), "{iat}": str(session.iat), "{id}": session.id,
        "{token}": opened.token,
    }  # fmt: skip

    def filled(text: str) -> str:
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    method, target = filled(ending).split(" ")
    body = filled(ENDINGS[ending]).encode()
    headers = [
        (b"host", b"app.test"), (b"authorization", b"Bearer " + opened.token.encode()),
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
        (b"x-2fa-code", sha256(b"correct horse").hexdigest().encode()),
        (b"x-2fa-method", b"password"),
    ]  # fmt: skip
    left = await ask(front.app, scope(target, headers, method), body)
    assert left.status in (200, 204), left.body
    assert b"PHPSESSID=; Max-Age=0; Path=/" in expired(left)
    assert [head.split(b" ", 2)[1] for head in origin.heads] == [b"/bye"]


async def test_a_redirect_with_a_long_body_counts_as_a_logout(fronts: Build) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 1000000000\r\n\r\nx"
    with Origin((answering(redirect),)) as origin:
        front = await fronts(routes=[{"upstream": origin.url, "logout": LOGOUT}])
        opened = await front.opened()
        with capture_logs() as logs:
            assert (await leave(front, front.cookie(opened))).status == 303
        assert not [line for line in logs if line["event"] == FAILED]
        await asyncio.to_thread(origin.wire().is_closed)


def test_a_logout_works_under_every_server(deploy: Start, carrier: Carrier) -> None:
    with Origin((answering(OK),)) as origin:
        routes = [{"upstream": origin.url, "logout": LOGOUT}]
        live = deploy("", routes=routes, users=[config_user()], **carrier)
        cookie = live.login()
        request = (
            f"POST /xhr/logout HTTP/1.1\r\nHost: {live.host}\r\n{cookie}; PHPSESSID=p1\r\n\r\n"
        )
        with live.client() as client:
            left = client.ask(request.encode())
        assert left.status == 204
        assert b"PHPSESSID=; Max-Age=0; Path=/" in left.values(b"set-cookie")
        (head,) = origin.heads
        assert head.startswith(b"GET /bye HTTP/1.1\r\n")
        assert values_of(head, b"remote-user") == [b"alice"]
        assert values_of(head, b"cookie") == [b"PHPSESSID=p1"]


@pytest.mark.parametrize("status", [204, 500])
async def test_an_application_in_this_process_is_asked_too(tmp_path: Path, status: int) -> None:
    asked: list[dict[str, Any]] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope)
        assert (await receive())["body"] == b""
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    values = {"data_dir": str(tmp_path), "routes": [{"logout": LOGOUT}]}
    settings = settings_in_process({"public_url": "http://app.test"} | values, tmp_path)
    clock = FixedClock()
    app = Doorward(inner, settings)

    async with app._gate, build_accounts(settings, time.time) as accounts:
        clock.now = time.time()
        front = Front(app, accounts, None, clock)  # type: ignore[arg-type]
        opened = await front.opened()
        with capture_logs() as logs:
            left = await leave(front, with_others(front, opened))
    assert (left.status, len(expired(left))) == (303, 2)
    (found,) = asked
    assert (found["method"], found["path"]) == ("GET", "/bye")
    assert dict(found["headers"])[b"cookie"] == b"PHPSESSID=p1; a=b"
    assert found["state"]["doorward"].username == "alice"
    assert [line["event"] for line in logs if line["event"] == FAILED] == [FAILED] * (status == 500)


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ({}, "logout", "does nothing"),
        ({"url": "none"}, "logout", "does nothing"),
        ({"url": "logout"}, "logout.url", "not a path"),
        ({"url": "https://a/logout"}, "logout.url", "not a path"),
        ({"url": "//a/logout"}, "logout.url", "not a path"),
        ({"url": "/a\r\nX: y"}, "logout.url", "not a path"),
        ({"url": "/elsewhere"}, "logout", "below the route's path"),
        ({"url": "/wikis/out"}, "logout", "below the route's path"),
        ({"cookies": ["a b"]}, "logout.cookies[0]", "not a cookie's name"),
        ({"cookies": ["a", "b;c"]}, "logout.cookies[1]", "not a cookie's name"),
        ({"cookies": ["__Host-doorward"]}, "logout.cookies[0]", "Doorward's own"),
    ],
)
def test_a_wrong_setting_is_reported_at_the_start(value: Any, key: str, words: str) -> None:
    route = {"path": "/wiki", "upstream": "http://a", "logout": value}
    with pytest.raises(InvalidSettings) as wrong:
        settings_from({"routes": [route]})
    assert f"routes[0].{key}: " in str(wrong.value)
    assert words in str(wrong.value)
