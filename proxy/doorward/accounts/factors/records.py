"""What is stored of a user's factors, and what the core asks of that storage.

Values and a Protocol; secrets come sealed, codes as digests. It must not know how either is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from doorward.accounts.audit.audit_log import Event
from doorward.accounts.session import Renewal

TOTP = "totp"
EMAIL = "email"
RECOVERY = "recovery"
BROWSER = "browser"  # a remembered one, in place of a code; no factor
PASSWORD = "password"  # noqa: S105 - the name of a method


@dataclass(frozen=True, slots=True)
class Factors:
    """One user's. Times are Unix seconds.

    `code_key` (sealed) is the key of the digests of this user's codes: random, so that the
    instance's keys can change while the codes stay good. None: nothing is stored yet. `browsers`
    grows with every change of a factor and whenever all sessions are ended at once.
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
        return (
            self.code_digest is not None
            and self.code_expires is not None
            and now < self.code_expires
        )


NONE = Factors()


@dataclass(frozen=True, slots=True)
class CodeAttempt:
    """An attempt taken from the budget. `locked_until`: it was the last one."""

    locked_until: float | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """What of a user is encrypted. `is_used`: a factor is on, so that something depends on it."""

    user: int
    username: str
    is_used: bool
    code_key: bytes = field(repr=False)
    totp: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class CodeLock:
    """A user who gave too many wrong codes."""

    user: int
    username: str
    until: float


class FactorStore(Protocol):
    """Users and sessions go by their numbers. Every method raises StorageUnavailable.

    A method named `accept_…` is one atomic statement: of two that come with the same code at the
    same moment, one gets True. It also gives the budget of attempts back. Events are written down
    with a change that takes place, and with no other."""

    async def read(self, user: int) -> Factors:
        """NONE when nothing is stored."""

    async def create(self, user: int, code_key: bytes) -> None:
        """A row for a user that has none; leaves one alone that is there."""

    async def spend(
        self, user: int, *, attempts: int, lock_s: float, now: float
    ) -> CodeAttempt | None:
        """Takes one attempt; None while locked. The last one locks, and shortens the life of a
        mailed code to the lock's, so that every lock ends with a new code."""

    async def accept_step(self, user: int, totp: bytes, step: int) -> bool:
        """Whether this secret is the one that is on, and no step as late was accepted before."""

    async def accepted_step(self, user: int) -> int | None:
        """The latest step of a TOTP code that was accepted."""

    async def cap_lock(self, user: int, until: float) -> None:
        """A lock that lasts longer ends then."""

    async def accept_code(self, user: int, digest: bytes, now: float) -> bool:
        """Whether this mailed code lived; now it does not."""

    async def accept_recovery(self, user: int, digest: bytes) -> bool:
        """Whether this recovery code was unused; now it is gone."""

    async def forgive(self, user: int) -> None:
        """Gives the budget back and lifts a lock."""

    async def issue_code(self, user: int, digest: bytes, expires: float, now: float) -> bool:
        """Keeps a mailed code, unless one lives, e-mail is off or the user is locked."""

    async def prolong_code(self, user: int, digest: bytes, expires: float) -> None:
        """When this code dies instead; nothing happens when it is gone."""

    async def drop_code(self, user: int, digest: bytes) -> None:
        """Takes this code away."""

    async def enrol(self, session: int, totp: bytes, expires: float) -> None:
        """Keeps the secret that was shown in this session last."""

    async def enrolment(self, session: int, now: float) -> bytes | None:
        """That secret, unless it expired."""

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
        """Replaces the recovery codes and ends enrolments and trust; False when it is on. The
        renewed session has its second factor as of now. Raises SessionNotFound when that ended or
        was renewed meanwhile; then nothing has changed."""

    async def turn_off_totp(self, user: int, now: float, event: Event | None = None) -> bool:
        """Ends trust, and with the last factor the recovery codes; False when it is off."""

    async def reset(
        self,
        user: int,
        code_key: bytes,
        now: float,
        event: Event | None = None,
        *,
        email: bool = False,
    ) -> bool:
        """TOTP off, `email` too, another key for codes, and so no code that was made before is
        right; ends the user's sessions and the logins under way. False when the user has no
        factor."""

    async def set_email(
        self,
        user: int,
        on: bool,
        now: float,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """Ends trust, and with the last factor the recovery codes. Raises SessionNotFound when the
        renewed session ended or was renewed meanwhile; then nothing has changed."""

    async def replace_recovery(
        self, user: int, digests: Sequence[bytes], now: float, event: Event | None = None
    ) -> None:
        """These are the unused ones from now on."""

    async def sealed(self) -> Sequence[Sealed]:
        """Everything that is encrypted, of all users."""

    async def reseal(self, old: Sealed, new: Sealed) -> None:
        """Replaces each of the two that is as `old` has it."""

    async def locks(self, now: float) -> Sequence[CodeLock]:
        """Who is locked, by name."""
