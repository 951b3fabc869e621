"""Changing a user's own e-mail address, once the user has read a mail sent to the new one.

It decides whether an address is the user's; it must not know pages or mail servers. Nothing is
stored before that: the request travels sealed in the form that asks for the code.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import replace

from doorward.accounts import randomness
from doorward.accounts.challenge import Challenge
from doorward.accounts.factors import recovery
from doorward.accounts.factors.records import EMAIL
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.keys import Keys
from doorward.accounts.mailer import Mailer
from doorward.accounts.names import normalise_address
from doorward.accounts.refusals import (
    EnrolmentExpired,
    MailFailed,
    ReadOnlyUser,
    SecondFactorInvalid,
)
from doorward.accounts.sealing import Sealing, UnreadableSecret
from doorward.accounts.session import is_running
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import DATABASE, Email, User
from doorward.accounts.users.users import Users

PURPOSE = "address"
LIFETIME_S = 1800.0
# Limit on one user's mails per hour, in this process. Without it, anybody with a session could have
# mail sent to any address.
MAILS = 5
PER_S = 3600.0
TOO_MANY = "Too many e-mails were sent; try again in an hour."


class Addresses:
    """`mailer` is None if no mail server is configured. Methods raise StorageUnavailable."""

    __slots__ = ("_factors", "_mailer", "_sealing", "_sent", "_users")

    def __init__(
        self, users: Users, factors: SecondFactors, mailer: Mailer | None, keys: Keys
    ) -> None:
        self._users = users
        self._factors = factors
        self._mailer = mailer
        self._sealing = Sealing(keys, PURPOSE)
        self._sent: dict[int, list[float]] = {}

    def can_change(self, user: User) -> bool:
        return self._mailer is not None and user.source == DATABASE

    async def begin(self, session: Session, address: str, now: float) -> str:
        """Mails a code to the address; returns the sealed request, which has to come back with the
        code. Raises ProofRequired, InvalidEmail, ReadOnlyUser, MailFailed."""
        await self._factors.require_proof(session, now)
        user, address = session.user, address.strip()
        if user.source != DATABASE:
            raise ReadOnlyUser(user.source)
        normalise_address(address)
        if self._mailer is None:
            raise MailFailed
        self._count(user, now)
        # Not six digits: attempts are not counted, so it must be too long to guess.
        code = randomness.recovery_code()
        await self._mailer.send_address_code(
            address, user.username, f"{code[:4]}-{code[4:]}", LIFETIME_S
        )
        before = [(email.address, email.verified) for email in user.emails]
        asked = json.dumps([address, code, now + LIFETIME_S, before]).encode()
        return base64.urlsafe_b64encode(self._sealing.seal(asked, _owner(session))).decode()

    def _count(self, user: User, now: float) -> None:
        """Raises MailFailed."""
        lately = {
            number: kept
            for number, times in self._sent.items()
            if (kept := [time for time in times if now - PER_S < time <= now])
        }
        if len(lately.get(user.number, ())) >= MAILS:
            raise MailFailed(TOO_MANY)
        lately.setdefault(user.number, []).append(now)
        self._sent = lately

    async def confirm(self, session: Session, asked: str, code: str, now: float) -> User:
        """The user with only this address; a code works once, and only while the addresses are the
        same as when it was requested. Raises ProofRequired, EnrolmentExpired, SecondFactorInvalid,
        NameTaken, ReadOnlyUser, UserNotFound."""
        await self._factors.require_proof(session, now)
        address, right, until, before = self._open(session, asked)
        if not is_running(until, now, LIFETIME_S):
            raise EnrolmentExpired
        given = recovery.normalise(code)
        if given is None or not hmac.compare_digest(given, right):
            raise SecondFactorInvalid(Challenge(EMAIL))
        emails = tuple(Email(one, verified) for one, verified in before)
        return await self._users.set_address(replace(session.user, emails=emails), address, now)

    def address(self, session: Session, asked: str) -> str:
        """The address that the code was sent to. Raises EnrolmentExpired."""
        return self._open(session, asked)[0]

    def _open(self, session: Session, asked: str) -> tuple[str, str, float, list[tuple[str, bool]]]:
        try:
            sealed = base64.urlsafe_b64decode(asked.encode())
            address, code, until, before = json.loads(self._sealing.open(sealed, _owner(session)))
        except (UnreadableSecret, binascii.Error, ValueError) as fault:
            raise EnrolmentExpired from fault
        return address, code, until, before


def _owner(session: Session) -> str:
    return f"session {session.id}"
