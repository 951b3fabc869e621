"""Browsers in which a user has logged in before. Their password attempts have a budget that no
other client can use up.

Knows notes and what invalidates them; must not know cookies, or how attempts are counted. A note
only allows a client to try the user's password a few times although others are locked out. It does
not contain the user's name.
"""

from __future__ import annotations

from doorward.accounts.keys import Keys
from doorward.accounts.notes import Notes
from doorward.accounts.session import FULL, Session, is_fresh
from doorward.accounts.user import User

PURPOSE = "known browser"
# Half a year from the last login: long enough for a browser that is in use, and limited for one
# that was given away.
KNOWN_S = 180 * 86_400.0


class KnownBrowsers:
    """A note is valid for one `User.version`, which grows with every new password, ban and
    reset."""

    __slots__ = ("_notes",)

    def __init__(self, keys: Keys) -> None:
        self._notes = Notes(keys, PURPOSE)

    def note(self, session: Session, now: float) -> str | None:
        """A note for the browser that gets this session; None unless the user has just given
        everything that a login requires."""
        if session.level is not FULL or not is_fresh(session.proved_at, now):
            return None
        return self._notes.write(_about(session.user), KNOWN_S, now)

    def recognises(self, note: str | None, user: User | None, now: float) -> bool:
        """Whether Doorward wrote this for the user, no new password has invalidated it, and it has
        not expired."""
        if note is None:
            return False
        # The same cost for an unknown name (CVE-2026-77582).
        about = ["", 0] if user is None else _about(user)
        return self._notes.holds(note, about, KNOWN_S, now) and user is not None


def _about(user: User) -> list[object]:
    return [user.id, user.version]
