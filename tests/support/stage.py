"""One running Doorward with many routes, so that every test has its own origin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.conftest import Start
from tests.support.live import Live, free_port
from tests.support.origin import Origin, Script
from tests.support.wire import Answer, Client, get

ROUTES = 60


@dataclass
class Act:
    """An origin, and the path prefix of its route."""

    live: Live
    origin: Origin
    prefix: str

    def request(self, *lines: str, method: str = "GET", path: str = "", body: bytes = b"") -> bytes:
        """A request for this origin; a body gets its Content-Length unless `lines` frame it."""
        framed = any(line.lower().startswith(("content-length", "transfer-")) for line in lines)
        length = () if framed or not body else (f"Content-Length: {len(body)}",)
        head = get(self.prefix + path, *lines, *length, host=self.live.host)
        return head.replace(b"GET ", method.encode() + b" ", 1) + body

    def ask(self, *lines: str, **more: Any) -> Answer:
        with self.live.client() as client:
            return client.ask(self.request(*lines, **more))

    def client(self, **options: Any) -> Client:
        return self.live.client(**options)


@dataclass
class Stage:
    live: Live
    ports: list[int]
    used: int = field(default=0)

    @contextmanager
    def playing(self, *scripts: Script) -> Iterator[Act]:
        """An origin that plays these scripts, one per connection."""
        number, self.used = self.used, self.used + 1
        with Origin(scripts, port=self.ports[number]) as origin:
            yield Act(self.live, origin, f"/r{number}")


def staged(deploy: Start, timeouts: dict[str, str] | None = None, **values: Any) -> Stage:
    """Doorward with public routes and these settings."""
    ports = [free_port() for _ in range(ROUTES)]
    routes = [
        {"path": f"/r{number}", "upstream": f"http://127.0.0.1:{port}"}
        | ({"timeouts": timeouts} if timeouts else {})
        for number, port in enumerate(ports)
    ]
    live = deploy("", routes=routes, access={"default": "public"}, **values)
    return Stage(live, ports)
