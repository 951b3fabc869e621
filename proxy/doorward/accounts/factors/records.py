"""The stored form of a user's factors, and the interface to their storage.

Values and a Protocol; secrets are encrypted, codes are digests. It must not know how either is
made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.session import Renewal, is_running

TOTP = "totp"
EMAIL = "email"
RECOVERY = "recovery"
BROWSER = "browser"  # a remembered browser in place of a code; not a factor
CODE_S = 3600.0  # how long a code by e-mail is valid
PASSWORD = "password"  # noqa: S105 - the name of a method


@dataclass(frozen=True, slots=True)
class Factors:
    """One user's factors. Times are Unix seconds.

    `code_key` (sealed) is the key for digests of this user's codes: a random one, so that the
    instance's keys can change while codes stay valid. None: nothing is stored yet. `browsers`
    increases with every change of a factor and whenever all sessions are ended together.
    """

    code_key: bytes | None = field(default=None, repr=False)
    totp: bytes | None = field(default=None, repr=False)
    email: bool = False
    code_digest: bytes | None = field(default=None, repr=False)
    code_expires: float | None = None
    locked_until: float | None = None
    recovery: int = 0
    browsers: int = 0

    @property
    def enabled(self) -> tuple[str, ...]:
        return (TOTP,) * (self.totp is not None) + (EMAIL,) * self.email

    def is_locked(self, now: float) -> bool:
        return self.locked_until is not None and now < self.locked_until

    def has_live_code(self, now: float) -> bool:
        return self.code_digest is not None and is_running(self.code_expires, now, CODE_S)


NONE = Factors()


@dataclass(frozen=True, slots=True)
class CodeAttempt:
    """An attempt that was taken from the budget. `locked_until` is set if it was the last one."""

    locked_until: float | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A user's encrypted values. `is_used`: a factor is on, so they are needed."""

    user: int
    username: str
    is_used: bool
    code_key: bytes = field(repr=False)
    totp: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class CodeLock:
    """A user who entered too many wrong codes."""

    user: int
    username: str
    until: float


class FactorStore(Protocol):
    """Users and sessions are given by number. Every method raises StorageUnavailable.

    Methods named `accept_…` are one atomic statement: if two requests bring the same code at the
    same moment, one gets True. They also restore the budget of attempts. An event is recorded only
    if the change takes place.
    """

    async def read(self, user: int) -> Factors:
        """NONE if nothing is stored."""

    async def create(self, user: int, code_key: bytes) -> None:
        """Create a row for a user that has none; otherwise nothing happens."""

    async def spend(
        self, user: int, *, attempts: int, lock_s: float, now: float
    ) -> CodeAttempt | None:
        """Takes one attempt; None during a lock-out. The last attempt starts a lock-out and makes a
        mailed code expire with it, so that every lock-out ends with a new code."""

    async def accept_step(self, user: int, totp: bytes, step: int) -> bool:
        """Whether this secret is in use, and no step this late was accepted before."""

    async def accepted_step(self, user: int) -> int | None:
        """The latest step of a TOTP code that was accepted."""

    async def cap_lock(self, user: int, until: float) -> None:
        """Shortens a lock-out that lasts longer."""

    async def accept_code(self, user: int, digest: bytes, now: float) -> bool:
        """Whether this mailed code was valid; now it is not."""

    async def accept_recovery(self, user: int, digest: bytes) -> bool:
        """Whether this recovery code was unused; now it is used."""

    async def forgive(self, user: int) -> None:
        """Restores the budget and ends a lock-out."""

    async def issue_code(self, user: int, digest: bytes, expires: float, now: float) -> bool:
        """Stores a mailed code, unless there is a valid one, e-mail is off or the user is locked
        out."""

    async def prolong_code(self, user: int, digest: bytes, expires: float) -> None:
        """Changes when this code expires; nothing happens if it is gone."""

    async def drop_code(self, user: int, digest: bytes) -> None:
        """Deletes this code."""

    async def enrol(self, session: int, totp: bytes, expires: float) -> None:
        """Stores the secret that was shown last in this session."""

    async def enrolment(self, session: int, now: float) -> bytes | None:
        """That secret, unless it has expired."""

    async def turn_on_totp(
        self,
        user: int,
        totp: bytes,
        step: int | None,
        recovery: Sequence[bytes],
        now: float,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> bool:
        """Replaces the recovery codes and ends enrolments and trust; False if it is already on. The
        renewed session's second factor is as of now. Raises SessionNotFound if the session ended or
        was renewed meanwhile; then nothing has changed."""

    async def turn_off_totp(self, user: int, now: float, event: Event | None = None) -> bool:
        """Ends trust, and deletes the recovery codes with the last factor; False if it is already
        off."""

    async def reset(
        self,
        user: int,
        code_key: bytes,
        now: float,
        event: Event | None = None,
        *,
        email: bool = False,
    ) -> bool:
        """Turns TOTP off, e-mail codes too with `email`, and replaces the key for codes, so that no
        earlier code is valid; ends the user's sessions and pending logins. False if the user has no
        factor."""

    async def set_email(
        self,
        user: int,
        on: bool,
        now: float,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """Ends trust, and deletes the recovery codes with the last factor. Raises SessionNotFound
        if the renewed session ended or was renewed meanwhile; then nothing has changed."""

    async def replace_recovery(
        self, user: int, digests: Sequence[bytes], now: float, event: Event | None = None
    ) -> None:
        """Replaces the unused codes."""

    async def sealed(self) -> Sequence[Sealed]:
        """All encrypted values of all users."""

    async def reseal(self, old: Sealed, new: Sealed) -> None:
        """Replaces each of the two values that is still as in `old`."""

    async def locks(self, now: float) -> Sequence[CodeLock]:
        """Users who are locked out, by name."""
