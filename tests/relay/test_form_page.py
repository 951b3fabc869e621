"""The page of an application's login form: opened before each login, for the token in its hidden
fields and the cookies that belong to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

import pytest
from doorward.relay.form_login import REFUSED_FOR_S
from doorward.rewrite.form_credentials import RENEWED_AFTER_S
from doorward.rewrite.form_page import PAGE_BYTES, REDIRECTS_LIMIT
from doorward.rewrite.html_forms import TAGS_LIMIT
from doorward.settings import InvalidSettings, settings_from
from structlog.testing import capture_logs

from tests.conftest import Start
from tests.support.asgi import ask, scope
from tests.support.front import HOST, Build, Front
from tests.support.login_forms import PASSWORD, FormApplication, open_front
from tests.support.origin import Origin
from tests.support.servers import EVERY
from tests.support.wire import Wire, values_of

FORM: dict[str, Any] = {
    "url": "/login",
    "page": "/login",
    "fields": {"user": "{username}", "pass": "{password}", "go": "log in"},
}
# The search comes first on many pages; the other form has a password, too.
PAGE = (
    "<!DOCTYPE html><html><head><title>Shop</title></head><body>"
    '<form action="/search"><input type="hidden" name="scope" value="all"><input name="q"></form>'
    '<form method="post" action="/register"><input type=hidden name=token value=wrong>'
    "<input name=user><input type=password name=pass></form>"
    '<form method="post" action="/login"><input type="hidden" name="{name}" value="{token}">'
    '<INPUT TYPE=HIDDEN NAME=next VALUE="/a?b&amp;c=&#252;"><input name="user"/>'
    '<input type="password" name="pass"><input type="hidden" name="go" value="not this">'
    "<button>Log in</button></form></body></html>"
)


class Portal(FormApplication):
    """An application that takes its login form only with the token of the page, which has another
    name on each page and is good once, and the cookie that came with it."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: dict[str, tuple[str, str]] = {}  # name and value of the token, by session
        self.sessions: set[str] = set()
        self.posted: list[list[tuple[str, str]]] = []
        self.answers: dict[bytes, bytes] = {}  # in place of its own, by method and target
        self.number = 0

    def reply(self, head: bytes, body: bytes) -> bytes:
        line = head.split(b"\r\n")[0].removesuffix(b" HTTP/1.1")
        target = line.partition(b" ")[2].partition(b"?")[0]
        cookie = SimpleCookie(b"; ".join(values_of(head, b"cookie")).decode())
        session = cookie["sid"].value if "sid" in cookie else ""
        if line in self.answers:
            return self.answers[line]
        if line.startswith(b"GET ") and target == b"/login":
            return page_of(*self.open())
        if line == b"POST /login":
            return self.log_in(session, parse_qsl(body.decode(), keep_blank_values=True))
        if session not in self.sessions:
            return reply_of(b"302 Found", b"Location: /login?next=x\r\n")
        return reply_of(b"200 OK", b"", b"in: " + b"; ".join(values_of(head, b"cookie")))

    def open(self) -> tuple[str, str, str]:
        self.number += 1
        opened = f"before{self.number}"
        name, token = f"t{self.number}", f"value{self.number}&"
        self.opened[opened] = name, token
        return opened, name, token

    def log_in(self, opened: str, pairs: list[tuple[str, str]]) -> bytes:
        self.posted.append(pairs)
        wanted = self.opened.pop(opened, None)
        if wanted is None or pairs.count(wanted) != 1:
            return reply_of(b"403 Forbidden")
        if ("user", "alice") not in pairs or ("pass", PASSWORD) not in pairs:
            return page_of(*self.open())
        session = f"after{self.number}"
        self.sessions.add(session)
        return reply_of(b"302 Found", b"Location: /\r\nSet-Cookie: sid=%b\r\n" % session.encode())

    @property
    def lines(self) -> list[bytes]:
        return [head.split(b"\r\n")[0].removesuffix(b" HTTP/1.1") for head in self.heads]


def reply_of(status: bytes, lines: bytes = b"", body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 " + status + b"\r\n" + lines + length + b"\r\n" + body


def html(text: str, lines: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return reply_of(status, b"Content-Type: text/html; charset=utf-8\r\n" + lines, text.encode())


def page_of(session: str, name: str, token: str) -> bytes:
    """The token is escaped, as templates do."""
    cookies = f"Set-Cookie: sid={session}; Path=/; HttpOnly\r\nSet-Cookie: lang=de\r\n"
    text = PAGE.replace("{name}", name).replace("{token}", token.replace("&", "&amp;"))
    return html(text, cookies.encode())


@pytest.fixture
def portal() -> Iterator[Portal]:
    yield Portal()


@pytest.fixture
def application(portal: Portal) -> Iterator[Origin]:
    with Origin((portal,)) as origin:
        yield origin


async def opening(
    fronts: Build, application: Origin, route: dict[str, Any] | None = None, **form: Any
) -> Front:
    chosen: dict[str, Any] = {
        "upstream": application.url,
        "credentials": {"form": FORM | form},
    } | (route or {})
    return await open_front(fronts, chosen)


async def find_reason(front: Front, status: int = 502) -> str:
    """Why a request fails, by the log."""
    with capture_logs() as logs:
        answer = await front.get("/x", front.cookie(await front.opened()))
    assert answer.status == status, answer
    assert b"application_login_failed" in answer.body
    (line,) = [line for line in logs if line["event"] == "application_login_failed"]
    assert (line["route"], line["user"], line["log_level"]) == ("/", "alice", "warning")
    assert "geheim" not in str(logs)
    return str(line["reason"])


async def test_hidden_fields_and_cookies_of_the_page_are_sent_with_the_form(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    cookie = front.cookie(await front.opened())
    for _ in range(3):
        answer = await front.get("/x", cookie, (b"cookie", b"lang=en; own=1"))
        assert answer.body == b"in: own=1; lang=de; sid=after1"
        assert answer.values(b"set-cookie") == []
    assert portal.lines == [b"GET /login", b"POST /login", b"GET /x", b"GET /x", b"GET /x"]
    assert portal.posted == [
        [
            ("t1", "value1&"),
            ("next", "/a?b&c=ü"),
            ("user", "alice"),
            ("pass", PASSWORD),
            ("go", "log in"),
        ]
    ], "in the place of a field that is given, the page's is left out"


async def test_the_page_is_asked_for_and_the_form_sent_as_by_the_clients_browser(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    agent = (b"user-agent", b"Browser/1 (b\xc3\xa4r)")
    lines = (b"authorization", b"Basic eA=="), (b"x-own", b"1"), agent
    await front.get("/x", front.cookie(await front.opened()), *lines)
    for head in portal.heads[:2]:
        assert head.split(b"\r\n")[1:3] == [b"host: app.test", b"x-forwarded-for: 192.0.2.1"]
        assert values_of(head, b"user-agent") == [agent[1]]
        assert not values_of(head, b"authorization") and not values_of(head, b"x-own")
    page, form = portal.heads[:2]
    assert values_of(page, b"accept-encoding") == [b"identity"]
    assert not values_of(page, b"cookie") and not values_of(page, b"origin")
    assert values_of(form, b"origin") == [b"http://app.test"]
    assert values_of(form, b"referer") == [b"http://app.test/login"]
    assert values_of(form, b"cookie") == [b"sid=before1; lang=de"]


async def test_another_login_opens_the_page_again(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    portal.sessions.clear()
    front.clock.now += RENEWED_AFTER_S
    assert (await front.get("/y", cookie)).body == b"in: lang=de; sid=after2"
    assert portal.lines[3:] == [b"GET /y", b"GET /login", b"POST /login", b"GET /y"]
    assert (await front.get("/z", front.cookie(await front.opened()))).body.endswith(b"after3")


async def test_a_wrong_password_is_not_tried_again(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    await front.give_account("alice", "geheim, but wrong")
    assert await find_reason(front) == "its status is 200"
    with capture_logs() as logs:
        assert (await front.get("/x", front.cookie(await front.opened()))).status == 502
    assert portal.lines == [b"GET /login", b"POST /login"] and "lately" in str(logs)
    front.clock.now += REFUSED_FOR_S
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 502
    await front.give_account("alice", PASSWORD)
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 200


@pytest.mark.parametrize(("status", "is_tried"), [(419, True), (403, False), (422, False)])
async def test_an_expired_form_token_is_no_wrong_password(
    fronts: Build, application: Origin, portal: Portal, status: int, is_tried: bool
) -> None:
    """Where the status can only mean the token: an application must not lock the account."""
    front = await opening(fronts, application)
    portal.answers[b"POST /login"] = reply_of(b"%d X" % status)
    assert await find_reason(front) == f"its status is {status}"
    portal.answers.clear()
    again = await front.get("/x", front.cookie(await front.opened()))
    assert again.status == (200 if is_tried else 502)
    assert (portal.lines[2:4] == [b"GET /login", b"POST /login"]) is is_tried


async def test_without_a_page_the_log_suggests_setting_it(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    route = {"credentials": {"form": {name: FORM[name] for name in ("url", "fields")}}}
    front = await opening(fronts, application, route)
    assert await find_reason(front) == "its status is 403; if the form has hidden fields, set page"


# Which form, and where


async def test_the_page_and_the_form_can_have_different_paths(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    """Whoever is not logged in is sent to the page, not to the path that the form is posted to."""
    front = await opening(fronts, application, page="/start/here?a=b", url="/auth/check")
    text = (
        '<base href="/auth/"><form method=post action=check?x=1><input type=hidden name=a value=b>'
    )
    portal.answers = {
        b"GET /start/here?a=b": html(text + "<input name=pass></form>"),
        b"POST /auth/check": reply_of(b"302 X", b"Location: /start/here\r\nSet-Cookie: a=b\r\n"),
    }
    assert await find_reason(front) == "it redirects back to the form"
    assert values_of(portal.heads[1], b"referer") == [b"http://app.test/start/here?a=b"]
    assert portal.lines == [b"GET /start/here?a=b", b"POST /auth/check"]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("<form><input type=hidden name=a value=1></form>", [("a", "1")]),
        ("<form action=''><input type=hidden name=a value=1><input name=b></form>", [("a", "1")]),
        ("<form action=/other><input type=hidden name=a><input name=pass></form>", [("a", "")]),
        (
            "<form action=http://app.test/login#x><input type=hidden name=a value=1></form>"
            "<form action=/login><input type=hidden name=b value=2></form>",
            [("a", "1")],
        ),
        (
            "<form action=/login><input type=hidden name=b value=2></form>"
            "<form action=login><input type=hidden name=a value=1><input name=pass></form>",
            [("a", "1")],
        ),
        ("<form action=/login></form><input name=pass>", []),
        ("<form action=https://[/><input name=pass><input type=hidden name=a></form>", [("a", "")]),
    ],
)
async def test_the_form_is_the_one_that_leads_to_the_url_and_has_the_password(
    fronts: Build, application: Origin, portal: Portal, text: str, hidden: list[Any]
) -> None:
    front = await opening(fronts, application)
    portal.answers = {
        b"GET /login": html(text),
        b"POST /login": reply_of(b"302 X", b"Location: /\r\nSet-Cookie: sid=after\r\n"),
    }
    portal.sessions = {"after"}
    sent: list[bytes] = []
    reply = portal.reply

    def listen(head: bytes, body: bytes) -> bytes:
        sent.append(body)
        return reply(head, body)

    portal.reply = listen  # type: ignore[method-assign]
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 200
    assert parse_qsl(sent[1].decode(), keep_blank_values=True)[:-3] == hidden


async def test_a_form_is_sent_in_the_character_set_of_its_page(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    text = "<form action=login><input type=hidden name=a value='\xe4'><input name=pass></form>"
    kind = b"Content-Type: text/html;charset=ISO-8859-1\r\n"
    portal.answers[b"GET /login"] = reply_of(b"200 OK", kind, text.encode("latin-1"))
    bodies: list[bytes] = []
    reply = portal.reply
    portal.reply = lambda head, body: (bodies.append(body), reply(head, body))[1]  # type: ignore
    await front.get("/x", front.cookie(await front.opened()))
    assert bodies[1].startswith(b"a=%E4&user=alice&pass=geheim%26%3D%FC+%2B&")


async def test_an_application_below_a_path_is_asked_by_its_own_paths(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    """It sees neither the route's path nor anything but its own, and may name both."""
    route = {
        "path": "/shop",
        "upstream": application.url + "/app",
        "rewrite": {"strip_path": True, "host": "shop.internal"},
    }
    front = await opening(fronts, application, route, page="/start")
    moved = b"Location: http://shop.internal/app/de/login?x\r\n"
    text = "<form action=/app/login><input type=hidden name=a value=1><input name=pass></form>"
    portal.answers = {
        b"GET /app/start": reply_of(b"301 X", moved + b"Set-Cookie: early=1\r\n"),
        b"GET /app/de/login?x": html(text, b"Set-Cookie: late=2; Path=/app\r\n"),
        b"POST /app/login": reply_of(b"302 X", b"Location: /app/\r\nSet-Cookie: sid=in\r\n"),
    }
    portal.sessions = {"in"}
    assert (await front.get("/shop/x", front.cookie(await front.opened()))).status == 200
    form = portal.heads[2]
    assert values_of(form, b"host") == [b"shop.internal"]
    assert values_of(form, b"cookie") == [b"early=1; late=2"]
    assert values_of(form, b"referer") == [b"http://app.test/shop/de/login?x"]


async def test_a_page_may_redirect_to_a_path_that_is_not_encoded(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    portal.answers = {
        b"GET /login": reply_of(b"302 X", "Location: anmeldung/für?a#b\r\n".encode()),
        b"GET /anmeldung/f%C3%BCr?a": page_of("before0", "t", "v"),
    }
    portal.opened["before0"] = "t", "v"
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 200


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (b"https://sso.example.com/a?secret", "'https://sso.example.com/a'"),
        (b"//sso.example.com/a", "'//sso.example.com/a'"),
        (b"/\\sso.example.com", "sso.example.com'"),
        (b"http://app.test:81/login", "out of the application"),
        (b"https://app.test/login", "out of the application"),
        (b"http://[/", "out of the application"),
        (b"javascript:x", "out of the application"),
    ],
)
async def test_a_page_does_not_lead_to_another_application(
    fronts: Build, application: Origin, portal: Portal, location: bytes, reason: str
) -> None:
    front = await opening(fronts, application)
    portal.answers[b"GET /login"] = reply_of(b"302 X", b"Location: " + location + b"\r\n")
    found = await find_reason(front)
    assert found.startswith("its page /login redirects out of the application, to ")
    assert reason in found and "secret" not in found and portal.lines == [b"GET /login"]


async def test_a_page_that_redirects_to_itself_is_an_error(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    portal.answers[b"GET /login"] = reply_of(b"302 X", b"Location: ?\r\n")
    assert await find_reason(front) == "its page /login redirects again and again"
    assert len(portal.lines) == REDIRECTS_LIMIT + 1


async def test_the_target_of_a_login_may_have_the_path_of_the_form(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    """As in Roundcube, where both are `/` and the query says which."""
    front = await opening(
        fronts, application, page="/", url="/?task=login", success={"location": "/?task=mail"}
    )
    text = "<form action=./?task=login><input type=hidden name=a value=1><input name=pass></form>"
    led = b"Location: ./?task=mail&_token=x\r\nSet-Cookie: sid=in\r\n"
    portal.answers = {b"GET /": html(text), b"POST /?task=login": reply_of(b"302 X", led)}
    portal.sessions = {"in"}
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    portal.answers[b"GET /y"] = reply_of(b"302 X", b"Location: /?task=mail\r\n")
    front.clock.now += RENEWED_AFTER_S
    assert (await front.get("/y", cookie)).status == 302 and len(portal.lines) == 4
    portal.answers[b"GET /y"] = reply_of(b"302 X", b"Location: /?task=login\r\n")
    assert (await front.get("/y", cookie)).status == 302
    assert portal.lines[5:] == [b"GET /", b"POST /?task=login", b"GET /y"], "another login"


# What is no page with a form


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply_of(b"404 Not Found"), "its page /login answers 404"),
        (reply_of(b"302 X"), "its page /login answers 302"),
        (html("", status=b"500 X"), "its page /login answers 500"),
        (
            reply_of(b"200 OK", b"", b"<form>"),
            "its page /login is of an unknown type, not text/html",
        ),
        (
            reply_of(b"200 OK", b"Content-Type: Application/JSON\r\n", b"{}"),
            "its page /login is application/json, not text/html",
        ),
        (
            html("x", b"Content-Encoding: gzip\r\n"),
            "its page /login is compressed, which was not asked for",
        ),
        (
            html(f"{'x' * PAGE_BYTES}<form>"),
            "its page /login is longer than 512 KiB",
        ),
        (html("<" * (TAGS_LIMIT + 1)), "its page /login has too many tags"),
        (
            html("<form action=/search><input name=q></form>"),
            "its page /login has no form that leads to /login or has the field pass",
        ),
        (
            html("<!--<form action=/login>--><script>'<form action=/login>'</script>"),
            "its page /login has no form that leads to /login or has the field pass",
        ),
        (
            html("Who are you?", status=b"401 X"),
            "its page /login has no form that leads to /login or has the field pass",
        ),
    ],
)
async def test_the_error_of_a_page_is_in_the_log(
    fronts: Build, application: Origin, portal: Portal, answer: bytes, reason: str
) -> None:
    front = await opening(fronts, application)
    portal.answers[b"GET /login"] = answer
    assert await find_reason(front) == reason
    assert portal.lines == [b"GET /login"], "no password was sent"
    portal.answers.clear()
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 200, (
        "it says nothing of the account, which is tried again"
    )


@pytest.mark.parametrize(
    "lines", [b"Content-Length: 90000000\r\n", b"Transfer-Encoding: chunked\r\n"]
)
async def test_an_endless_page_is_read_up_to_the_limit(fronts: Build, lines: bytes) -> None:
    """Memory does not grow with it, and the connection is not used again."""
    heads: list[bytes] = []

    def script(wire: Wire) -> None:
        heads.append(wire.head())
        kind = b"Content-Type: text/html\r\n"
        wire.send(b"HTTP/1.1 200 OK\r\n" + kind + lines + b"\r\n")
        piece = b"x" * 65536
        while True:  # until the other side has closed
            wire.send(b"10000\r\n%b\r\n" % piece if b"chunked" in lines else piece)

    with Origin((script,)) as origin:
        front = await opening(fronts, origin)
        assert await find_reason(front) == "its page /login is longer than 512 KiB"
    assert len(heads) == 1


async def test_a_page_that_is_never_complete_times_out(fronts: Build) -> None:
    def script(wire: Wire) -> None:
        wire.head()
        kind = b"Content-Type: text/html\r\nContent-Length: 100000\r\n"
        wire.send(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n")
        while wire.is_silent(0.01):  # until the other side has closed
            wire.send(b"x")

    with Origin((script,)) as origin:
        timeouts = {"response": "200ms"}  # the page is never complete
        front = await opening(fronts, origin, {"timeouts": timeouts})
        with capture_logs() as logs:
            answer = await front.get("/x", front.cookie(await front.opened()))
        assert answer.status == 504
        assert "the login page /login was not complete in time" in str(logs)


async def test_an_unsafe_request_is_not_sent_twice(
    fronts: Build, application: Origin, portal: Portal
) -> None:
    front = await opening(fronts, application)
    cookie = front.cookie(await front.opened())
    lines = [*HOST, cookie, (b"content-length", b"3")]
    assert (await ask(front.app, scope("/y", lines, method="POST"), b"a=b")).status == 200
    portal.sessions.clear()
    front.clock.now += RENEWED_AFTER_S
    assert (await ask(front.app, scope("/y", lines, method="POST"), b"a=b")).status == 302
    assert portal.lines.count(b"POST /y") == 2
    assert (await front.get("/z", cookie)).status == 200


@pytest.mark.parametrize("server", EVERY)
def test_a_form_page_works_under_any_server(
    deploy: Start, application: Origin, portal: Portal, server: str
) -> None:
    route = {"upstream": application.url, "credentials": {"form": FORM}}
    live = deploy(application.url, server=server, routes=[route])
    live.add_user("alice")
    words = "user", "credential", "set", "alice", "/", "--password-stdin"
    assert live.command(*words, stdin=PASSWORD + "\n").returncode == 0
    cookie = live.login("alice")
    for _ in range(2):
        answer = live.get("/x", cookie, "Cookie: sid=forged")
        assert answer.status == 200 and answer.body == b"in: lang=de; sid=after1"
    assert len(portal.posted) == 1
    log = live.log.read_text()
    assert "geheim" not in log and not re.search(r"value\d|after\d", log)


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("login", "not a path"),
        ("https://a/login", "not a path"),
        ("//a/login", "not a path"),
        ("/login#x", "not a path"),
        ("/a b", "that clients send"),
        (True, "text"),
        (None, "is empty"),
    ],
)
def test_wrong_pages_are_reported(page: Any, says: str) -> None:
    route = {"upstream": "http://a", "credentials": {"form": FORM | {"page": page}}}
    with pytest.raises(InvalidSettings) as caught:
        settings_from({"routes": [route]})
    (fault,) = caught.value.faults
    assert fault.key.endswith("form.page") and says in f"{fault.message} {fault}"


def test_a_placeholder_for_the_token_leads_to_the_page() -> None:
    fields = {"pass": "{password}", "csrf": "{token}"}
    route = {"upstream": "http://a", "credentials": {"form": {"url": "/a", "fields": fields}}}
    with pytest.raises(InvalidSettings, match="set page"):
        settings_from({"routes": [route]})
