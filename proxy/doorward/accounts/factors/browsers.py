"""Browsers in which a user has entered a code and can skip it at later logins: a signed note each.

It knows notes and what ends them; it must not know cookies. A note replaces only the code of a
login: for rules, the session has no second factor.
"""

from __future__ import annotations

from doorward.accounts.keys import Keys
from doorward.accounts.notes import Notes
from doorward.accounts.user import User

PURPOSE = "remembered browser"


class Browsers:
    """`lifetime_s` is how long one is known; None: none is.

    A note is bound to its user as it was then: `User.version` grows with every new password, ban
    and reset, `Factors.browsers` with every change of a factor and when all sessions are ended.
    """

    __slots__ = ("_notes", "lifetime_s")

    def __init__(self, keys: Keys, lifetime_s: float | None) -> None:
        self._notes = Notes(keys, PURPOSE)
        self.lifetime_s = lifetime_s

    def note(self, user: User, epoch: int, now: float) -> str | None:
        """The value that the browser has to send; `epoch` is `Factors.browsers`."""
        if self.lifetime_s is None:
            return None
        return self._notes.write([user.id, user.version, epoch], self.lifetime_s, now)

    def recognises(self, note: str, user: User, epoch: int, now: float) -> bool:
        """Whether we wrote this for the user, nothing ended it, and it has not run out."""
        if self.lifetime_s is None:
            return False
        return self._notes.holds(note, [user.id, user.version, epoch], self.lifetime_s, now)
