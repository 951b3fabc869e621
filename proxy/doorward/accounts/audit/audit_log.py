"""Records about logins, sessions, users and factors: one event per operation, never a secret.

It knows neither the table nor the log that events are written to, and no decision depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from doorward.accounts.user import User

COMMAND = "command"  # the actor of commands
DONE = "done"
REFUSED = "refused"

DETAIL_CHARACTERS = 200


class Kind(StrEnum):
    """Kind of event. The words are part of the record's format."""

    LOGIN = "login"
    LOGIN_PENDING = "login_pending"  # the password was right, a second factor is still required
    LOGIN_FAILED = "login_failed"
    LOCKED_OUT = "locked_out"
    LOCK_ENDED = "lock_ended"  # its detail is the number of attempts refused during the lock-out
    UNLOCKED = "unlocked"
    SESSION_ENDED = "session_ended"
    SESSIONS_ENDED = "sessions_ended"
    USER_ADDED = "user_added"
    USER_CHANGED = "user_changed"
    USER_DELETED = "user_deleted"
    USER_BANNED = "user_banned"
    USER_UNBANNED = "user_unbanned"
    USER_ENABLED = "user_enabled"
    USER_DISABLED = "user_disabled"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a kind of event
    RESET_MAILED = "reset_mailed"
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    FACTOR_PASSED = "factor_passed"
    FACTOR_FAILED = "factor_failed"
    FACTOR_LOCKED = "factor_locked"
    RECOVERY_CODES_MADE = "recovery_codes_made"
    TOKEN_ADDED = "token_added"  # noqa: S105 - a kind of event, as are the next three
    TOKEN_ENDED = "token_ended"  # noqa: S105
    TOKENS_ENDED = "tokens_ended"
    TOKEN_FAILED = "token_failed"  # noqa: S105
    KEY_ADDED = "key_added"
    KEY_RETIRED = "key_retired"
    CREDENTIAL_SET = "credential_set"
    CREDENTIAL_REMOVED = "credential_removed"
    HANDED_OVER = "handed_over"  # a session, to the host in the detail
    HANDOVER_FAILED = "handover_failed"
    CONFIGURATION_RELOADED = "configuration_reloaded"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at` is Unix seconds; unknown values are empty.

    `actor` is the user who did it, `command`, or empty for a client without a session. `subject` is
    the user it was done to; unknown names are not recorded, because people sometimes type their
    password there. `session` is a public id. `detail` is one of Doorward's own words.
    """

    at: float
    kind: Kind
    actor: str = ""
    subject: str = ""
    address: str = ""
    session: str = ""
    request_id: str = ""
    outcome: str = DONE
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored event; numbers increase."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records to read; None matches all. `user` is actor or subject, `since` Unix seconds."""

    user: str | None = None
    kind: Kind | None = None
    since: float | None = None


PURGED_AT_ONCE = 500  # records per transaction, so that logins do not wait long


class AuditLog(Protocol):
    """The append-only audit log: records do not change until they are deleted by age.

    Every method raises StorageUnavailable.

    Stores whose methods take an `event` write it in the transaction of the operation.
    """

    async def record(self, event: Event) -> None:
        """Store the event; it is durable when this returns."""

    async def latest(self, wanted: RecordFilter, limit: int) -> Sequence[Record]:
        """The newest matching records, oldest first."""

    async def after(
        self, number: int, wanted: RecordFilter, limit: int | None = None
    ) -> Sequence[Record]:
        """The matching records with a number above this one, oldest first, at most so many."""

    async def purge(self, before: float, limit: int) -> int:
        """Delete the oldest records from before that time, at most so many; returns how many."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The caller of an operation, as far as records are concerned."""

    actor: str = ""
    address: str = ""
    request_id: str = ""


@contextmanager
def act_on_behalf(actor: User) -> Iterator[None]:
    """Events made inside are recorded as this user's, from the caller's address."""
    with act_as(replace(_origin.get(), actor=actor.username)):
        yield


class Asking(Protocol):
    """The parts of a `ClientInfo` that are recorded."""

    @property
    def address(self) -> str: ...


class AuditedSession(Protocol):
    """The parts of a `Session` that are recorded."""

    @property
    def id(self) -> str: ...

    @property
    def user(self) -> User: ...


_NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


@contextmanager
def act_as(origin: Origin) -> Iterator[None]:
    """Events made inside have this origin. Only for records: no decision depends on it."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def build_event(
    kind: Kind,
    now: float,
    *,
    subject: User | str | None = None,
    actor: User | None = None,
    session: AuditedSession | None = None,
    client: Asking | None = None,
    outcome: str = DONE,
    detail: str = "",
) -> Event:
    """The event with the values of the origin. If no subject is named, it is the session's user.
    The actor is `actor`, else the origin's, else the session's user."""
    origin = _origin.get()
    acts = origin.actor
    if actor is not None:
        acts = actor.username
    elif not acts and session is not None:
        acts = session.user.username
    if subject is None and session is not None:
        subject = session.user
    name = subject if isinstance(subject, str) else "" if subject is None else subject.username
    return Event(
        at=now,
        kind=kind,
        actor=acts,
        subject=name,
        address=origin.address if client is None else client.address,
        session="" if session is None else session.id,
        request_id=origin.request_id,
        outcome=outcome,
        detail=detail[:DETAIL_CHARACTERS],
    )


def add_count(event: Event, ended: int) -> Event:
    """The event, with the number of sessions that ended as its detail."""
    return replace(event, detail=f"{event.detail} ({ended} ended)".lstrip())
