"""The login form of an application: submitted once for each session, its cookies kept by
Doorward."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from doorward.accounts.application_credentials import ApplicationCredential
from doorward.relay.form_login import REFUSED_FOR_S
from doorward.rewrite.cookie_jar import COOKIES, JAR_BYTES, WITHHELD, CookieJar
from doorward.rewrite.form_credentials import RENEWED_AFTER_S
from doorward.rewrite.login_form import _fill
from doorward.settings import InvalidSettings, settings_from
from doorward.web.explanation import Question
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.conftest import Start
from tests.support.asgi import ask, scope
from tests.support.front import HOST, Build, Front
from tests.support.login_forms import PASSWORD, FormApplication, open_front
from tests.support.origin import Origin
from tests.support.servers import EVERY, OWN
from tests.support.wire import values_of

NOW = 1_800_000_000.0
SWITCHED = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: w=1\r\n\r\n"


class Shop(FormApplication):
    """An application with a login form, one password per user, and its own sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.passwords = {"alice": PASSWORD, "app": "shared"}
        self.sessions: dict[bytes, str] = {}
        self.logins: list[list[tuple[str, str]]] = []
        self.requests: list[tuple[bytes, str | None]] = []
        self.delay_s = 0.0
        self.answer: bytes | None = None  # an answer to logins, instead of the normal one
        self.over = (
            b"HTTP/1.1 302 Found\r\nLocation: /login?next=x\r\nContent-Length: 4\r\n\r\nover"
        )

    def reply(self, head: bytes, body: bytes) -> bytes:
        method, target, _ = head.split(b"\r\n")[0].split(b" ")
        if method == b"POST" and target == b"/login":
            time.sleep(self.delay_s)  # other requests have to find a login in progress
            return self.log_in(dict(parse_qsl(body.decode(), keep_blank_values=True)), body)
        cookies = b"; ".join(values_of(head, b"cookie"))
        pairs = dict(pair.partition(b"=")[::2] for pair in cookies.split(b"; "))
        user = self.sessions.get(pairs.get(b"sid", b""))
        self.requests.append((target, user))
        if user is not None and target == b"/socket":
            return SWITCHED
        if user is None:
            return self.over
        more = b"Set-Cookie: seen=1; Path=/\r\n" if target == b"/seen" else b""
        text = b"%b:%b" % (user.encode(), cookies)
        return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (more, len(text), text)

    def log_in(self, form: dict[str, str], body: bytes) -> bytes:
        self.logins.append(parse_qsl(body.decode(), keep_blank_values=True))
        if self.answer is not None:
            return self.answer
        if self.passwords.get(form.get("user", "")) != form.get("pass"):
            return b"HTTP/1.1 302 Found\r\nLocation: /login?wrong\r\nContent-Length: 0\r\n\r\n"
        sid = b"s%d" % len(self.logins)
        self.sessions[sid] = form["user"]
        return (
            b"HTTP/1.1 302 Found\r\nLocation: /home\r\nSet-Cookie: sid=%b; HttpOnly; Path=/\r\n"
            b"Set-Cookie: csrf=c%b\r\nContent-Length: 0\r\n\r\n"
        ) % (sid, sid)


@pytest.fixture
def shop() -> Iterator[Shop]:
    yield Shop()


@pytest.fixture
def application(shop: Shop) -> Iterator[Origin]:
    with Origin((shop,)) as origin:
        yield origin


FORM: dict[str, Any] = {
    "url": "/login",
    "fields": {"user": "{username}", "pass": "{password}", "action": "log in"},
}
RULES = {"rules": [{"path": "/public/*", "require": "public"}]}


async def shopping(fronts: Build, application: Origin, **form: Any) -> Front:
    route = {"upstream": application.url, "credentials": {"form": FORM | form}}
    return await open_front(fronts, route, access=RULES)


async def test_a_session_is_logged_in_once_and_its_cookies_stay_in_doorward(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    for _ in range(3):
        answer = await front.get("/x", cookie)
        assert answer.body == b"alice:sid=s1; csrf=cs1"
        assert answer.values(b"set-cookie") == []
    assert shop.logins == [[("user", "alice"), ("pass", PASSWORD), ("action", "log in")]]
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 200
    assert len(shop.logins) == 2, "another session, another login"


async def test_a_login_has_forwarding_headers_but_none_of_the_client(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    lines = [(b"authorization", b"Basic eA=="), (b"cookie", b"own=1"), (b"x-own", b"1")]
    await front.get("/x", front.cookie(await front.opened()), *lines)
    head = shop.heads[0]
    assert head.startswith(b"POST /login HTTP/1.1\r\nhost: app.test\r\nx-forwarded-for: 192.0.2.1")
    names = {line.partition(b":")[0] for line in head.split(b"\r\n")[1:] if line}
    assert not names & {b"authorization", b"cookie", b"x-own", b"remote-user"}


async def test_later_cookies_are_kept_and_the_browsers_own_are_forwarded(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    forged = (b"cookie", b"sid=forged; csrf=x; own=1")
    answer = await front.get("/seen", cookie, forged)
    assert answer.body == b"alice:own=1; sid=s1; csrf=cs1" and not answer.values(b"set-cookie")
    again = await front.get("/x", cookie, (b"cookie", b"seen=forged"), (b"cookie", b"a=b;sid=y"))
    assert again.body == b"alice:a=b; sid=s1; csrf=cs1; seen=1"


async def test_concurrent_first_requests_log_in_once(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    shop.delay_s = 0.1
    cookie = front.cookie(await front.opened())
    answers = await asyncio.gather(*(front.get(f"/{n}", cookie) for n in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert len(shop.logins) == 1


@pytest.mark.parametrize(
    "over",
    [
        b"HTTP/1.1 302 Found\r\nLocation: /login?next=x\r\nContent-Length: 4\r\n\r\nover",
        b"HTTP/1.1 303 X\r\nLocation: http://app.test/login\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 X\r\nlocation: login\r\nSet-Cookie: sid=; Max-Age=0\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nover\r\n0\r\n\r\n",
        b"HTTP/1.1 401 X\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000),
        b"HTTP/1.1 401 X\r\n\r\nuntil the connection closes",
        b"HTTP/1.1 401 X\r\nContent-Length: 4\r\n\r\noverHTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_a_session_that_the_application_ended_is_opened_again_once(
    fronts: Build, application: Origin, shop: Shop, over: bytes
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    shop.sessions.clear()
    shop.over = over
    front.clock.now += RENEWED_AFTER_S
    answer = await front.get("/y", cookie)
    assert answer.status == 200 and answer.body == b"alice:sid=s2; csrf=cs2"
    assert shop.requests[-2:] == [(b"/y", None), (b"/y", "alice")]
    shop.sessions.clear()
    answer = await front.get("/z", cookie)  # again at once: no loop, and no third login
    assert answer.status == int(over.split(b" ")[1])
    assert len(shop.logins) == 2


@pytest.mark.parametrize("body", [b"ZZZ\r\n", b"3\r\nabcZZ\r\n", b"3\r\nabc\r\n0\r\n\x00\r\n"])
async def test_a_discarded_answer_may_be_broken(
    fronts: Build, application: Origin, shop: Shop, body: bytes
) -> None:
    """In the bytes that were received with its head, before the connection could be closed."""
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    shop.sessions.clear()
    shop.over = b"HTTP/1.1 401 X\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    front.clock.now += RENEWED_AFTER_S
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    assert (await front.get("/y", cookie)).body == b"alice:sid=s2; csrf=cs2"
    assert raised == []


async def test_a_cookie_that_the_application_removed_does_not_come_from_the_browser(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    """Another host of the domain may have set it in the browser, for another user's session."""
    front = await shopping(fronts, application)
    cookie, forged = front.cookie(await front.opened()), (b"cookie", b"sid=other; own=1")
    assert (await front.get("/x", cookie)).status == 200
    shop.sessions = {b"other": "mallory"}
    removing = b"Set-Cookie: sid=; Max-Age=0; Path=/\r\nContent-Length: 0\r\n\r\n"
    shop.over = b"HTTP/1.1 302 X\r\nLocation: /bye\r\n" + removing
    for _ in range(2):
        assert (await front.get("/y", cookie, forged)).status == 302
        assert values_of(shop.heads[-1], b"cookie")[0].startswith(b"own=1; ")
    shop.over = b"HTTP/1.1 302 X\r\nLocation: /login\r\n" + removing
    shop.answer = b"HTTP/1.1 302 X\r\nLocation: /\r\nSet-Cookie: new=1\r\nContent-Length: 0\r\n\r\n"
    front.clock.now += RENEWED_AFTER_S
    assert (await front.get("/y", cookie, forged)).status == 302
    assert values_of(shop.heads[-1], b"cookie") == [b"own=1; new=1"], "nor after another login"


async def test_an_application_that_loses_sessions_causes_no_loop(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    shop.answer = (
        b"HTTP/1.1 302 Found\r\nLocation: /home\r\nSet-Cookie: sid=no\r\nContent-Length: 0\r\n\r\n"
    )
    for _ in range(5):
        shop.sessions.clear()
        front.clock.now += RENEWED_AFTER_S
        asked, logins = len(shop.requests), len(shop.logins)
        assert (await front.get("/y", cookie)).status == 302
        assert (len(shop.requests) - asked, len(shop.logins) - logins) == (2, 1)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_an_unsafe_request_is_not_sent_twice(
    fronts: Build, application: Origin, shop: Shop, method: str
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    shop.sessions.clear()
    front.clock.now += RENEWED_AFTER_S
    lines = [*HOST, cookie, (b"content-length", b"3")]
    answer = await ask(front.app, scope("/y", lines, method=method), b"a=b")
    assert answer.status == 302
    assert [target for target, _ in shop.requests].count(b"/y") == 1
    assert (await front.get("/z", cookie)).status == 200, "the next request logs in"
    assert len(shop.logins) == 2


async def test_concurrent_requests_of_an_ended_session_log_in_once(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    shop.sessions.clear()
    shop.delay_s = 0.1
    front.clock.now += RENEWED_AFTER_S
    answers = await asyncio.gather(*(front.get(f"/{n}", cookie) for n in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len(shop.logins) == 2


async def test_a_wrong_password_is_refused_and_not_tried_until_it_locks_the_account(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    await front.give_account("alice", "wrong")
    cookies = [front.cookie(await front.opened()) for _ in range(3)]
    with capture_logs() as logs:
        for cookie in cookies * 2:
            answer = await front.get("/x", cookie)
            assert answer.status == 502 and b"application_login_failed" in answer.body
    assert len(shop.logins) == 1 and shop.requests == []
    (line,) = [line for line in logs if line["event"] == "application_login_failed"]
    assert (line["route"], line["user"]) == ("/", "alice") and "form" in line["reason"]
    assert "wrong'" not in str(logs) and "geheim" not in str(logs)
    front.clock.now += REFUSED_FOR_S
    assert (await front.get("/x", cookies[0])).status == 502
    assert len(shop.logins) == 2
    await front.give_account("alice", PASSWORD)  # another password may be tried at once
    assert (await front.get("/x", cookies[0])).status == 200
    assert len(shop.logins) == 3


@pytest.mark.parametrize(
    ("answer", "success", "says"),
    [
        (b"200 OK\r\nSet-Cookie: sid=1", {}, "its status is 200"),
        (b"302 X\r\nLocation: /home", {}, "it sets no cookie"),
        (b"302 X\r\nLocation: /other\r\nSet-Cookie: a=b", {"location": "/home"}, "location"),
        (b"302 X\r\nSet-Cookie: a=b", {"location": "/home"}, "location"),
        (b"302 X\r\nLocation: /home\r\nSet-Cookie: a=b", {"cookie": "sid"}, "success.cookie"),
        (b"302 X\r\nLocation: /home\r\nSet-Cookie: sid=; Max-Age=0", {}, "it sets no cookie"),
    ],
)
async def test_an_unsuccessful_login_is_a_refusal(
    fronts: Build, application: Origin, shop: Shop, answer: bytes, success: Any, says: str
) -> None:
    front = await shopping(fronts, application, success=success)
    shop.answer = b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n"
    with capture_logs() as logs:
        assert (await front.get("/x", front.cookie(await front.opened()))).status == 502
    assert [line for line in logs if says in line.get("reason", "")]
    assert shop.requests == []


async def test_success_is_recognized_by_status_location_and_cookie(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    success = {"status": [200, 302], "location": "/home", "cookie": "sid"}
    front = await shopping(fronts, application, success=success)
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 200


async def test_an_application_that_fails_may_be_asked_again(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    shop.answer = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
    assert (await front.get("/x", cookie)).status == 502
    shop.answer = None
    assert (await front.get("/x", cookie)).status == 200


async def test_an_unreachable_application_is_502(fronts: Build) -> None:
    route = {"upstream": "http://127.0.0.1:9", "credentials": {"form": FORM}}
    front = await open_front(fronts, route)
    cookie = front.cookie(await front.opened())
    answer = await front.get("/x", cookie)
    assert answer.status == 502 and b"bad_gateway" in answer.body


async def test_a_user_without_an_account_sees_the_application_as_it_is(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened("bob"))
    answer = await front.get("/x", cookie, (b"cookie", b"sid=own"))
    assert answer.status == 302 and shop.logins == []
    assert values_of(shop.heads[-1], b"cookie") == [b"sid=own"]


async def test_a_public_path_gets_no_login(fronts: Build, application: Origin, shop: Shop) -> None:
    front = await shopping(fronts, application)
    cookie = front.cookie(await front.opened())
    for session in ((), (cookie,)):
        assert (await front.get("/public/x", *session)).status == 302
        assert values_of(shop.heads[-1], b"cookie") == []
    assert shop.logins == []


async def test_a_shared_account_is_read_from_a_file(
    fronts: Build, application: Origin, shop: Shop, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("shared\n")
    secret.chmod(0o600)
    route = {
        "upstream": application.url,
        "credentials": {"form": FORM | {"username": "app", "password_file": str(secret)}},
    }
    front = await fronts(routes=[route])
    for name in ("alice", "bob"):
        answer = await front.get("/x", front.cookie(await front.opened(name)))
        assert answer.body.startswith(b"app:")


@pytest.mark.parametrize("where", ["/.doorward/logout", "/xhr/logout"])
async def test_a_logout_ends_the_session_that_is_kept_here(
    fronts: Build, application: Origin, shop: Shop, where: str
) -> None:
    """The application's logout gets the cookies that only Doorward has, and does not open a
    session."""
    route = {
        "upstream": application.url,
        "credentials": {"form": FORM},
        "logout": {"url": "/bye"},
    }
    front = await open_front(fronts, route, access=RULES)
    used, unused = [front.cookie(await front.opened()) for _ in range(2)]
    assert (await front.get("/x", used)).status == 200
    for cookie in (used, unused):
        lines = [*HOST, (b"sec-fetch-site", b"same-origin"), cookie]
        assert (await ask(front.app, scope(where, lines, "POST"))).status in (204, 303)
    assert shop.requests[-2:] == [(b"/bye", "alice"), (b"/bye", None)]
    assert len(shop.logins) == 1


async def test_an_ended_sessions_cookies_are_forgotten(
    fronts: Build, application: Origin, shop: Shop
) -> None:
    front = await shopping(fronts, application)
    opened = await front.opened()
    cookie = front.cookie(opened)
    assert (await front.get("/x", cookie)).status == 200
    await front.accounts.sessions.end(opened.session, front.clock())
    assert (await front.get("/x", cookie)).status == 401
    assert (await front.get("/x", front.cookie(await front.opened()))).body.count(b"s2") == 2


async def test_the_path_of_the_form_is_the_applications(
    fronts: Build, shop: Shop, application: Origin
) -> None:
    route = {
        "path": "/shop",
        "upstream": application.url,
        "rewrite": {"strip_path": True, "host": "shop.internal"},
        "credentials": {"form": FORM},
    }
    front = await open_front(fronts, route)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/shop/x", cookie)).status == 200
    assert shop.heads[0].startswith(b"POST /login HTTP/1.1\r\nhost: shop.internal\r\n")


async def test_explain_hides_the_cookies(fronts: Build, application: Origin, shop: Shop) -> None:
    front = await shopping(fronts, application)
    user, explainer = await front.accounts.users.get("alice"), front.app.explainer
    assert explainer is not None
    found = await explainer.explain(Question("GET", "/x", user), front.clock())
    assert found.head.endswith("\r\ncookie: (hidden)\r\n\r\n") and shop.logins == []


@pytest.mark.parametrize("server", EVERY)
def test_a_form_login_works_under_any_server(
    deploy: Start, application: Origin, shop: Shop, server: str
) -> None:
    route = {"upstream": application.url, "credentials": {"form": FORM}}
    live = deploy(application.url, server=server, routes=[route])
    live.add_user("alice")
    words = "user", "credential", "set", "alice", "/", "--password-stdin"
    assert live.command(*words, stdin=shop.passwords["alice"] + "\n").returncode == 0
    cookie = live.login("alice")
    for _ in range(2):
        answer = live.get("/seen", cookie, "Cookie: sid=forged")
        assert answer.status == 200 and answer.body.startswith(b"alice:sid=s1")
        assert answer.values(b"set-cookie") == []
    assert len(shop.logins) == 1
    if server == OWN:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket")
        switched = live.get("/socket", cookie, *upgrade)
        assert switched.status == 101 and switched.values(b"set-cookie") == []
        assert b"sid=s1" in values_of(shop.heads[-1], b"cookie")[0]
    assert "geheim" not in live.log.read_text()


# The parts


@given(st.text(), st.text())
def test_placeholders_in_names_and_passwords_are_not_expanded(name: str, password: str) -> None:
    account = ApplicationCredential(name, password)
    assert _fill("{username}|{password}|{username}", account) == f"{name}|{password}|{name}"


@given(st.lists(st.binary(max_size=300), max_size=120))
def test_a_jar_is_bounded_and_writes_whole_heads(lines: list[bytes]) -> None:
    jar = CookieJar()
    for number, line in enumerate(lines):
        jar.take(line.translate(None, b"\r\n"), NOW)
        jar.take(b"n%d=" % number + b"x" * 4000, NOW)
        jar.take(b"p=1; Path=/%d" % number + b"x" * 4000, NOW)
        jar.take(b"x" * 4000 + b"%d=; Max-Age=0" % number, NOW)
    assert len(jar._kept) <= COOKIES and jar._bytes <= JAR_BYTES
    assert sum(len(name + path + one.value) for (name, path), one in jar._kept.items()) <= JAR_BYTES
    assert len(jar._withheld) <= WITHHELD and sum(map(len, jar._withheld)) <= JAR_BYTES
    head = jar.write(b"GET /a?b HTTP/1.1\r\nhost: a\r\ncookie: own=1\r\nx: y\r\n\r\n")
    assert head.startswith(b"GET /a?b HTTP/1.1\r\nhost: a\r\nx: y\r\n")
    assert head.endswith(b"\r\n\r\n") and head.count(b"\r\ncookie: ") == 1


@pytest.mark.parametrize(
    ("lines", "path", "sent"),
    [
        ([b"a=1", b"a=2"], b"/", b"a=2"),
        ([b"a=1; Path=/x", b"a=2; Path=/"], b"/x/y", b"a=1; a=2"),
        ([b"a=1; path=/x"], b"/xy", None),
        ([b"a=1; path=/x"], b"/x", b"a=1"),
        ([b"a=1; path=x"], b"/", b"a=1"),
        ([b"a=1", b"a=; Max-Age=0"], b"/", None),
        ([b"a=1", b"a=; max-age=-5"], b"/", None),
        ([b"a=1; Max-Age=60"], b"/", b"a=1"),
        ([b"a=1", b"a=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], b"/", None),
        ([b"a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60"], b"/", b"a=1"),
        ([b"a=1; Expires=never"], b"/", b"a=1"),
        ([b"=1", b"a", b""], b"/", None),
        ([b"a=1=2; Secure; HttpOnly; Domain=app.test"], b"/", b"a=1=2"),
        ([b"a=" + b"x" * 20_000], b"/", None),
    ],
)
def test_cookies_are_kept_by_their_attributes(
    lines: list[bytes], path: bytes, sent: bytes | None
) -> None:
    """RFC 6265 5.2 to 5.4."""
    jar = CookieJar()
    jar.take_all([(b"Set-Cookie", line) for line in lines], NOW)
    head = jar.write(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path)
    assert values_of(head, b"cookie") == ([] if sent is None else [sent])


@pytest.mark.parametrize(
    "spelt",
    [
        b"my.sid=e",
        b"MY_SID=e",
        b"%6dy_sid=e",
        b" my_sid =e",
        b'"my_sid"=e',
        b"my sid=e",
        b"=my_sid=e",
        b"my_sid[a]=e",
        b"my_sid",
        b"a=b, my_sid=e",
        b"a=b,$Path=/,my_sid=e",
        b"my%5Fsid%00=e",
    ],
)
def test_a_browsers_cookie_does_not_pass_in_another_spelling(spelt: bytes) -> None:
    """Otherwise a cookie could be smuggled in a spelling that only the application accepts."""
    jar = CookieJar()
    jar.take(b"my_sid=1", NOW)
    lines = b"cookie: own=1;%b\r\ncookie: %b;x.y=2" % (spelt, spelt)
    head = jar.write(b"GET / HTTP/1.1\r\nhost: a\r\n%b\r\n\r\n" % lines)
    assert values_of(head, b"cookie") == [b"own=1; x.y=2; my_sid=1"]


# Settings


def faulty(form: dict[str, Any], **more: Any) -> tuple[str, str]:
    route = {"upstream": "http://a", "credentials": {"form": form}}
    with pytest.raises(InvalidSettings) as caught:
        settings_from({"routes": [route]} | more)
    (fault,) = caught.value.faults
    return fault.key, fault.message


@pytest.mark.parametrize(
    ("form", "key", "says"),
    [
        ({"fields": FORM["fields"]}, "url", "required"),
        ({"url": "/login"}, "fields", "required"),
        (FORM | {"url": "login"}, "url", "not a path"),
        (FORM | {"url": "//other/login"}, "url", "not a path"),
        (FORM | {"url": "/a b"}, "url", "in the form that clients send"),
        (FORM | {"fields": {}}, "fields", "mapping"),
        (FORM | {"fields": {"user": "{username}"}}, "fields", "no field contains the password"),
        (FORM | {"fields": {"a": "{password}", "b": "{token}"}}, "fields", "is not a placeholder"),
        (FORM | {"fields": {"a": "{password}\x00"}}, "fields", "control"),
        (FORM | {"success": {"status": [302, 404]}}, "status[1]", "399"),
        (FORM | {"success": {"status": []}}, "status", "empty"),
        (FORM | {"username": "app"}, "password_file", "required"),
        (FORM | {"password_file": "x"}, "username", "required"),
    ],
)
def test_wrong_forms_are_reported(form: dict[str, Any], key: str, says: str) -> None:
    found, message = faulty(form)
    assert found.endswith(key) and says in message


def test_several_workers_are_refused() -> None:
    key, message = faulty(FORM, workers=2)
    assert key.endswith("credentials.form") and "workers: 1" in message


def test_an_application_in_this_process_is_refused() -> None:
    route = {"credentials": {"form": FORM}}
    with pytest.raises(InvalidSettings, match="in this process"):
        settings_from({"in_process": True, "routes": [route]})
