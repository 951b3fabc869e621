"""The tables of failed passwords and of the budgets they use up. It counts; the core decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update

from doorward.accounts.audit.audit_log import REFUSED, Event, Kind
from doorward.accounts.passwords.regulation import NOBODY, Budget, Lock, Period, Spent
from doorward.storage.audit_log import AuditLogRows
from doorward.storage.connection import AsyncConnection
from doorward.storage.engine import Engine
from doorward.storage.row_locks import in_order, locked
from doorward.storage.tables import attempts, budgets, users

NEVER = 0.0


class AttemptRows:
    """Implements `doorward.accounts.passwords.regulation.AttemptStore`."""

    __slots__ = ("_audit_log", "_engine")

    def __init__(self, engine: Engine, audit_log: AuditLogRows) -> None:
        self._engine = engine
        self._audit_log = audit_log

    async def locked(self, budgets_: Sequence[str], now: float) -> tuple[str, float] | None:
        c = budgets.c
        query = select(c.budget, c.locked_until).where(c.budget.in_(budgets_), c.locked_until > now)
        async with self._engine.reading() as connection:
            found = {row.budget: row.locked_until for row in await connection.execute(query)}
        return next(((key, found[key]) for key in budgets_ if key in found), None)

    async def spend(
        self, attempt: str, wanted: Sequence[Budget], period: Period, now: float
    ) -> Spent:
        async with self._engine.writing() as connection:
            # A transaction that holds the row of a budget counts it alone, until commit.
            held = {}
            for budget in sorted(wanted, key=lambda one: one.key):
                until = await self._hold(connection, budget, now)
                if until > now + period.ban_s:  # set by a clock that was ahead
                    until = now + period.ban_s
                    await _lock(connection, budget.key, until)
                held[budget.key] = until
            for budget in wanted:
                if budget.shown and held[budget.key] > now:
                    return Spent(locked=(budget.key, held[budget.key]))
            emptied = [
                budget.key
                for budget in wanted
                if await _spend(connection, attempt, budget, held[budget.key], period, now)
            ]
            is_refused = any(until > now for until in held.values())
            return Spent(exhausted=tuple(emptied), is_refused=is_refused)

    async def _hold(self, connection: AsyncConnection, budget: Budget, now: float) -> float:
        """Until when the budget is or was locked; its row is created if missing, and locked."""
        values = {
            "budget": budget.key,
            "network": budget.network,
            "user_number": budget.user,
            "touched_at": now,
            "locked_until": NEVER,
            "locked_by": "",
            "refused": 0,
        }
        # A name may belong to another user now.
        changed = {"touched_at": now, "user_number": budget.user}
        query = self._engine.insert_or_update(budgets, values, **changed)
        return float(
            (await connection.execute(query.returning(budgets.c.locked_until))).scalar_one()
        )

    async def give_back(self, attempt: str, cleared: Sequence[str] = ()) -> None:
        mine, c = attempts.c.attempt == attempt, budgets.c
        async with self._engine.writing() as connection:
            await _unlock(connection, or_(c.locked_by == attempt, c.budget.in_(cleared)))
            which = locked(attempts, or_(mine, attempts.c.budget.in_(cleared)))
            await connection.execute(delete(attempts).where(which))

    async def locks(self, now: float) -> Sequence[Lock]:
        return await locks_at(self._engine, now)

    async def refused(self, counts: Mapping[str, int]) -> None:
        c = budgets.c
        async with self._engine.writing() as connection:
            for key in sorted(counts):
                query = update(budgets).where(c.budget == key)
                await connection.execute(query.values(refused=c.refused + counts[key]))

    async def settle(self, now: float, limit: int) -> int:
        c = budgets.c
        over = (c.refused > 0) & (c.locked_until <= now)
        query = select(c.budget).where(over).limit(limit)
        async with self._engine.reading() as connection:  # mostly there is none
            if not list(await connection.scalars(query)):
                return 0
        # One of several processes finds a row: the others skip it, or find nothing any more.
        held = query.with_for_update(skip_locked=True)
        async with self._engine.writing() as connection:
            keys = list(await connection.scalars(held))
            whose = select(c.budget, c.network, c.refused, users.c.username).outerjoin(
                users, users.c.number == c.user_number
            )
            found = list(await connection.execute(whose.where(c.budget.in_(keys))))
            settled = locked(budgets, c.budget.in_(keys))
            await connection.execute(update(budgets).where(settled).values(refused=0))
            ended = [_build_lock_end(row, now) for row in found]
            records = await self._audit_log.write(connection, ended)
        await self._audit_log.tell(records)
        return len(records)

    async def lift(
        self,
        *,
        user: int | None = None,
        endings: Sequence[str] = (),
        networks: Sequence[str] = (),
        event: Event,
    ) -> int:
        c = budgets.c
        own = [] if user is None else [c.user_number == user]
        chosen = or_(c.budget.in_(networks), *own, *map(c.budget.endswith, endings))
        query = select(c.budget, c.network, c.locked_until).where(chosen)
        async with self._engine.writing() as connection:
            found = list(await connection.execute(query))
            await _unlock(connection, chosen)
            lifted = [row.budget for row in found]
            theirs = locked(attempts, attempts.c.budget.in_(lifted))
            await connection.execute(delete(attempts).where(theirs))
            records = await self._audit_log.write(connection, [event])
        await self._audit_log.tell(records)
        # A user's name and the user are locked out together.
        return len({row.network for row in found if row.locked_until > event.at})

    async def purge(self, before: float, now: float, limit: int) -> int:
        c = budgets.c
        old = (c.touched_at < before) & (c.locked_until <= now) & (c.refused == 0)
        # Rows that a login has locked are left for the next time.
        stale = in_order(budgets, old, skip_locked=True)
        async with self._engine.writing() as connection:
            gone = list(await connection.scalars(stale.limit(limit)))
            which = locked(budgets, c.budget.in_(gone))
            await connection.execute(delete(budgets).where(which))
            over = locked(attempts, attempts.c.at < before)
            await connection.execute(delete(attempts).where(over))
        return len(gone)


async def locks_at(engine: Engine, now: float, limit: int | None = None) -> Sequence[Lock]:
    """Current lock-outs, the next to end first; one per user and network."""
    c = budgets.c
    query = (
        select(c.network, c.user_number, c.budget, c.locked_until, users.c.username)
        .outerjoin(users, users.c.number == c.user_number)
        # Locked out together with the name that was typed.
        .where(c.locked_until > now, ~c.budget.contains(f" {NOBODY} "))
        .order_by(c.locked_until, c.budget)
        .limit(None if limit is None else 2 * limit)
    )
    found: dict[tuple[str, object], Lock] = {}
    async with engine.reading() as connection:
        for row in await connection.execute(query):
            scope = "network" if row.budget == row.network else "user"
            known = row.user_number if scope == "user" else None
            key = row.network, row.budget if known is None else known
            found.pop(key, None)  # of a user and the user's names, the lock-out that ends last
            found[key] = Lock(scope, row.network, row.username, row.locked_until)
    return list(found.values())[:limit]


def _build_lock_end(row: Any, now: float) -> Event:
    """Not made by any request."""
    scope = "network" if row.budget == row.network else "user"
    return Event(
        at=now,
        kind=Kind.LOCK_ENDED,
        subject=row.username or "",
        address=row.network.removesuffix("/32"),
        outcome=REFUSED,
        detail=f"{scope}: {row.refused} more refused",
    )


async def _spend(
    connection: AsyncConnection,
    attempt: str,
    budget: Budget,
    last_lock: float,
    period: Period,
    now: float,
) -> bool:
    """Whether this attempt used up the budget: then it is locked."""
    # Attempts before a lock-out that is over do not count towards the next one, and neither do
    # attempts of a clock that was ahead. Attempts from hosts whose clocks differ a little count
    # together.
    at = attempts.c.at
    recent = (at > now - period.window_s) & (at >= last_lock) & (at < now + period.window_s)
    add_count = select(func.count()).where(attempts.c.budget == budget.key, recent)
    spent = int(await connection.scalar(add_count) or 0) + 1
    await connection.execute(insert(attempts).values(attempt=attempt, budget=budget.key, at=now))
    if spent < budget.limit or last_lock > now:  # attempts during a lock-out do not extend it
        return False
    await _lock(connection, budget.key, now + period.ban_s, attempt)
    return True


async def _lock(connection: AsyncConnection, key: str, until: float, by: str = "") -> None:
    mine = update(budgets).where(budgets.c.budget == key)
    await connection.execute(mine.values(locked_until=until, locked_by=by))


async def _unlock(connection: AsyncConnection, which: ColumnElement[bool]) -> None:
    """In the same order as in `spend`, so that two transactions never wait for each other."""
    for key in sorted(await connection.scalars(select(budgets.c.budget).where(which))):
        await _lock(connection, key, NEVER)
