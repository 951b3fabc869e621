"""Applications with a login form, and Doorward in front of one."""

from __future__ import annotations

import threading
from typing import Any

from tests.support.front import Build, Front
from tests.support.wire import Wire, read_body

PASSWORD = "geheim&=ü +"


class FormApplication:
    """Answers requests with `reply`, one after another, over as many connections as there are."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.heads: list[bytes] = []

    def __call__(self, wire: Wire) -> None:
        while head := wire.head():
            body = read_body(wire, head)
            with self.lock:
                self.heads.append(head)
                answer = self.reply(head, body)
            wire.send(answer)

    def reply(self, head: bytes, body: bytes) -> bytes:
        raise NotImplementedError


async def open_front(fronts: Build, route: dict[str, Any], **settings: Any) -> Front:
    """Doorward with this route, where `alice` has an account of her own at the application."""
    front = await fronts(routes=[route], **settings)
    await front.opened()
    await front.give_account("alice", PASSWORD, route=route.get("path", "/"))
    return front
