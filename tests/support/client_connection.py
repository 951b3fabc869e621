"""A client's connection without a socket: the server's protocol on a transport in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from doorward.http1.turns import Turns
from doorward.server.protocol import Protocol


class Transport(asyncio.Transport):
    """Accepts all data at once, without buffering; raises where a socket's transport does."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = self.is_ended = False
        self.is_paused = False

    def write(self, data: Any) -> None:
        if self.is_ended:
            raise RuntimeError("write() after write_eof()")

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_ended = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Connections(set[Protocol]):
    def __init__(self) -> None:
        super().__init__()
        self.tasks: set[asyncio.Task[None]] = set()
        self.turns = Turns()

    def discard(self, connection: object) -> None: ...
