"""Knows the settings of a route with several upstreams, or with one that is busy or fails.
It must not know connections; the upstream part does."""

from __future__ import annotations

from typing import Annotated, Literal

from doorward.settings import values
from doorward.settings.faults import Wrong
from doorward.settings.fields import Duration, Parsed, Section, Unless, key, whole
from doorward.text import has_hidden


def _checked_path(value: object) -> str:
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
    idle: Duration = key(
        "55s", "How long an unused connection stays open; the upstream may ask for less."
    )


class Concurrency(Section):
    requests: Annotated[Annotated[int, whole(1)] | None, Unless("none")] = key(
        "none", "Most requests at a time for one upstream, in each process, or none."
    )
    queue: Annotated[int, whole(0)] = key(
        100, "How many more may wait in the queue; others are refused."
    )
    wait: Duration = key("10s", "How long a request may wait before it is refused.")


class Failover(Section):
    failures: Annotated[int, whole(1)] = key(
        3, "Number of failures after which an upstream is left out."
    )
    within: Duration = key("10s", "Time within which failures count.")
    pause: Duration = key("10s", "How long the upstream is left out.")


class HealthCheck(Section):
    path: Annotated[str, Parsed(_checked_path, {"type": "string", "pattern": "^/"})] = key(
        "/", "Path to request; an answer below 400 is healthy."
    )
    interval: Duration = key("5s", "How often each process checks.")
    timeout: Duration = key("2s", "How long an answer may take.")
    failures: Annotated[int, whole(1)] = key(
        2, "Bad answers in a row that take an upstream out; a good one brings it back."
    )
