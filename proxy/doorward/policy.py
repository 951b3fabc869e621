"""What a decision of your own in Python is given, and what it may answer: `access.decide`.

Plain values, open to your code; it must not know anything of Doorward's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """The user. An application in the same process finds it in
    `scope["state"]["doorward"]`."""

    username: str
    name: str | None
    email: str | None
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    session_id: str
    level: str  # full, or token for a program with an API token
    id: str = ""  # stays the same when the user is renamed
    two_factor: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """The request to decide on. `path` and `query` are as they were sent; `headers` have names in
    lower case, without cookies and credentials, in their order."""

    method: str
    scheme: str
    host: str
    path: str
    query: str
    address: str
    headers: tuple[tuple[str, str], ...]
    route: str  # host and path of the route, as in /wiki or wiki.example.com/
    is_websocket: bool = False
    is_verification: bool = False  # a front proxy asks, and sends the request itself

    def header(self, name: str) -> str | None:
        """The first header of this name in any case, or None."""
        lowered = name.lower()
        return next((value for each, value in self.headers if each == lowered), None)


@dataclass(frozen=True, slots=True)
class Allow:
    """The request passes, whatever the rules say of who may. A rule that denies everybody, or that
    demands a second factor, still counts."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The request is refused with 403. The reason is logged, and not shown to the client."""

    reason: str = ""


# None leaves the decision to the rules.
Verdict = Allow | Deny | None
