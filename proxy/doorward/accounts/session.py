"""One session as values: who opened it, where, until when, and when it is over.

It knows no storage, and only the token that a new session is handed out with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal

from doorward.accounts import devices
from doorward.accounts.user import User

PENDING_S = 300.0  # from the password to the code
PROOF_S = 300.0  # for how long a password or code proves that the user is there
CLOCKS_DIFFER_S = 60.0  # between hosts; a use further ahead was noted by a clock that was wrong


class Level(StrEnum):
    """How much a session opens. Storage and answers have the value; code compares by identity."""

    FULL = "full"
    PENDING = "pending"  # the second factor is due: it opens its own endpoint and logout
    TOKEN = "token"  # noqa: S105 - a program's: opens applications, none of Doorward's own paths

    @classmethod
    def _missing_(cls, value: object) -> Level:
        """A level that this version does not know opens no more than the least one."""
        return cls.PENDING


# Globals for the hot path: an attribute of an Enum costs 0.1 µs more on Python 3.11.
FULL: Final[Literal[Level.FULL]] = Level.FULL
PENDING: Final[Literal[Level.PENDING]] = Level.PENDING
TOKEN: Final[Literal[Level.TOKEN]] = Level.TOKEN


def is_fresh(at: float | None, now: float, within_s: float = PROOF_S) -> bool:
    """Whether that was less than `within_s` ago; None is never, as is a time to come."""
    return at is not None and 0 <= now - at < within_s


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who asked, as the gate saw it."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a session lives, in seconds; None is without end. Remembered ones may idle."""

    idle_timeout_s: float | None
    lifetime_s: float
    remember_lifetime_s: float
    max_lifetime_s: float | None

    def idle_s(self, remember: bool) -> float | None:
        return None if remember else self.idle_timeout_s

    def whole_s(self, remember: bool) -> float:
        life = self.remember_lifetime_s if remember else self.lifetime_s
        return life if self.max_lifetime_s is None else min(life, self.max_lifetime_s)


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a client asks for. `kind` names the page or the dialect; `information` is free text."""

    kind: str
    lifetimes: Lifetimes
    remember: bool = False
    information: str = ""


@dataclass(frozen=True, slots=True)
class Authentication:
    """What the user of a new session has shown, and the level that this is worth. Times are Unix
    seconds; None is never."""

    level: Level = FULL
    method: str = "password"
    second_factor_at: float | None = None
    proved_at: float | None = None


@dataclass(frozen=True, slots=True)
class TokenScope:
    """What narrows an API token; an empty list narrows nothing. Routes are paths, optionally with a
    host in front. With `admin` (read or write) the token opens the administration API and nothing
    else."""

    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    admin: str | None = None


EVERYTHING: Final = TokenScope()


@dataclass(slots=True, eq=False)
class Session:
    """One login. Times are Unix seconds; `last_used_at` moves, hence not frozen.

    `proved_at` is when a password or code of its user was last given in it: None is never.
    `renewals` counts the tokens that replaced one because of a change to the account.
    `derived` holds what a carrier computes once per session; storage never sees it. `stale`: no
    news of this session reach this copy any more; who still goes by it has to ask again. `scope`
    is that of the token which a session of level TOKEN stands for.
    """

    number: int
    id: str
    user: User
    iat: int
    created_at: float
    last_used_at: float
    idle_timeout_s: float | None
    expires_at: float
    remember: bool
    address: str
    user_agent: str
    information: str
    kind: str
    level: Level
    second_factor_at: float | None = None
    method: str = "password"
    trusted_until: float | None = None
    trusted_fingerprint: str | None = None
    proved_at: float | None = None
    renewals: int = 0
    ended_at: float | None = None
    ended_by: str | None = None  # a word for why, or the id of the user who did
    derived: dict[object, object] = field(default_factory=dict)
    stale: bool = False
    scope: TokenScope | None = None

    def ends_at(self) -> float:
        """When it is over unless it is used before. A pending one has the full one's end stored,
        which counts from the moment it is full."""
        if self.level is PENDING:
            return min(self.expires_at, self.created_at + PENDING_S)
        if self.idle_timeout_s is None:
            return self.expires_at
        return min(self.expires_at, self.last_used_at + self.idle_timeout_s)

    @property
    def device(self) -> devices.Device:
        """What its User-Agent says. The first call of a process takes 120 ms."""
        return devices.parse_device(self.user_agent)

    @property
    def description(self) -> str:
        """The client's own words, else what its User-Agent comes to."""
        return self.information or devices.describe_agent(self.user_agent)

    def is_live(self, now: float) -> bool:
        """Neither ended nor past its end, its user usable. Asked at every use (CVE-2025-64708)."""
        return self.ended_at is None and now < self.ends_at() and self.user.is_usable

    def is_suspended(self, now: float) -> bool:
        """Whether it would be live, were its user not banned."""
        user = self.user
        return self.ended_at is None and now < self.ends_at() and user.active and user.banned


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session, and its token: the only time it is seen."""

    session: Session
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A session that continues where others end, and the token under which it does: storage writes
    it with the change itself, so that no copy of the old token outlives that."""

    session: Session
    token: str = field(repr=False)
    digest: bytes = field(repr=False)

    def opened(self, **changed: Any) -> Opened:
        """The session as it is once storage has written this."""
        renewals = self.session.renewals + 1
        return Opened(replace(self.session, renewals=renewals, derived={}, **changed), self.token)


@dataclass(frozen=True, slots=True)
class Found:
    """`known`: storage has this token, though the session may be ended, expired or suspended;
    `banned`: the last of these, until its user is unbanned."""

    session: Session | None
    known: bool
    banned: bool = False
