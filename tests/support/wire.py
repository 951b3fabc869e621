"""Connections with raw bytes, and a client that reads answers according to their framing.

It parses no more of HTTP than tests need, so that it corrects nothing. Every wait has a timeout.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import PATIENCE_S

Place = tuple[str, int] | Path
Header = tuple[bytes, bytes]


class Wire:
    """One end of a connection. Received data are read piece by piece, and all of them are kept in
    `seen`."""

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
        """Exactly `size` bytes, or fewer if the other side closes before."""
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
        """Read and record the head of a message; empty if the other side has closed."""
        head = self.until(b"\r\n\r\n")
        if head:
            self.heads.append(head)
        return head

    def is_closed(self) -> bool:
        """Whether the other side closes without another byte; waits for it."""
        try:
            return self.rest() == b""
        except TimeoutError:
            return False

    def is_silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing is received for a moment, which only waiting can show."""
        self.sock.settimeout(seconds)
        try:
            self._more()
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE_S)

    def end(self) -> None:
        """Stop sending and reading, also in another thread that is waiting here."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close so that the other side gets an error instead of an end."""
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
    """`whole` is false if the body was cut."""

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
    """A client that sends the given bytes and reads answers according to their framing."""

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
    """A GET as bytes; `lines` are complete header lines."""
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode(
        "latin-1"
    )


def read_body(wire: Wire, head: bytes) -> bytes:
    """The body of a request with this head, including its chunk framing."""
    if values_of(head, b"transfer-encoding"):
        return wire.until(b"0\r\n\r\n")
    return wire.read(int((values_of(head, b"content-length") or [b"0"])[0]))
