"""A WebSocket whose session ends is closed with 4401 if its route says so: under every server, and
never in the middle of a frame."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from doorward.server.websocket_frames import FrameReader, write_close
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from wsproto.utilities import generate_accept_token

from tests.conftest import Start
from tests.support.live import Live
from tests.support.origin import Origin
from tests.support.servers import EVERY
from tests.support.waiting import PATIENCE_S, until
from tests.support.websocket import Application, serving
from tests.support.wire import Client, Wire, get, values_of

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
FAREWELL = b"\x88\x11" + (4401).to_bytes(2, "big") + b"unauthenticated"


# The reader of frames


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = False) -> bytes:
    length, mask = len(payload), 0x80 if masked else 0
    head = bytes([opcode | (0x80 if final else 0)])
    if length < 126:
        head += bytes([mask | length])
    elif length < 1 << 16:
        head += bytes([mask | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + length.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + payload


LENGTHS = st.one_of(
    st.integers(0, 300), st.sampled_from([125, 126, 127, 65_535, 65_536, 65_537, 70_000])
)
FRAMES = st.builds(
    lambda opcode, length, final, masked: frame(opcode, bytes(length), final=final, masked=masked),
    st.sampled_from([0, 1, 2, 9, 10]),
    LENGTHS,
    st.booleans(),
    st.booleans(),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(0, 200_000), max_size=12))
def test_a_reader_finds_frame_boundaries_in_any_split(frames: list[bytes], cuts: list[int]) -> None:
    stream, ends, at = b"".join(frames), {0}, 0
    for one in frames:
        at += len(one)
        ends.add(at)
    reader, begun = FrameReader(), 0
    for end in sorted({*cuts, len(stream)}):
        if end <= len(stream):
            reader.read(stream[begun:end])
            assert reader.is_between == (end in ends)
            begun = end


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_nothing_follows_a_close_frame(size: int) -> None:
    stream = frame(1, b"hello") + frame(8, b"\x03\xe8")
    reader = FrameReader()
    for at in range(0, len(stream), size):
        reader.read(stream[at : at + size])
    assert not reader.is_between
    reader.read(frame(1, b"too late"))
    reader.read(b"")
    assert FrameReader().is_between


def test_a_reader_keeps_no_more_than_the_beginning_of_a_header() -> None:
    reader = FrameReader()
    reader.read(b"\x82\x7f" + (1 << 40).to_bytes(8, "big"))
    for _ in range(100):
        reader.read(bytes(65536))
    assert not reader.is_between and reader._header == b""


def test_a_close_frame_says_code_and_reason() -> None:
    assert write_close(4401, "unauthenticated") == FAREWELL


# Under every server, with a library at both ends


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with serving() as application:
        yield application


@pytest.fixture(scope="module", params=EVERY)
def live(deploy: Start, application: Application, request: pytest.FixtureRequest) -> Live:
    route = {
        "upstream": application.url,
        "close_websockets": True,
        "security_headers": {"nosniff": True, "frame": "deny", "csp": "default-src 'none'"},
        "session_expires": True,
    }
    rules = [{"path": "/staff/*", "groups": ["staff"]}]
    live = deploy("", routes=[route], server=request.param, access={"rules": rules})
    live.add_user("alice", "--group", "staff")
    live.add_user("bob", "--group", "staff")
    return live


def visit(live: Live, cookie: str, path: str = "/") -> ClientConnection:
    headers = {"Cookie": cookie.partition(": ")[2]}
    return connect(
        f"ws://{live.host}{path}",
        additional_headers=headers,
        proxy=None,
        open_timeout=PATIENCE_S,
    )


def test_a_session_that_ends_closes_its_websockets_with_4401(
    live: Live, application: Application
) -> None:
    cookie = live.login("alice")
    ended = len(application.ends)
    with visit(live, cookie) as socket:
        socket.send("here")
        assert socket.recv(PATIENCE_S) == "here"
        live.command("session", "revoke-all", "alice")
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE_S)
    assert (socket.close_code, socket.close_reason) == (4401, "unauthenticated")
    until(lambda: application.ends[ended:])
    assert application.ends[ended][0] != 4401, "what it is told is not the application's to hear"


def test_a_websocket_that_lost_access_is_closed_with_4403(live: Live) -> None:
    with visit(live, live.login("bob"), "/staff/x") as socket:
        socket.send("here")
        assert socket.recv(PATIENCE_S) == "here"
        live.command("user", "edit", "bob", "--remove-group", "staff")
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE_S)
    assert (socket.close_code, socket.close_reason) == (4403, "forbidden")


def test_the_handshake_is_not_changed(live: Live) -> None:
    with visit(live, live.login("alice")) as socket:
        assert socket.response is not None
        names = {name.lower() for name, _ in socket.response.headers.raw_items()}
    assert not names & {
        "x-content-type-options",
        "x-frame-options",
        "content-security-policy",
        "x-doorward-session-expires-in",
    }


# Doorward's own server, over sockets


def switching(after: bytes, and_then: Any = None) -> Any:
    """An application that sends these bytes of a WebSocket's stream and then reads."""

    def script(wire: Wire) -> None:
        (key,) = values_of(wire.head(), b"sec-websocket-key")
        lines = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
        wire.send(b"HTTP/1.1 101 X\r\n" + lines + generate_accept_token(key) + b"\r\n\r\n" + after)
        if and_then is not None:
            and_then(wire)
        wire.rest()

    return script


@contextlib.contextmanager
def joined(live: Live, cookie: str, protocol: str = "websocket") -> Iterator[Client]:
    lines = ["Connection: Upgrade", f"Upgrade: {protocol}", "Sec-WebSocket-Version: 13"]
    with live.client() as client:
        request = get("/", cookie, *lines, f"Sec-WebSocket-Key: {KEY}", host=live.host)
        client.send(request)
        assert client.head().startswith(b"HTTP/1.1 101 ")
        yield client


def rest(client: Client) -> bytes:
    """Everything received until the end, or until the connection is reset."""
    kept = b""
    client.sock.settimeout(PATIENCE_S)
    with contextlib.suppress(ConnectionResetError):
        while data := client.sock.recv(1 << 16):
            kept += data
    return kept


HALF = frame(1, b"hello")[:-2]
SENT = {
    # What the application has sent when the session ends, and whether the client gets the reason.
    "nothing": (b"", True),
    "frames": (frame(1, b"hello") + frame(2, bytes(70_000)), True),
    "fragment": (frame(1, b"hel", final=False), True),
    "half a payload": (frame(1, b"first") + HALF, False),
    "half a header": (frame(2, b"first") + b"\x82", False),
    "half a length": (b"\x82\x7e\x01", False),
    "a close frame": (frame(8, b"\x03\xe8"), False),
}


@pytest.mark.parametrize(("sent", "tells"), SENT.values(), ids=SENT)
def test_a_close_frame_is_never_put_into_another(deploy: Start, sent: bytes, tells: bool) -> None:
    with Origin((switching(sent),)) as origin:
        live = deploy("", routes=[{"upstream": origin.url, "close_websockets": True}])
        live.add_user("alice")
        with joined(live, live.login("alice")) as client:
            assert client.read(len(sent)) == sent
            live.command("session", "revoke-all", "alice")
            assert rest(client) == (FAREWELL if tells else b"")


def test_a_client_that_keeps_sending_gets_the_close_frame(deploy: Start) -> None:
    """Unread bytes would make the system reset the connection and discard the close frame."""
    with Origin((switching(b"", lambda wire: wire.rest()),)) as origin:
        live = deploy("", routes=[{"upstream": origin.url, "close_websockets": True}])
        live.add_user("alice")
        over = threading.Event()

        def talk() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    client.send(frame(2, bytes(1000), masked=True))
                    time.sleep(0.001)  # like a person who types

        with joined(live, live.login("alice")) as client:
            talker = threading.Thread(target=talk)
            talker.start()
            live.command("session", "revoke-all", "alice")
            heard = rest(client)
            over.set()
            talker.join()
    assert heard == FAREWELL


def test_a_client_that_does_not_read_is_cut_off_all_the_same(deploy: Start) -> None:
    def flood(wire: Wire) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire.send(frame(2, bytes(1 << 16)))

    with Origin((switching(b"", flood),)) as origin:
        live = deploy("", routes=[{"upstream": origin.url, "close_websockets": True}])
        live.add_user("alice")
        with joined(live, live.login("alice")) as client:
            live.command("session", "revoke-all", "alice")
            until(origin.is_done, "for the upstream's connection to end")
            assert client.sock.fileno() >= 0


@pytest.mark.parametrize("case", ["off", "another protocol"])
def test_tunnels_that_are_no_websockets_are_cut(deploy: Start, case: str) -> None:
    def other(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n")
        wire.rest()

    script, protocol = (switching(b""), "websocket") if case == "off" else (other, "echo/1")
    with Origin((script,)) as origin:
        route = {"upstream": origin.url, "close_websockets": case != "off"}
        live = deploy("", routes=[route])
        live.add_user("alice")
        with joined(live, live.login("alice"), protocol) as client:
            live.command("session", "revoke-all", "alice")
            assert rest(client) == b""


def test_a_stop_still_closes_at_once(deploy: Start) -> None:
    with Origin((switching(b""),)) as origin:
        live = deploy("", routes=[{"upstream": origin.url, "close_websockets": True}])
        live.add_user("alice")
        with joined(live, live.login("alice")) as client:
            began = time.monotonic()
            assert live.stop() == 0
            assert time.monotonic() - began < 8.0
            assert rest(client) == b""
