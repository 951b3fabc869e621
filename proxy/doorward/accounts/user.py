"""A user of any source, as values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Email:
    address: str
    verified: bool


@dataclass(frozen=True, slots=True)
class User:
    """`number` is the database's, `id` the public one. `created_at` is Unix seconds.

    `version` grows with everything that ends the user's sessions (password, ban, disable), so that
    a login which began before it cannot open a session after it. `derived` has values that are
    computed once per user; a changed copy has its own.
    """

    number: int
    id: str
    source: str
    username: str
    name: str | None
    emails: tuple[Email, ...]
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    super_admin: bool
    active: bool
    banned: bool
    must_change_password: bool
    created_at: float
    version: int = 0
    derived: dict[object, object] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def email(self) -> str | None:
        """The first verified address, or None."""
        return next((email.address for email in self.emails if email.verified), None)

    @property
    def is_usable(self) -> bool:
        """Whether sessions of this user count."""
        return self.active and not self.banned


@lru_cache(maxsize=1024)
def share(one: User) -> User:
    """The same object for equal users, because many sessions of a user are in memory."""
    return one


@dataclass(frozen=True, slots=True)
class NewUser:
    """What storage needs to create a user. `handles` are the normalised names and addresses that
    identify it."""

    id: str
    source: str
    username: str
    key: str
    handles: tuple[str, ...]
    password_hash: str | None = field(repr=False)
    scheme: str | None
    name: str | None = None
    emails: tuple[Email, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    super_admin: bool = False
    active: bool = True
    must_change_password: bool = False


@dataclass(frozen=True, slots=True)
class NewPassword:
    """The hash of an acceptable new password. Only `Passwords.new` makes one, so that every stored
    password was checked."""

    hash: str = field(repr=False)
    scheme: str


@dataclass(frozen=True, slots=True)
class Seen:
    """The stored part of a directory's entry. `digest` differs when the password has changed."""

    username: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Credential:
    """A user with the hash that passwords are verified against."""

    user: User
    password_hash: str = field(repr=False)
    scheme: str
