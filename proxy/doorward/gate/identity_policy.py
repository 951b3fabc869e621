"""Whether a route's application gets the user's name, and whether answers are only for that
session.

Must not know which headers identify the user; `rewrite` does.
"""

from collections.abc import Callable
from dataclasses import dataclass

from doorward.accounts.sessions.sessions import Session
from doorward.settings import Route

# The header lines that describe a session to an application at this time. May raise UnfitIdentity.
Tell = Callable[[Session, float], bytes]


class UnfitIdentity(Exception):
    """A user attribute that no header of a route can carry; the reason has been logged."""


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """An application gets the user's name wherever it has identity headers, and on public paths if
    the route sends them there. Answers are for one session if it gets the name, and if the rule is
    not public."""

    tell: Tell | None
    tell_on_public: Tell | None
    makes_private: bool

    @classmethod
    def on(cls, route: Route, tell: Tell) -> "IdentityPolicy":
        told = tell if route.identity_headers or route.assertion else None
        on_public = told if route.identity_on_public else None
        return cls(told, on_public, route.cache_control == "private")

    def apply(self, session: Session, is_public: bool, now: float) -> tuple[bytes, bool]:
        """The lines of identity headers, and whether shared caches must not store the answer.
        Raises UnfitIdentity."""
        tell = self.tell_on_public if is_public else self.tell
        private = self.makes_private and (tell is not None or not is_public)
        return b"" if tell is None else tell(session, now), private
