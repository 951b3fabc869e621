"""Browsers in which a user has logged in before: their attempts at the password are counted on a
budget that nobody else can use up.

It knows notes and what ends them; it must not know cookies, nor how attempts are counted. A note
opens nothing: a client that has one may try the user's password a few times although others are
locked out. It names nobody, so it tells a thief of it nothing.
"""

from __future__ import annotations

from doorward.accounts.keys import Keys
from doorward.accounts.notes import Notes
from doorward.accounts.session import FULL, Session, is_fresh
from doorward.accounts.user import User

PURPOSE = "known browser"
# Half a year from the last login: a browser that is used is known, one that was given away is not.
KNOWN_S = 180 * 86_400.0


class KnownBrowsers:
    """A note is bound to its user as it was then: `User.version` grows with every new password, ban
    and reset."""

    __slots__ = ("_notes",)

    def __init__(self, keys: Keys) -> None:
        self._notes = Notes(keys, PURPOSE)

    def note(self, session: Session, now: float) -> str | None:
        """For the browser that gets this session; None unless its user was there just now, with
        everything that a login asks for."""
        if session.level is not FULL or not is_fresh(session.proved_at, now):
            return None
        return self._notes.write(_about(session.user), KNOWN_S, now)

    def recognises(self, note: str | None, user: User | None, now: float) -> bool:
        """Whether we wrote this for the user, no new password ended it, and it has not run out."""
        if note is None:
            return False
        # Of the same cost for a name that nobody has (CVE-2026-77582).
        about = ["", 0] if user is None else _about(user)
        return self._notes.holds(note, about, KNOWN_S, now) and user is not None


def _about(user: User) -> list[object]:
    return [user.id, user.version]
