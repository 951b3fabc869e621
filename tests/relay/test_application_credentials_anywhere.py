"""Credentials for the application, under Doorward's own server and under any other ASGI server."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.conftest import Start
from tests.support.live import Live
from tests.support.origin import OK, Origin, answering
from tests.support.servers import EVERY
from tests.support.waiting import PATIENCE_S
from tests.support.websocket import Application, serving
from tests.support.wire import Wire, values_of

BASIC = b"Basic " + base64.b64encode(b"app:secret")
PER_USER = {"per_user": "basic"}
FORGED = ("Authorization: Basic Zm9yZ2Vk", "AUTHORIZATION: Bearer forged")


def read_and_close(wire: Wire) -> None:
    """A kept connection that loses a race: it answers once, reads another request and closes."""
    wire.head()
    wire.send(OK)
    wire.head()


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with serving() as application:
        yield application


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((read_and_close, answering(OK))) as origin:
        yield origin


@pytest.fixture(scope="module", params=EVERY)
def live(
    deploy: Start,
    application: Application,
    origin: Origin,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Live:
    secret = tmp_path_factory.mktemp("secrets") / "app"
    secret.write_text("secret")
    secret.chmod(0o600)
    credentials = {"basic": {"username": "app", "password_file": str(secret)}}
    routes = [
        {"upstream": origin.url, "credentials": credentials},
        {"path": "/socket", "upstream": application.url, "credentials": credentials},
        {"path": "/mine", "upstream": origin.url, "credentials": PER_USER},
        {"path": "/socket/mine", "upstream": application.url, "credentials": PER_USER},
    ]
    access = {"rules": [{"path": "/public/*", "require": "public"}]}
    live = deploy(origin.url, server=request.param, routes=routes, access=access)
    live.add_user("alice")
    return live


@pytest.fixture(scope="module")
def cookie(live: Live) -> str:
    return live.login("alice")


def test_a_retried_request_has_the_credentials(live: Live, cookie: str, origin: Origin) -> None:
    for _ in range(3):
        assert live.get("/x", cookie, *FORGED).status == 200
        assert values_of(origin.heads[-1], b"authorization") == [BASIC]
        assert b"forged" not in origin.heads[-1] and b"Zm9yZ2Vk" not in origin.heads[-1]


def test_a_public_path_gets_no_credentials(live: Live, cookie: str, origin: Origin) -> None:
    for lines in ((), (cookie,)):
        assert live.get("/public/x", *lines, *FORGED).status == 200
        assert values_of(origin.heads[-1], b"authorization") == []


def test_a_websocket_handshake_has_the_credentials(
    live: Live, cookie: str, application: Application
) -> None:
    headers = {"Cookie": cookie.partition(": ")[2], "Authorization": "Basic Zm9yZ2Vk"}
    with connect(
        f"ws://{live.host}/socket", additional_headers=headers, proxy=None, open_timeout=PATIENCE_S
    ) as socket:
        socket.send("gruß")
        assert socket.recv(PATIENCE_S) == "gruß"
    sent = application.heads[-1].get_all("Authorization")
    assert sent == [BASIC.decode()]


def test_a_users_own_credentials_are_looked_up(
    live: Live, cookie: str, origin: Origin, application: Application
) -> None:
    for route in ("/mine", "/socket/mine"):
        words = "user", "credential", "set", "alice", route, "--password-stdin"
        assert live.command(*words, stdin="geheim\n").returncode == 0
    own = b"Basic " + base64.b64encode(b"alice:geheim")
    for _ in range(2):
        assert live.get("/mine/x", cookie, *FORGED).status == 200
        assert values_of(origin.heads[-1], b"authorization") == [own]
        headers = {"Cookie": cookie.partition(": ")[2]}
        url = f"ws://{live.host}/socket/mine"
        with connect(
            url, additional_headers=headers, proxy=None, open_timeout=PATIENCE_S
        ) as socket:
            socket.send("x")
            assert socket.recv(PATIENCE_S) == "x"  # so the application has recorded its head
        assert application.heads[-1].get_all("Authorization") == [own.decode()]
    assert "geheim" not in live.log.read_text() and own.decode() not in live.log.read_text()
