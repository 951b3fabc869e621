"""One session as values: its user, origin, lifetime and end.

It knows no storage, and only the token that a new session is issued with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal

from doorward.accounts import devices
from doorward.accounts.user import User

PENDING_S = 300.0  # from the password to the code
PROOF_S = 300.0  # how long a password or code proves that the user is present
# tolerated difference between hosts' clocks; a use further in the future came from a wrong clock
CLOCKS_DIFFER_S = 60.0


class Level(StrEnum):
    """How much a session opens. Storage and answers contain the value; code compares by
    identity."""

    FULL = "full"
    # a second factor is required: it opens only its own endpoint and the logout
    PENDING = "pending"
    TOKEN = "token"  # noqa: S105 - a program's: opens applications, none of Doorward's own paths

    @classmethod
    def _missing_(cls, value: object) -> Level:
        """A level that this version does not know opens no more than the lowest one."""
        return cls.PENDING


# Globals for the hot path: an attribute of an Enum costs 0.1 µs more on Python 3.11.
FULL: Final[Literal[Level.FULL]] = Level.FULL
PENDING: Final[Literal[Level.PENDING]] = Level.PENDING
TOKEN: Final[Literal[Level.TOKEN]] = Level.TOKEN


def is_fresh(at: float | None, now: float, within_s: float = PROOF_S) -> bool:
    """Whether that was less than `within_s` ago; None is not, and neither is a time in the
    future."""
    return at is not None and 0 <= now - at < within_s


def is_running(until: float | None, now: float, life_s: float) -> bool:
    """Whether something that lasts this long, and ends then, is valid now; None is not. What ends
    later than something new would, on a host whose clock differs a little, was begun by a clock
    that was ahead, and is over."""
    return until is not None and now < until <= now + life_s + CLOCKS_DIFFER_S


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The client, as the gate determined it."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Lifetimes of a session in seconds; None is unlimited. Remembered sessions have no idle
    timeout."""

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
    """The requested session. `kind` is the page or the dialect; `information` is free text."""

    kind: str
    lifetimes: Lifetimes
    remember: bool = False
    information: str = ""


@dataclass(frozen=True, slots=True)
class Authentication:
    """What the user of a new session has proved, and the resulting level. Times are Unix seconds;
    None is never."""

    level: Level = FULL
    method: str = "password"
    second_factor_at: float | None = None
    proved_at: float | None = None


@dataclass(frozen=True, slots=True)
class TokenScope:
    """The limits of an API token; an empty list is no limit. Routes are paths, optionally with a
    host in front. With `admin` (read or write) the token opens the administration API and nothing
    else."""

    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    admin: str | None = None


EVERYTHING: Final = TokenScope()


@dataclass(slots=True, eq=False)
class Session:
    """One login. Times are Unix seconds; `last_used_at` changes, so it is not frozen.

    `proved_at` is when its user last gave a password or code in it: None is never. `renewals`
    counts the tokens that were replaced because of a change to the account. `stale`: this copy gets
    no more updates from the feed, so holders have to look the session up again. `scope` is that of
    the token, for a session of level TOKEN.
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
    stale: bool = False
    scope: TokenScope | None = None
    _derived: dict[object, object] | None = field(default=None, init=False)

    @property
    def derived(self) -> dict[object, object]:
        """Values that a carrier computes once per session. They are never stored, and a changed
        copy has its own. What depends only on the user is in `User.derived`, so most sessions have
        no dictionary."""
        if self._derived is None:
            self._derived = {}
        return self._derived

    def ends_at(self) -> float:
        """When it ends unless it is used before. For a pending session, the end of the complete one
        is stored, which counts from the moment of completion."""
        if self.level is PENDING:
            return min(self.expires_at, self.created_at + PENDING_S)
        if self.idle_timeout_s is None:
            return self.expires_at
        return min(self.expires_at, self.last_used_at + self.idle_timeout_s)

    @property
    def device(self) -> devices.Device:
        """The device from its User-Agent. The first call of a process takes 120 ms."""
        return devices.parse_device(self.user_agent)

    @property
    def description(self) -> str:
        """The client's own description, else the device from its User-Agent."""
        return self.information or devices.describe_agent(self.user_agent)

    def is_live(self, now: float) -> bool:
        """Whether it has neither ended nor expired and its user is usable. Checked at every use
        (CVE-2025-64708)."""
        return self.ended_at is None and now < self.ends_at() and self.user.is_usable

    def is_suspended(self, now: float) -> bool:
        """Whether it would be live if its user were not banned."""
        user = self.user
        return self.ended_at is None and now < self.ends_at() and user.active and user.banned


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session and its token, which is available only here."""

    session: Session
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A session that continues while others end, with its new token. Storage writes it in the same
    transaction as the change, so that no copy of the old token stays valid."""

    session: Session
    token: str = field(repr=False)
    digest: bytes = field(repr=False)

    def opened(self, **changed: Any) -> Opened:
        """The session as it is after storage has written this."""
        renewals = self.session.renewals + 1
        return Opened(replace(self.session, renewals=renewals, **changed), self.token)


@dataclass(frozen=True, slots=True)
class Found:
    """`known`: storage has this token, though the session may be ended, expired or suspended;
    `banned`: suspended until its user is unbanned."""

    session: Session | None
    known: bool
    banned: bool = False
