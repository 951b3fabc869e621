"""Doorward around an application in the same process, from the view of a server and a client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts.sessions.sessions import Opened
from doorward.middleware import Doorward
from doorward.relay.outbox import AnswerCut
from doorward.settings import InvalidSettings, settings_from, settings_in_process
from doorward.wiring.accounts import Accounts, build_accounts

from tests.support.asgi import scope
from tests.support.corpora import corpus
from tests.support.front import Front
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Header

Message = dict[str, Any]
HOST: list[Header] = [(b"host", b"app.test")]
ACCESS = {"rules": [{"path": "/public/*", "require": "public"}]}


class Inner:
    """The application: records requests, and answers according to `script`."""

    def __init__(self) -> None:
        self.scopes: list[Message] = []
        self.received: list[Message] = []
        self.life: list[str] = []
        self.after = asyncio.Event()
        self.headers: list[Header] = []
        self.body = b"ok"
        self.script: Callable[[Any, Any, Any], Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                self.life.append(message["type"])
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        self.scopes.append(scope)
        if self.script is not None:
            await self.script(scope, receive, send)
            return
        while True:
            message = await receive()
            self.received.append(message)
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})
        self.after.set()


class House:
    """Doorward around an application, started, and the core opened like in another process."""

    def __init__(self, inner: Inner, accounts: Accounts, app: Doorward) -> None:
        self.inner, self.accounts, self.app = inner, accounts, app

    async def opened(self, **more: Any) -> tuple[Opened, Header]:
        front = Front(self.app._gate, self.accounts, None, time.time)  # type: ignore[arg-type]
        opened = await front.opened(**more)
        return opened, front.cookie(opened)

    async def ask(self, target: str = "/", *lines: Header, **more: Any) -> Conversation:
        talk = Conversation(scope(target, [*HOST, *lines], **more))
        await asyncio.wait_for(self.app(talk.scope, talk.receive, talk.send), PATIENCE_S)  # type: ignore[arg-type]
        return talk


class Conversation:
    def __init__(self, scope: Message, *messages: Message) -> None:
        self.scope = scope
        self.messages = list(messages) or [{"type": "http.request", "body": b""}]
        self.said: list[Message] = []
        self.more = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> Message:
        while not self.messages:
            self.more.clear()
            await self.more.wait()
        return self.messages.pop(0)

    def say(self, message: Message) -> None:
        self.messages.append(message)
        self.more.set()

    async def send(self, message: Message) -> None:
        self.said.append(message)
        await self.takes.wait()

    @property
    def status(self) -> int:
        return int(self.said[0]["status"])

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.said[0]["headers"] if key.lower() == name]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.005)  # polls


VALUES = {"public_url": "http://app.test", "access": ACCESS}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    settings = settings_in_process(VALUES | {"data_dir": str(tmp_path)}, tmp_path)
    inner = Inner()
    app = Doorward(inner, settings)
    async with app._gate, build_accounts(settings, time.time) as accounts:
        yield House(inner, accounts, app)


def headers_of(scope: Message, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


# Access, and what the application gets


async def test_no_request_reaches_the_application_unless_a_rule_allows_it(house: House) -> None:
    assert (await house.ask("/")).status == 401
    assert (await house.ask("/.doorward/unknown")).status == 404
    assert (await house.ask("/public/../x")).status == 400
    assert house.inner.scopes == []
    talk = await house.ask("/public/x")
    assert talk.status == 200
    assert house.inner.scopes[-1]["state"]["doorward"] is None
    assert (await house.ask("/.doorward/login")).status == 200


async def test_the_identity_is_in_headers_and_state(house: House) -> None:
    forged = [(name.lower(), b"forged") for name in corpus("identity_headers.txt")]
    opened, cookie = await house.opened()
    talk = await house.ask("/a%2Fb?c=d", cookie, *forged, (b"cookie", b"own=1"))
    assert talk.status == 200
    scope = house.inner.scopes[-1]
    assert b"forged" not in [value for _, value in scope["headers"]]
    assert headers_of(scope, b"remote-user") == [b"alice"]
    assert headers_of(scope, b"cookie") == [b"own=1"]
    assert headers_of(scope, b"host") == [b"app.test"]
    assert (scope["raw_path"], scope["path"]) == (b"/a%2Fb", "/a/b")
    assert scope["query_string"] == b"c=d"
    identity = scope["state"]["doorward"]
    assert (identity.username, identity.session_id) == ("alice", opened.session.id)
    assert identity.groups == ()
    with pytest.raises(FrozenInstanceError):
        identity.username = "root"
    assert opened.token not in repr(scope)


async def test_a_client_cannot_set_the_identity_in_state(house: House) -> None:
    talk = Conversation(scope("/public/x", HOST) | {"state": {"doorward": "root"}})
    await house.app(talk.scope, talk.receive, talk.send)  # type: ignore[arg-type]
    assert house.inner.scopes[-1]["state"]["doorward"] is None


async def test_the_application_gets_the_forwarded_client_and_scheme(tmp_path: Path) -> None:
    values = VALUES | {"data_dir": str(tmp_path), "trusted_proxies": ["192.0.2.0/24"]}
    settings, inner = settings_in_process(values, tmp_path), Inner()
    app = Doorward(inner, settings)
    lines = [(b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https")]
    talk = Conversation(scope("/public/x", [*HOST, *lines]))
    async with app._gate:
        await app(talk.scope, talk.receive, talk.send)  # type: ignore[arg-type]
    assert inner.scopes[0]["client"] == ("198.51.100.7", 0)
    assert inner.scopes[0]["scheme"] == "https"


async def test_the_answer_is_private_and_cannot_set_doorwards_cookie(house: House) -> None:
    _, cookie = await house.opened()
    house.inner.headers = [
        (b"Set-Cookie", b"doorward=x"),
        (b"Set-Cookie", b"own=1"),
        (b"Cache-Control", b"public, max-age=60"),
        (b"Remote-User", b"root"),
    ]
    talk = await house.ask("/", cookie)
    assert talk.values(b"set-cookie") == [b"own=1"]
    assert talk.values(b"cache-control") == [b"private, max-age=60"]
    assert talk.values(b"remote-user") == []


# Streaming and ends


async def test_bodies_stream_both_ways(house: House) -> None:
    async def echo(scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    house.inner.script = echo
    lines = [*HOST, (b"transfer-encoding", b"chunked")]
    asked = scope("/public/x", lines, method="POST")
    talk = Conversation(asked, {"type": "http.request", "body": b"a", "more_body": True})
    running = asyncio.ensure_future(house.app(talk.scope, talk.receive, talk.send))  # type: ignore[arg-type]
    await talk.until(lambda: any(message.get("body") == b"a" for message in talk.said))
    talk.say({"type": "http.request", "body": b"b", "more_body": False})
    await asyncio.wait_for(running, PATIENCE_S)
    assert b"".join(message.get("body", b"") for message in talk.said) == b"ab"


async def test_work_after_the_answer_is_done(house: House) -> None:
    done: list[bool] = []

    async def script(scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        await asyncio.sleep(0.05)  # like an application that continues after its answer
        done.append(True)

    house.inner.script = script
    assert (await house.ask("/public/x")).status == 200
    assert done


async def test_an_exception_in_the_application_reaches_the_server(house: House) -> None:
    async def script(scope: Message, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    house.inner.script = script
    with pytest.raises(ZeroDivisionError):
        await house.ask("/public/x")


async def test_an_open_answer_is_cut_with_its_session(house: House) -> None:
    async def script(scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": True})
        await receive()
        await receive()

    house.inner.script = script
    opened, cookie = await house.opened()
    talk = Conversation(scope("/events", [*HOST, cookie]))
    running = asyncio.ensure_future(house.app(talk.scope, talk.receive, talk.send))  # type: ignore[arg-type]
    await talk.until(lambda: len(talk.said) == 2)
    await house.accounts.sessions.end(opened.session, time.time())
    with pytest.raises(AnswerCut):
        await asyncio.wait_for(running, PATIENCE_S)


def websocket(*lines: Header) -> Message:
    asked = scope("/socket", [*HOST, *lines]) | {"type": "websocket", "scheme": "ws"}
    del asked["method"]
    return asked | {"subprotocols": []}


async def chat(scope: Message, receive: Any, send: Any) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def test_a_websocket_passes_and_is_closed_with_its_session(house: House) -> None:
    house.inner.script = chat
    opened, cookie = await house.opened()
    talk = Conversation(websocket(cookie), {"type": "websocket.connect"})
    running = asyncio.ensure_future(house.app(talk.scope, talk.receive, talk.send))  # type: ignore[arg-type]
    await talk.until(lambda: talk.said)
    talk.say({"type": "websocket.receive", "text": "hello"})
    await talk.until(lambda: len(talk.said) == 2)
    assert talk.said[1]["text"] == "hello"
    assert house.inner.scopes[0]["scheme"] == "ws"
    assert house.inner.scopes[0]["state"]["doorward"].username == "alice"
    await house.accounts.sessions.end(opened.session, time.time())
    await asyncio.wait_for(running, PATIENCE_S)
    assert (talk.said[-1]["type"], talk.said[-1]["code"]) == ("websocket.close", 1008)


async def test_a_websocket_is_closed_with_a_reason_if_its_route_enables_it(tmp_path: Path) -> None:
    route = {"close_websockets": True, "session_expires": True}
    values = VALUES | {"data_dir": str(tmp_path), "routes": [route]}
    settings, inner = settings_in_process(values, tmp_path), Inner()
    inner.script = chat
    app = Doorward(inner, settings)
    async with app._gate, build_accounts(settings, time.time) as accounts:
        house = House(inner, accounts, app)
        opened, cookie = await house.opened()
        talk = Conversation(websocket(cookie), {"type": "websocket.connect"})
        running = asyncio.ensure_future(app(talk.scope, talk.receive, talk.send))  # type: ignore[arg-type]
        await talk.until(lambda: talk.said)
        assert talk.said[0]["headers"] == [(b"cache-control", b"private")]
        await accounts.sessions.end(opened.session, time.time())
        await asyncio.wait_for(running, PATIENCE_S)
    closed = {"type": "websocket.close", "code": 4401, "reason": "unauthenticated"}
    assert talk.said[-1] == closed


async def test_a_websocket_that_its_client_closes_ends_the_application(house: House) -> None:
    house.inner.script = chat
    _, cookie = await house.opened()
    closed = {"type": "websocket.disconnect", "code": 1000}
    talk = Conversation(websocket(cookie), {"type": "websocket.connect"}, closed)
    await asyncio.wait_for(house.app(talk.scope, talk.receive, talk.send), PATIENCE_S)  # type: ignore[arg-type]


@pytest.mark.parametrize("lines", [[], [(b"origin", b"https://evil.example")]])
async def test_a_websocket_without_a_session_or_of_another_site_is_refused(
    house: House, lines: list[Header]
) -> None:
    _, cookie = await house.opened()
    asked = websocket(*lines, *([cookie] if lines else []))
    talk = Conversation(asked, {"type": "websocket.connect"})
    await asyncio.wait_for(house.app(talk.scope, talk.receive, talk.send), PATIENCE_S)  # type: ignore[arg-type]
    assert [(each["type"], each.get("code")) for each in talk.said] == [("websocket.close", 1008)]
    assert house.inner.scopes == []


# Lifespan and settings


async def test_the_application_starts_after_and_stops_before_doorward(tmp_path: Path) -> None:
    inner = Inner()
    app = Doorward(inner, VALUES | {"data_dir": str(tmp_path)})
    talk = Conversation({"type": "lifespan", "state": {}}, {"type": "lifespan.startup"})
    running = asyncio.ensure_future(app(talk.scope, talk.receive, talk.send))  # type: ignore[arg-type]
    await talk.until(lambda: talk.said)
    assert app._gate.gateway is not None
    talk.say({"type": "lifespan.shutdown"})
    await asyncio.wait_for(running, PATIENCE_S)
    assert inner.life == ["lifespan.startup", "lifespan.shutdown"]
    kinds = [message["type"] for message in talk.said]
    assert kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert app._gate.gateway is None


async def test_an_application_without_lifespan_support_can_start(tmp_path: Path) -> None:
    async def inner(scope: Message, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    app = Doorward(inner, VALUES | {"data_dir": str(tmp_path)})  # type: ignore[arg-type]
    news = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    talk = Conversation({"type": "lifespan", "state": {}}, *news)
    await asyncio.wait_for(app(talk.scope, talk.receive, talk.send), PATIENCE_S)  # type: ignore[arg-type]
    kinds = [message["type"] for message in talk.said]
    assert kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_routes_in_process_name_no_upstream(tmp_path: Path) -> None:
    routes = [{"path": "/a"}, {"path": "/b", "identity": "off"}]
    assert len(settings_in_process({"routes": routes}, tmp_path).routes) == 2
    with pytest.raises(InvalidSettings, match="in this process"):
        settings_in_process({"routes": [{"upstream": "http://127.0.0.1:9"}]}, tmp_path)
    with pytest.raises(InvalidSettings, match="is required"):
        settings_from({"routes": routes}, tmp_path)
