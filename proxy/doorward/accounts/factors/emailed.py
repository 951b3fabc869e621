"""Codes by e-mail: six digits, valid once and for an hour. It decides when to mail one.

It must not know how a code is checked, or how a mail looks and is sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re

from doorward import text
from doorward.accounts import randomness
from doorward.accounts.factors.records import CODE_S, FactorStore
from doorward.accounts.mailer import Mailer
from doorward.accounts.refusals import MailFailed
from doorward.accounts.user import User

# A code lasts this long until a server has accepted its mail, so that a process that is killed in
# between makes nobody wait an hour. Longer than the mailer's timeout.
SENDING_S = 60.0
_CODE = re.compile(r"[0-9]{6}")
_OTHERS = re.compile(r"[^0-9]+")


def normalise(code: str) -> str | None:
    """The six digits without anything between them; None if they are not six."""
    digits = _OTHERS.sub("", text.code(code))
    return digits if _CODE.fullmatch(digits) else None


def format_code(code: str) -> str:
    """As people read it: 123-456."""
    return f"{code[:3]}-{code[3:]}"


def digest(key: bytes, code: str) -> bytes:
    """The stored form. Without the key, a hash of one of a million values hides nothing."""
    return hmac.digest(key, b"email " + code.encode("ascii"), hashlib.sha256)


class EmailedCodes:
    """`mailer` is None when no mail server is set up."""

    __slots__ = ("_mailer", "_store")

    def __init__(self, store: FactorStore, mailer: Mailer | None) -> None:
        self._store = store
        self._mailer = mailer

    def can_reach(self, user: User) -> bool:
        """Whether a mail can be sent: only to a verified address of the user
        (GHSA-qgqp-xh8r-v73r)."""
        return self._mailer is not None and user.email is not None

    async def send(self, user: User, key: bytes, now: float) -> float | None:
        """Mails a new code and returns when it expires; None if there is a valid one.

        Raises MailFailed, and then there is no code.
        """
        if self._mailer is None or user.email is None:
            raise MailFailed
        code = randomness.mail_code()
        kept = digest(key, code)
        if not await self._store.issue_code(user.number, kept, now + SENDING_S, now):
            return None
        try:
            await self._mailer.send_code(user.email, user.username, format_code(code), CODE_S)
        except BaseException:  # also when cancelled: the next request must get a mail
            await asyncio.shield(self._store.drop_code(user.number, kept))
            raise
        await self._store.prolong_code(user.number, kept, now + CODE_S)
        return now + CODE_S
