"""The cases of the benchmark: each is one kind of traffic, with its concurrency.

A table. It knows contestants only by name, and must not know how anything is measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, auto


class Load(Enum):
    DIFFERENT = auto()  # requests that differ like those of many people
    REPEATED = auto()  # identical requests
    UPLOAD = auto()  # 1 MiB with each
    MESSAGES = auto()  # WebSockets that echo
    EVENTS = auto()  # event streams


class Carrier(Enum):
    """The credential that identifies the user."""

    OWN = auto()  # the cookies that the proxy's login sets
    BEARER = auto()  # Doorward's token in Authorization
    TOKEN = auto()  # an API token in Authorization
    NOBODY = auto()
    FORGED = auto()


@dataclass(frozen=True, slots=True)
class Case:
    """`status`: the expected status of every answer. `body_bytes`: the minimum size of a correct
    answer's body. `only`: the contestants, if not all; "doorward" stands for every form of
    Doorward. `each`: the unit that is counted."""

    name: str
    what: str
    load: Load = Load.DIFFERENT
    path: str = "/"
    connections: int | None = None
    carrier: Carrier = Carrier.OWN
    status: int = 200
    body_bytes: int = 1024
    only: tuple[str, ...] = ()
    each: str = "request"
    logins_per_s: int = 0


MIB = 1 << 20


def refused(name: str, what: str, carrier: Carrier) -> Case:
    return Case(name, what, carrier=carrier, status=401, body_bytes=0, only=("doorward",))


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("different", "1 KiB, requests of 200 people in eight clients to 20,000 targets"),
        Case("bearer", "the same with Authorization: Bearer", carrier=Carrier.BEARER,
             only=("doorward",)),
        Case("token", "the same with an API token", carrier=Carrier.TOKEN,
             only=("doorward",)),
        Case("many", "the same over 500 connections", connections=500),
        refused("anonymous", "refused: nobody", Carrier.NOBODY),
        refused("forged", "refused: a forged cookie", Carrier.FORGED),
        Case("latency", "the same as `different`, two workers beside Go",
             only=("two", "go", "nginx")),
        Case("storm", "the same during 20 logins a second", only=("two",), logins_per_s=20),
        Case("large", "an answer of 1 MiB", Load.REPEATED, "/large", 16, body_bytes=MIB),
        Case("upload", "an upload of 1 MiB", Load.UPLOAD, "/upload", 16),
        Case("messages", "1 KiB to and fro through a WebSocket", Load.MESSAGES, "/echo", 32,
             each="message"),
        Case("events", "an event of 100 bytes to a listener", Load.EVENTS, "/events", 200,
             each="event"),
        Case("page", "1 KiB, the same request again and again", Load.REPEATED),
    )
}  # fmt: skip
MEMORY = "memory"  # a case that is measured in another way: see memory.py


def chosen(asked: Iterable[str], known: Collection[str]) -> list[str]:
    """The chosen names, given as `a,b` or as separate words, in the order of the known names.

    Raises ValueError for an unknown name.
    """
    names = {name.strip() for words in asked for name in words.split(",") if name.strip()}
    if unknown := names - set(known):
        raise ValueError(f"{', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    return [name for name in known if name in names]


def seed_of(case: Case, number: int, rounds: int) -> int:
    """A seed above 0 for a round, different from that of every other round of the run."""
    return 1 + number + rounds * list(CASES).index(case.name)
