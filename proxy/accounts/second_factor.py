"""The second factor: which one is due, whether a code is right, who is trusted for a while.

It decides for every entrance alike and knows neither form nor wire format. The passwords of logins
are not its business.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.accounts.challenge import Challenge
from proxy.accounts.sessions import ClientInfo, Opened, Session
from proxy.accounts.user import User

__all__ = ["Challenge", "Enrolment", "SecondFactors"]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A new authenticator secret, in base32, and as the URI that apps read from a QR code."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


class SecondFactors:
    """Every method raises StorageUnavailable; codes are told as people type them."""

    async def enabled(self, user: User) -> tuple[str, ...]:
        """The factors the user has on: totp, email. With any, every login asks."""
        raise NotImplementedError

    async def prepare(
        self, user: User, method: str | None, *, name: str | None = None, now: float
    ) -> Challenge:
        """What to ask for. Mails a code when that is e-mail and no mailed code lives.

        Raises MailFailed."""
        raise NotImplementedError

    async def verify(
        self,
        user: User,
        code: str,
        method: str | None,
        *,
        password_fallback: bool = False,
        now: float,
    ) -> str:
        """Consumes the code; returns what it was: totp, email, recovery or password.

        Raises SecondFactorInvalid, TooManyCodes, Overloaded."""
        raise NotImplementedError

    async def demand(
        self,
        session: Session,
        client: ClientInfo,
        code: str | None,
        method: str | None,
        *,
        honours_trust: bool,
        now: float,
    ) -> None:
        """Returns when this session may do what wants a second factor, now.

        Raises SecondFactorRequired, SecondFactorInvalid, TooManyCodes, MailFailed, Overloaded."""
        raise NotImplementedError

    async def complete(
        self, session: Session, code: str, method: str | None, *, client: ClientInfo, now: float
    ) -> Opened:
        """Makes a pending session full, under a new token; the old one is dead at once.

        Raises SessionNotFound, SecondFactorInvalid, TooManyCodes."""
        raise NotImplementedError

    async def begin_totp(self, session: Session, now: float) -> Enrolment:
        """A new secret for this session; an older one is void. Raises TotpAlreadyOn."""
        raise NotImplementedError

    async def confirm_totp(
        self, session: Session, secret: str | None, code: str, now: float
    ) -> tuple[str, ...]:
        """Turns TOTP on; returns the recovery codes, which are never seen again.

        Raises EnrolmentExpired, SecondFactorInvalid, TotpAlreadyOn."""
        raise NotImplementedError

    async def remove_totp(self, session: Session, code: str, now: float) -> None:
        """Raises TotpNotOn, SecondFactorInvalid, TooManyCodes."""
        raise NotImplementedError

    async def reset_totp(self, user: User, now: float) -> None:
        """Takes TOTP and recovery codes away and ends the user's sessions. Raises TotpNotOn."""
        raise NotImplementedError

    async def enable_email(self, user: User, now: float) -> None:
        """The caller has demanded a factor before. Raises InvalidEmail, MailFailed."""
        raise NotImplementedError

    async def disable_email(self, user: User, now: float) -> None:
        """The caller has demanded a factor before."""
        raise NotImplementedError

    async def regenerate_recovery(self, user: User, now: float) -> tuple[str, ...]:
        """New recovery codes; the old ones are void. The caller has demanded a factor before.

        Raises TotpNotOn when no factor is on."""
        raise NotImplementedError

    async def remaining_recovery(self, user: User) -> int:
        raise NotImplementedError
