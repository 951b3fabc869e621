"""The simplest storage for the core: in memory, without files and SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import Event, Kind, Record, RecordFilter, add_count
from doorward.accounts.passwords.hashing import FILE
from doorward.accounts.passwords.regulation import Budget, Lock, Period, Spent
from doorward.accounts.refusals import (
    NameTaken,
    SessionNotFound,
    StorageUnavailable,
    UserNotFound,
)
from doorward.accounts.session import Renewal
from doorward.accounts.sessions.sessions import FULL, Session
from doorward.accounts.user import Credential, Email, NewPassword, NewUser, Seen, User
from doorward.accounts.users.directory import DirectoryEntry

if TYPE_CHECKING:
    from tests.support.memory_tokens import MemoryTokens

NOW = 1_700_000_000.0


@dataclass
class MemoryUsers:
    """Implements UserStore."""

    sessions: MemorySessions
    rows: dict[int, Credential] = field(default_factory=dict)
    handles: dict[str, int] = field(default_factory=dict)
    names: dict[tuple[str, str], int] = field(default_factory=dict)
    digests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    silent: bool = False
    tokens: MemoryTokens | None = None

    async def insert(self, new: NewUser, now: float, event: Event | None = None) -> User:
        if any(handle in self.handles for handle in new.handles):
            raise NameTaken
        user = _user(len(self.rows) + 1, new, now)
        self.rows[user.number] = Credential(user, new.password_hash or "", new.scheme or "")
        self.handles |= dict.fromkeys(new.handles, user.number)
        self.names[new.source, new.key] = user.number
        self.sessions.audit_log.keep(event)
        return user

    async def insert_all(
        self, new: Sequence[NewUser], now: float, events: Sequence[Event] = ()
    ) -> Sequence[User]:
        before = dict(self.rows), dict(self.handles), dict(self.names)
        try:
            return [await self.insert(one, now) for one in new]
        except NameTaken:
            self.rows, self.handles, self.names = before
            raise

    async def edit(
        self,
        user: User,
        change: Callable[[User], tuple[User, Sequence[str]]],
        now: float,
        event: Event | None = None,
    ) -> User:
        row = self.rows.get(user.number)
        if row is None:
            raise UserNotFound
        changed, led = change(row.user)
        if any(self.handles.get(handle, user.number) != user.number for handle in led):
            raise NameTaken
        self.rows[user.number] = replace(row, user=changed)
        self.handles = {h: n for h, n in self.handles.items() if n != user.number}
        self.handles |= dict.fromkeys(led, user.number)
        self.sessions.audit_log.keep(event)
        return changed

    async def imported(self, ours: str) -> Sequence[tuple[str, str]]:
        return [
            (c.scheme, c.password_hash) for c in self.rows.values() if c.scheme not in ("", ours)
        ]

    async def by_handle(self, key: str) -> Credential | None:
        if self.silent:
            raise StorageUnavailable
        number = self.handles.get(key)
        return None if number is None else self.rows[number]

    async def by_name(self, source: str, key: str) -> User | None:
        number = self.names.get((source, key))
        return None if number is None else self.rows[number].user

    async def taken(self, handles: Iterable[str]) -> Sequence[str]:
        return sorted(set(handles) & self.handles.keys())

    async def claim(
        self,
        source: str,
        seen: Mapping[str, Seen],
        gone: Collection[str],
        now: float,
        event: Event | None = None,
        reloaded: Event | None = None,
    ) -> None:
        if self.silent:
            raise StorageUnavailable
        for key, one in seen.items():
            if (source, key) not in self.names:
                await self.insert(_described(source, key, one.username), now)
            elif self.digests[source, key] != one.digest:
                number = self.names[source, key]
                self._change(self.rows[number].user)
                await self.sessions.end_all(number, now, "password", None, event)
            self.digests[source, key] = one.digest
        self.sessions.audit_log.keep(reloaded)

    async def set_password(
        self,
        user: User,
        new: NewPassword,
        *,
        must_change: bool,
        renewal: Renewal | None = None,
        now: float,
        event: Event | None = None,
        version: int | None = None,
    ) -> None:
        if version not in (None, self.rows[user.number].user.version):
            raise UserNotFound
        self._change(user, must_change_password=must_change)
        row = self.rows[user.number]
        self.rows[user.number] = replace(row, password_hash=new.hash, scheme=new.scheme)
        but = None if renewal is None else renewal.session.number
        await self.sessions.end_all(user.number, now, "password", but, renewal=renewal)
        self.sessions.audit_log.keep(event)

    async def rehash(self, user: User, old: str, new: str, scheme: str) -> None:
        row = self.rows[user.number]
        if row.password_hash == old:
            self.rows[user.number] = replace(row, password_hash=new, scheme=scheme)

    async def set_banned(
        self, user: User, banned: bool, now: float, event: Event | None = None
    ) -> None:
        self._change(user, banned=banned)
        self.sessions.audit_log.keep(event)

    async def set_active(
        self, user: User, active: bool, now: float, event: Event | None = None
    ) -> None:
        self._change(user, active=active)
        self.sessions.audit_log.keep(event)
        if not active:
            await self.sessions.end_all(user.number, now, "disabled", None)
            if self.tokens is not None:
                self.tokens.end_where(
                    lambda token: token.user.number == user.number, now, "disabled"
                )

    async def delete(self, user: User, now: float, event: Event | None = None) -> None:
        if self.rows.pop(user.number, None) is None:
            raise UserNotFound
        self.sessions.audit_log.keep(event)
        self.handles = {h: n for h, n in self.handles.items() if n != user.number}
        self.names = {k: n for k, n in self.names.items() if n != user.number}

    def _change(self, user: User, **values: Any) -> None:
        row = self.rows.get(user.number)
        if row is None:
            raise UserNotFound
        changed = replace(row.user, version=row.user.version + 1, **values)
        self.rows[user.number] = replace(row, user=changed)


@dataclass
class MemorySessions:
    """Implements SessionStore."""

    users: MemoryUsers | None = None
    rows: dict[bytes, Session] = field(default_factory=dict)
    audit_log: MemoryTrail = field(default_factory=lambda: MemoryTrail())

    async def insert(
        self,
        draft: Session,
        digest: bytes,
        *,
        replaces: int | None = None,
        most: int | None = None,
        event: Event | None = None,
        ending: Event | None = None,
    ) -> Session | None:
        now = self._now(draft.user)
        if now is None or now.version != draft.user.version or not now.is_usable:
            return None
        self.audit_log.keep(event)
        if replaces is not None:
            await self.end(replaces, draft.created_at, "replaced", ending)
        self.rows[digest] = session = replace(draft, number=len(self.rows) + 1)
        mine = [s for s in await self.list(draft.user.number, draft.created_at)]
        for surplus in [] if most is None else mine[: len(mine) - most]:
            await self.end(surplus.number, draft.created_at, "limit")
        return session

    async def by_id(self, id: str) -> Session | None:
        row = next((session for session in self.rows.values() if session.id == id), None)
        user = None if row is None else self._now(row.user)
        return None if row is None or user is None else replace(row, user=user)

    async def by_digest(self, digest: bytes) -> Session | None:
        session = self.rows.get(digest)
        user = None if session is None else self._now(session.user)
        return None if session is None or user is None else replace(session, user=user)

    async def rise(
        self,
        session: Session,
        digest: bytes,
        method: str,
        now: float,
        event: Event | None = None,
        most: int | None = None,
    ) -> Session | None:
        old, row = next((d, s) for d, s in self.rows.items() if s.number == session.number)
        user, is_same = self._now(row.user), row.second_factor_at == session.second_factor_at
        if user is None or user.version != session.user.version or not user.is_usable:
            return None
        if row.ended_at is not None or row.level != session.level or not is_same:
            return None
        self.audit_log.keep(event)
        self.rows[old] = replace(row, ended_at=now)
        self.rows[digest] = risen = replace(
            row,
            level=FULL,
            renewals=row.renewals + 1,
            method=method,
            second_factor_at=now,
            proved_at=now,
            last_used_at=now,
        )
        return replace(risen)

    async def trust(
        self,
        number: int,
        at: float | None,
        until: float | None,
        fingerprint: str | None,
        now: float,
        renewal: Renewal | None = None,
    ) -> bool:
        live = [s for s in self.rows.values() if s.number == number and s.ended_at is None]
        for session in live:
            session.second_factor_at, session.proved_at = at, now
            session.trusted_until, session.trusted_fingerprint = until, fingerprint
        self.renew(renewal)
        return bool(live)

    async def prove(self, number: int, now: float, renewal: Renewal | None = None) -> bool:
        live = [s for s in self.rows.values() if s.number == number and s.ended_at is None]
        for session in live:
            session.proved_at = now
        self.renew(renewal)
        return bool(live)

    def renew(self, renewal: Renewal | None, **values: Any) -> None:
        if renewal is None:
            return
        wanted = renewal.session
        for old, row in list(self.rows.items()):
            if row.number == wanted.number and row.ended_at is None:
                if row.renewals != wanted.renewals:
                    raise SessionNotFound
                self.rows[old] = replace(row, ended_at=wanted.created_at)
                self.rows[renewal.digest] = replace(
                    row, renewals=row.renewals + 1, method=wanted.method, **values
                )
                return
        raise SessionNotFound

    async def end(self, number: int, now: float, by: str, event: Event | None = None) -> bool:
        ended = [s for s in self.rows.values() if s.number == number and s.ended_at is None]
        for session in ended:
            session.ended_at, session.ended_by = now, by
        self.audit_log.keep(event if ended else None)
        return bool(ended)

    async def end_all(
        self,
        user: int,
        now: float,
        by: str,
        but: int | None,
        event: Event | None = None,
        renewal: Renewal | None = None,
    ) -> int:
        mine = [s for s in self.rows.values() if s.user.number == user and s.number != but]
        ended = sum([await self.end(session.number, now, by) for session in mine])
        self.renew(renewal)
        self.audit_log.keep(None if event is None else add_count(event, ended))
        return ended

    async def end_many(
        self, numbers: Sequence[int], now: float, by: str, events: Sequence[Event] = ()
    ) -> int:
        return sum([await self.end(number, now, by) for number in numbers])

    async def purge(self, before: float, limit: int) -> int:
        over = [d for d, s in self.rows.items() if min(s.ends_at(), s.ended_at or before) < before]
        for digest in over[:limit]:
            del self.rows[digest]
        return len(over[:limit])

    def opened(self, before: float, now: float) -> list[Session]:
        live = [s for s in self.rows.values() if s.ended_at is None and s.ends_at() > now]
        return [session for session in live if session.created_at < before]

    async def end_opened(self, before: float, now: float, by: str, event: Event) -> int:
        found = self.opened(before, now)
        ended = sum([await self.end(session.number, now, by) for session in found])
        self.audit_log.keep(add_count(event, ended))
        return ended

    async def list(self, user: int, now: float, most: int | None = None) -> Sequence[Session]:
        mine = [replace(s) for s in self.rows.values() if s.user.number == user]
        return [s for s in mine if s.ended_at is None and s.ends_at() > now][:most]

    async def correct(self, most: float, now: float) -> None:
        for session in self.rows.values():
            if session.last_used_at > most:
                session.last_used_at = now

    async def touch(self, used: Sequence[tuple[int, float]]) -> None:
        for session in self.rows.values():
            session.last_used_at = max(session.last_used_at, dict(used).get(session.number, 0.0))

    def _now(self, user: User) -> User | None:
        assert self.users is not None
        row = self.users.rows.get(user.number)
        return None if row is None else row.user


@dataclass
class MemoryTrail:
    """Implements Trail."""

    events: list[Event] = field(default_factory=list)
    silent: bool = False

    def keep(self, event: Event | None) -> None:
        if event is not None:
            if self.silent:
                raise StorageUnavailable
            self.events.append(event)

    def kinds(self) -> Sequence[Kind]:
        return [event.kind for event in self.events]

    async def record(self, event: Event) -> None:
        self.keep(event)

    async def latest(self, wanted: RecordFilter, limit: int) -> Sequence[Record]:
        return (await self.after(0, wanted))[-limit:]

    async def purge(self, before: float, limit: int) -> int:
        old = [event for event in self.events if event.at < before][:limit]
        self.events = [event for event in self.events if event not in old]
        return len(old)

    async def after(
        self, number: int, wanted: RecordFilter, limit: int | None = None
    ) -> Sequence[Record]:
        records = [Record(i, event) for i, event in enumerate(self.events, 1)]
        return [record for record in records if record.number > number][:limit]


@dataclass
class MemoryAttempts:
    """Implements AttemptStore."""

    audit_log: MemoryTrail
    rows: list[tuple[str, Budget, float]] = field(default_factory=list)
    ends: dict[str, tuple[float, str]] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)

    async def locked(self, budgets: Sequence[str], now: float) -> tuple[str, float] | None:
        ends = ((key, self.ends.get(key, (0.0, ""))[0]) for key in budgets)
        return next((one for one in ends if one[1] > now), None)

    async def refused(self, counts: Mapping[str, int]) -> None:
        for key, count in counts.items():
            self.refusals[key] = self.refusals.get(key, 0) + count

    async def settle(self, now: float, limit: int) -> int:
        over = [key for key in self.refusals if self.ends.get(key, (0.0, ""))[0] <= now]
        for key in over:
            detail = f"{self.refusals.pop(key)} more refused"
            self.audit_log.keep(Event(now, Kind.LOCK_ENDED, detail=detail))
        return len(over)

    async def spend(
        self, attempt: str, wanted: Sequence[Budget], period: Period, now: float
    ) -> Spent:
        last = {budget.key: self.ends.get(budget.key, (0.0, ""))[0] for budget in wanted}
        for budget in wanted:
            if budget.shown and last[budget.key] > now:
                return Spent(locked=(budget.key, last[budget.key]))
        emptied = []
        for budget in wanted:
            since = max(now - period.window_s, last[budget.key] - 1e-6)
            self.rows.append((attempt, budget, now))
            add_count = [at for _, b, at in self.rows if b.key == budget.key and at > since]
            if len(add_count) >= budget.limit and last[budget.key] <= now:
                self.ends[budget.key] = (now + period.ban_s, attempt)
                emptied.append(budget.key)
        is_refused = any(until > now for until in last.values())
        return Spent(exhausted=tuple(emptied), is_refused=is_refused)

    async def give_back(self, attempt: str, cleared: Sequence[str] = ()) -> None:
        self.rows = [row for row in self.rows if row[0] != attempt and row[1].key not in cleared]
        self.ends = {
            key: (until, by)
            for key, (until, by) in self.ends.items()
            if by != attempt and key not in cleared
        }

    async def locks(self, now: float) -> Sequence[Lock]:
        return [Lock("user", key, None, end) for key, (end, _) in self.ends.items() if end > now]

    async def lift(
        self,
        *,
        user: int | None = None,
        endings: Sequence[str] = (),
        networks: Sequence[str] = (),
        event: Event,
    ) -> int:
        of = {
            b.key
            for _, b, _ in self.rows
            if (b.user == user and user) or b.key in networks or b.key.endswith(tuple(endings))
        }
        lifted = {k.partition(" ")[0] for k in of if self.ends.get(k, (0.0, ""))[0] > event.at}
        await self.give_back("", list(of))
        self.audit_log.keep(event)
        return len(lifted)

    async def purge(self, before: float, now: float, limit: int) -> int:
        kept = [row for row in self.rows if row[2] >= before]
        gone, self.rows = len(self.rows) - len(kept), kept
        return gone


@dataclass
class MemoryDirectory:
    """Implements Directory. Entries can be added and removed."""

    source: str = "config"
    warnings: Sequence[str] = ()
    coming: MemoryDirectory | Exception | None = None
    kept: dict[str, DirectoryEntry] = field(default_factory=dict)

    def keep(self, username: str, password_hash: str = "", email: str | None = None) -> None:
        emails = () if email is None else (Email(email, True),)
        key = username.casefold()
        self.kept[key] = DirectoryEntry(
            key, username, password_hash, FILE, emails=emails, groups=("g",)
        )

    def fresh(self) -> MemoryDirectory | None:
        coming, self.coming = self.coming, None
        if isinstance(coming, Exception):
            raise coming
        return coming

    def by_name(self, key: str) -> DirectoryEntry | None:
        return self.kept.get(key)

    def by_handle(self, key: str) -> DirectoryEntry | None:
        by_address = (e for e in self.kept.values() if any(m.address == key for m in e.emails))
        return self.kept.get(key) or next(by_address, None)

    def entries(self) -> Iterable[DirectoryEntry]:
        return self.kept.values()

    def handles(self) -> Iterable[str]:
        return [*self.kept, *(m.address for e in self.kept.values() for m in e.emails)]


def _described(source: str, key: str, username: str) -> NewUser:
    return NewUser(randomness.public_id(), source, username, key, (), None, None)


def _user(number: int, new: NewUser, now: float) -> User:
    return User(
        number=number,
        id=new.id,
        source=new.source,
        username=new.username,
        name=new.name,
        emails=new.emails,
        groups=new.groups,
        roles=new.roles,
        super_admin=new.super_admin,
        active=new.active,
        banned=False,
        must_change_password=new.must_change_password,
        created_at=now,
    )
