"""An upstream that follows scripts, with one thread per connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import PATIENCE_S, until
from tests.support.wire import Place, Wire, read_body

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Script = Callable[[Wire], object]


def answering(*answers: bytes) -> Script:
    """Reads complete requests and sends these answers, then repeats the last one."""

    def script(wire: Wire) -> None:
        for number in range(10_000):
            head = wire.head()
            if not head:
                return
            read_body(wire, head)
            wire.send(answers[min(number, len(answers) - 1)])

    return script


def silent(wire: Wire) -> None:
    """Reads everything and never answers."""
    wire.head()
    wire.rest()


@dataclass
class Origin:
    """An upstream: its nth connection plays the nth script, later ones the last.

    `wires` are its connections, `heads` the request heads that scripts read, in their order.
    """

    scripts: tuple[Script, ...]
    path: Path | None = None
    port: int = 0  # any free port
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
        faults = list(self.faults)  # interrupts scripts that are still reading
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
        """The nth connection; waits for it."""
        until(lambda: len(self.wires) > number, "for a connection")
        return self.wires[number]

    def is_done(self) -> bool:
        """Whether every script has ended."""
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
