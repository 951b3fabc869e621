"""Browsers in which a user has entered a code and can skip it at later logins: a signed note each.

It knows notes and what ends them; it must not know cookies. A note replaces only the code of a
login: for rules, the session has no second factor.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re

from doorward.accounts.keys import Keys
from doorward.accounts.user import User

PURPOSE = "remembered browser"
_NOTE = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9_-]{43})")


class Browsers:
    """`lifetime_s` is how long a browser is remembered; None: never.

    A note belongs to its user as of that moment: `User.version` increases with every new password,
    ban and reset, `Factors.browsers` with every change of a factor and when all sessions are ended.
    """

    __slots__ = ("_keys", "lifetime_s")

    def __init__(self, keys: Keys, lifetime_s: float | None) -> None:
        self._keys = keys.follow(lambda derive: derive(PURPOSE))
        self.lifetime_s = lifetime_s

    def note(self, user: User, epoch: int, now: float) -> str | None:
        """The note for a browser; `epoch` is `Factors.browsers`."""
        if self.lifetime_s is None:
            return None
        until = int(now + self.lifetime_s)
        return f"{until}.{_signature(self._keys()[0], user, epoch, until)}"

    def recognises(self, note: str, user: User, epoch: int, now: float) -> bool:
        """Whether this is a valid note of the user's that nothing has ended. A shorter setting also
        applies to existing notes."""
        found = _NOTE.fullmatch(note)
        if found is None or self.lifetime_s is None:
            return False
        until = int(found[1])
        if not now < until <= now + self.lifetime_s:
            return False
        signatures = (_signature(key, user, epoch, until) for key in self._keys())
        return any([hmac.compare_digest(one, found[2]) for one in signatures])


def _signature(key: bytes, user: User, epoch: int, until: int) -> str:
    text = json.dumps([user.id, user.version, epoch, until]).encode()
    mac = hmac.digest(key, text, hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
