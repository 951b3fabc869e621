"""One running Doorward with many routes, so that every test has its own origin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.conftest import Start
from tests.support.live import Live, free_port
from tests.support.origin import Origin, Script
from tests.support.wire import Answer, Client, get

ROUTES = 60
HASTY_ROUTES = 20
PATIENT = {"connect": "1h", "response": "1h", "idle": "1h"}


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
    free: dict[str, int]  # prefixes of paths and the ports behind them
    hasty: dict[str, int]

    @contextmanager
    def playing(self, *scripts: Script, hasty: bool = False) -> Iterator[Act]:
        """An origin that plays these scripts, one per connection. `hasty`: over a route with short
        timeouts, for scripts in which one of them ends an exchange."""
        prefix, port = (self.hasty if hasty else self.free).popitem()
        with Origin(scripts, port=port) as origin:
            yield Act(self.live, origin, prefix)


def staged(deploy: Start, hasty: dict[str, str] | None = None, **values: Any) -> Stage:
    """Doorward with public routes and these settings. The timeouts of routes are longer than a test
    waits, except for some with the timeouts `hasty`."""
    free = {f"/r{number}": free_port() for number in range(ROUTES)}
    short = {f"/h{number}": free_port() for number in range(HASTY_ROUTES if hasty else 0)}
    routes = [
        {"path": prefix, "upstream": f"http://127.0.0.1:{port}", "timeouts": timeouts}
        for group, timeouts in ((free, PATIENT), (short, hasty))
        for prefix, port in group.items()
    ]
    live = deploy("", routes=routes, access={"default": "public"}, **values)
    return Stage(live, free, short)
