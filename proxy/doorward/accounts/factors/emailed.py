"""Codes sent by e-mail: six digits, valid for an hour and once. It decides when one is mailed.

Whether a code is right is asked elsewhere; how a mail looks and travels it must not know.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re

from doorward import text
from doorward.accounts import randomness
from doorward.accounts.factors.records import FactorStore
from doorward.accounts.mailer import Mailer
from doorward.accounts.refusals import MailFailed
from doorward.accounts.user import User

LIFETIME_S = 3600.0
# A code lives this long until a server has taken its mail, so that a process which is killed in
# between keeps nobody waiting for an hour. More than the mailer's own timeout.
SENDING_S = 60.0
_CODE = re.compile(r"[0-9]{6}")
_OTHERS = re.compile(r"[^0-9]+")


def normalise(code: str) -> str | None:
    """The six digits, whatever stands between them; None when they are not six."""
    digits = _OTHERS.sub("", text.code(code))
    return digits if _CODE.fullmatch(digits) else None


def format_code(code: str) -> str:
    """As people read it: 123-456."""
    return f"{code[:3]}-{code[3:]}"


def digest(key: bytes, code: str) -> bytes:
    """What storage keeps; without the key, a million values hide nothing."""
    return hmac.digest(key, b"email " + code.encode("ascii"), hashlib.sha256)


class EmailedCodes:
    """`mailer` is None when no mail server is set up."""

    __slots__ = ("_mailer", "_store")

    def __init__(self, store: FactorStore, mailer: Mailer | None) -> None:
        self._store = store
        self._mailer = mailer

    def can_reach(self, user: User) -> bool:
        """Whether a mail could be sent: to a verified address of the user and to no other
        (GHSA-qgqp-xh8r-v73r)."""
        return self._mailer is not None and user.email is not None

    async def send(self, user: User, key: bytes, now: float) -> float | None:
        """Mails a new code and returns when it dies; None when one lives already.

        Raises MailFailed, and then there is no code."""
        if self._mailer is None or user.email is None:
            raise MailFailed
        code = randomness.mail_code()
        kept = digest(key, code)
        if not await self._store.issue_code(user.number, kept, now + SENDING_S, now):
            return None
        try:
            await self._mailer.send_code(user.email, user.username, format_code(code), LIFETIME_S)
        except BaseException:  # cancelled, too: who asks again shall get a mail
            await asyncio.shield(self._store.drop_code(user.number, kept))
            raise
        await self._store.prolong_code(user.number, kept, now + LIFETIME_S)
        return now + LIFETIME_S
