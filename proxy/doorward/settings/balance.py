"""Knows the settings of a route with several upstreams, or with one that is overloaded or fails. It
must not know connections; the upstream part does."""

from __future__ import annotations

from typing import Annotated, Literal

from doorward.settings import values
from doorward.settings.faults import Wrong
from doorward.settings.fields import Duration, Parsed, Section, Unless, key, whole
from doorward.text import has_hidden


def checked_path(value: object) -> str:
    found = values.text(value)
    clean = found.isascii() and not has_hidden(found) and " " not in found
    if not found.startswith("/") or found.startswith("//") or not clean or "#" in found:
        raise Wrong(f"{values.quote(found)} is not a path", "write it as /health")
    return found


def _route_body(value: object) -> int | str:
    if value == "auto":
        return "auto"
    return "none" if values.is_off(value) else values.size(value)


_SIZE = {"type": "string", "pattern": r"^[0-9]+ ?(B|[KMGT]iB)?$"}
_WORDS = {"enum": ["auto", "none", "off", False]}
RouteBody = Annotated[
    int | Literal["auto", "none"],
    Parsed(_route_body, {"anyOf": [_SIZE, {"type": "integer"}, _WORDS]}),
]


class PoolSettings(Section):
    idle: Duration = key("55s", "How long an unused connection is kept open.")


class Concurrency(Section):
    requests: Annotated[Annotated[int, whole(1)] | None, Unless("none")] = key(
        "none", "Maximum number of concurrent requests to one upstream, per process, or none."
    )
    queue: Annotated[int, whole(0)] = key(100, "Maximum number of requests that wait in the queue.")
    wait: Duration = key("10s", "Time that a request may wait in the queue.")


class Failover(Section):
    failures: Annotated[int, whole(1)] = key(
        3, "Number of failures after which an upstream is not used."
    )
    within: Duration = key("10s", "Time within which failures count.")
    pause: Duration = key("10s", "How long the upstream is not used.")


class HealthCheck(Section):
    path: Annotated[str, Parsed(checked_path, {"type": "string", "pattern": "^/"})] = key(
        "/", "Path to request. A status below 400 means healthy."
    )
    interval: Duration = key("5s", "Time between two checks, in each process.")
    timeout: Duration = key("2s", "Time to wait for the answer.")
    failures: Annotated[int, whole(1)] = key(
        2, "Number of failed checks in a row after which an upstream is not used."
    )
