"""The far side, played: a clock, an origin that follows a script, a client of raw bytes, ASGI.

Nothing here parses more of HTTP than a test has to see, so nothing is put right on the way.
Every wait is bounded.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE_S = 45.0  # however busy the machine is: what takes longer than this never comes
CORPORA = Path(__file__).parent / "corpora"

Place = tuple[str, int] | Path
Header = tuple[bytes, bytes]


@dataclass
class FixedClock:
    now: float = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


def corpus(name: str) -> list[bytes]:
    """The attacks in a file, one a line; `\\r \\n \\xHH` stand for bytes, `## ` opens a comment."""
    lines = (CORPORA / name).read_text(encoding="ascii").splitlines()
    attacks = [line for line in lines if line and not line.startswith("## ")]
    return [line.encode().decode("unicode_escape").encode("latin-1") for line in attacks]


def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait for another thread or process to get there; fail when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.005)


class Wire:
    """One end of a connection. What is received is read piece by piece and kept whole in `seen`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_S)
        self.sock = sock
        self.seen = bytearray()
        self.heads: list[bytes] = []
        self._at = 0

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _more(self) -> bool:
        data = self.sock.recv(1 << 16)
        self.seen += data
        return bool(data)

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer when the other side closed before."""
        while len(self.seen) - self._at < size and self._more():
            pass
        return self._advance(min(len(self.seen), self._at + size))

    def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`, or up to the close."""
        while (found := self.seen.find(end, self._at)) < 0:
            if not self._more():
                return self._advance(len(self.seen))
        return self._advance(found + len(end))

    def rest(self) -> bytes:
        """Everything until the other side closes or resets."""
        with contextlib.suppress(ConnectionResetError):
            while self._more():
                pass
        return self._advance(len(self.seen))

    def _advance(self, to: int) -> bytes:
        data, self._at = bytes(self.seen[self._at : to]), to
        return data

    def head(self) -> bytes:
        """The head of a message, which is noted; nothing when the other side closed."""
        head = self.until(b"\r\n\r\n")
        if head:
            self.heads.append(head)
        return head

    def is_closed(self) -> bool:
        """Whether the other side closes without another byte; waits for it to do so."""
        try:
            return self.rest() == b""
        except TimeoutError:
            return False

    def is_silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes for a moment: the one thing that only waiting can show."""
        self.sock.settimeout(seconds)
        try:
            self._more()
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE_S)

    def end(self) -> None:
        """Say and read nothing more: for a thread that waits here too."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close so that the other side sees an error and not an end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def lines_of(head: bytes) -> list[Header]:
    """The header lines of a head as pairs, names in lower case."""
    pairs = [line.partition(b":") for line in head.split(b"\r\n")[1:] if line]
    return [(name.lower(), value.strip()) for name, _, value in pairs]


def values_of(head: bytes, name: bytes) -> list[bytes]:
    return [value for line, value in lines_of(head) if line == name]


@dataclass
class Answer:
    """`whole` is false for a body that was cut."""

    head: bytes
    body: bytes
    whole: bool = True
    trailers: list[Header] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1]) if self.head else 0

    def values(self, name: bytes) -> list[bytes]:
        return values_of(self.head, name)


class Client(Wire):
    """A client that sends the bytes it is told and reads answers as they are framed."""

    def __init__(
        self,
        place: Place,
        receive_buffer: int | None = None,
        tls: ssl.SSLContext | None = None,
        source: str | None = None,
        tls_name: str = "127.0.0.1",
    ) -> None:
        """`source`: the address to come from, any of 127.0.0.0/8; `tls_name`: the name that the
        server's certificate has to bear."""
        family = socket.AF_UNIX if isinstance(place, Path) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE_S)
        super().__init__(sock)
        try:
            if source is not None:
                sock.bind((source, 0))
            sock.connect(str(place) if isinstance(place, Path) else place)
            if tls is not None:
                self.sock = tls.wrap_socket(sock, server_hostname=tls_name)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.answer(bodiless=request.startswith(b"HEAD "))

    def get(self, target: str = "/", *lines: str, host: str = "app.test") -> Answer:
        return self.ask(get(target, *lines, host=host))

    def answer(self, *, bodiless: bool = False) -> Answer:
        answer = Answer(self.head(), b"")
        if bodiless or answer.status in (204, 304) or answer.status < 200:
            return answer
        lengths = answer.values(b"content-length")
        if answer.values(b"transfer-encoding") == [b"chunked"]:
            self._read_chunks(answer)
        elif lengths:
            answer.body = self.read(int(lengths[0]))
            answer.whole = len(answer.body) == int(lengths[0])
        else:
            answer.body = self.rest()
        return answer

    def _read_chunks(self, answer: Answer) -> None:
        while (line := self.until(b"\r\n")).endswith(b"\r\n"):
            size = int(line, 16)
            if size == 0:
                while (trailer := self.until(b"\r\n")) not in (b"\r\n", b""):
                    answer.trailers += lines_of(b"\r\n" + trailer)
                return
            answer.body += self.read(size + 2)[:size]
        answer.whole = False


def get(target: str = "/", *lines: str, host: str = "app.test") -> bytes:
    """A GET as bytes; `lines` are whole header lines."""
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode(
        "latin-1"
    )


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[Wire], None]


def answering(*answers: bytes) -> Script:
    """Reads whole requests and gives these answers, the last one again and again."""

    def script(wire: Wire) -> None:
        for number in range(10_000):
            head = wire.head()
            if not head:
                return
            read_body(wire, head)
            wire.send(answers[min(number, len(answers) - 1)])

    return script


def silent(wire: Wire) -> None:
    """Takes a request and whatever follows, and never answers."""
    wire.head()
    wire.rest()


def read_body(wire: Wire, head: bytes) -> bytes:
    """The body of a request with this head, still in chunks when it came so."""
    if values_of(head, b"transfer-encoding"):
        return wire.until(b"0\r\n\r\n")
    return wire.read(int((values_of(head, b"content-length") or [b"0"])[0]))


@dataclass
class Origin:
    """An upstream: its nth connection plays the nth script, later ones the last.

    `wires` are its connections, `heads` the request heads that scripts read, in their order.
    """

    scripts: tuple[Script, ...]
    path: Path | None = None
    port: int = 0  # any that is free
    wires: list[Wire] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    _plays: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Origin:
        family = socket.AF_UNIX if self.path else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(str(self.path) if self.path else ("127.0.0.1", self.port))
        self._listener.listen(64)
        self._reception = threading.Thread(target=self._accept, daemon=True)
        self._reception.start()
        return self

    def __exit__(self, kind: object, *failure: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._reception.join(PATIENCE_S)
        self._listener.close()
        faults = list(self.faults)  # whoever still reads is interrupted, and says nothing by that
        for wire in self.wires:
            wire.end()
        for play in self._plays:
            play.join(PATIENCE_S)
        for wire in self.wires:
            wire.close()
        assert kind or not faults, faults

    @property
    def place(self) -> Place:
        return self.path or self._listener.getsockname()

    @property
    def url(self) -> str:
        place = self.place
        return f"unix:{place}" if isinstance(place, Path) else f"http://{place[0]}:{place[1]}"

    def wire(self, number: int = 0) -> Wire:
        """The nth connection, once it is there."""
        until(lambda: len(self.wires) > number, "for a connection")
        return self.wires[number]

    def is_done(self) -> bool:
        """Whether every script has come to its end."""
        return bool(self._plays) and all(play.ident and not play.is_alive() for play in self._plays)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire = Wire(self._listener.accept()[0])
                wire.heads = self.heads
                script = self.scripts[min(len(self.wires), len(self.scripts) - 1)]
                self.wires.append(wire)
                play = threading.Thread(target=self._play, args=(script, wire), daemon=True)
                self._plays.append(play)
                play.start()

    def _play(self, script: Script, wire: Wire) -> None:
        try:
            script(wire)
        except OSError:
            pass  # the other side left, or the test is over
        except BaseException as fault:
            self.faults.append(fault)
        finally:
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_WR)


def scope(
    target: bytes | str = "/",
    headers: list[Header] | None = None,
    method: str = "GET",
    peer: str = "192.0.2.1",
) -> dict[str, Any]:
    """An ASGI scope with this very target in it, as another server than ours would make it."""
    raw = target.encode("latin-1") if isinstance(target, str) else target
    path, _, query = raw.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"app.test")] if headers is None else headers,
        "client": (peer, 50000) if peer else None,
        "server": ("127.0.0.1", 80),
    }


async def ask(app: Any, scope: dict[str, Any], *pieces: bytes) -> Answer:
    """What an ASGI application answers; `pieces` are the request's body."""
    todo = [
        {"type": "http.request", "body": piece, "more_body": at < len(pieces)}
        for at, piece in enumerate(pieces or (b"",), 1)
    ]
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if todo:
            return todo.pop(0)
        await _forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    start, *bodies = said
    lines = b"".join(b"%b: %b\r\n" % line for line in start["headers"])
    head = b"HTTP/1.1 %d \r\n%b\r\n" % (start["status"], lines)
    whole = bool(bodies) and not bodies[-1].get("more_body", False)
    return Answer(head, b"".join(message.get("body", b"") for message in bodies), whole)


async def _forever() -> None:
    import asyncio

    await asyncio.get_running_loop().create_future()
