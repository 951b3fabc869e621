"""The tables of failed passwords and of the budgets they spend. It counts; the core says what."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from doorward.accounts.audit import Event
from doorward.accounts.regulation import Budget, Lock, Period, Spent
from doorward.storage.engine import Engine
from doorward.storage.tables import attempts, budgets, users
from doorward.storage.trail import TrailRows

NEVER = 0.0


class AttemptRows:
    """Fills `doorward.accounts.regulation.AttemptStore`."""

    __slots__ = ("_engine", "_trail")

    def __init__(self, engine: Engine, trail: TrailRows) -> None:
        self._engine = engine
        self._trail = trail

    async def spend(
        self, attempt: str, wanted: Sequence[Budget], period: Period, now: float
    ) -> Spent:
        async with self._engine.writing() as connection:
            # Whoever holds the row of a budget counts it alone, until commit. The order is the
            # caller's and always the same, so that two never wait for each other.
            held = []
            for budget in wanted:
                until = await self._hold(connection, budget, now)
                if until > now:
                    return Spent(locked=(budget.key, until))
                held.append((budget, until))
            emptied = [
                budget.key
                for budget, until in held
                if await _spend(connection, attempt, budget, until, period, now)
            ]
            return Spent(exhausted=tuple(emptied))

    async def _hold(self, connection: AsyncConnection, budget: Budget, now: float) -> float:
        """Until when the budget was locked last; its row is made when missing, and held."""
        values = {
            "budget": budget.key,
            "network": budget.network,
            "user_number": budget.user,
            "touched_at": now,
            "locked_until": NEVER,
            "locked_by": "",
        }
        query = self._engine.insert_or_update(budgets, values, touched_at=now)
        return float(
            (await connection.execute(query.returning(budgets.c.locked_until))).scalar_one()
        )

    async def give_back(self, attempt: str, cleared: Sequence[str] = ()) -> None:
        mine = attempts.c.attempt == attempt
        async with self._engine.writing() as connection:
            await _unlock(connection, budgets.c.locked_by == attempt)
            if cleared:
                await _unlock(connection, budgets.c.budget.in_(cleared))
            await connection.execute(
                delete(attempts).where(or_(mine, attempts.c.budget.in_(cleared)))
            )

    async def locks(self, now: float) -> Sequence[Lock]:
        return await locks_at(self._engine, now)

    async def lift(self, *, user: int | None, network: str | None, event: Event) -> int:
        query = select(budgets.c.budget, budgets.c.locked_until)
        chosen = budgets.c.user_number == user if user is not None else budgets.c.budget == network
        async with self._engine.writing() as connection:
            # In the order in which `spend` holds them: a network before its users.
            found = await connection.execute(
                query.where(chosen).order_by(budgets.c.budget).with_for_update()
            )
            locked = {row.budget: row.locked_until for row in found}
            await _unlock(connection, chosen)
            await connection.execute(delete(attempts).where(attempts.c.budget.in_(list(locked))))
            records = await self._trail.write(connection, [event])
        self._trail.tell(records)
        return sum(until > event.at for until in locked.values())

    async def purge(self, before: float, now: float, limit: int) -> int:
        old = (budgets.c.touched_at < before) & (budgets.c.locked_until <= now)
        # Rows that a login holds are left for the next time.
        stale = select(budgets.c.budget).where(old).with_for_update(skip_locked=True)
        async with self._engine.writing() as connection:
            gone = list(await connection.scalars(stale.limit(limit)))
            await connection.execute(delete(budgets).where(budgets.c.budget.in_(gone)))
            await connection.execute(delete(attempts).where(attempts.c.at < before))
        return len(gone)


async def locks_at(engine: Engine, now: float, limit: int | None = None) -> Sequence[Lock]:
    """Those that last, the next to end first."""
    query = (
        select(budgets.c.network, budgets.c.user_number, budgets.c.budget,
            budgets.c.locked_until, users.c.username)
        .outerjoin(users, users.c.number == budgets.c.user_number)
        .where(budgets.c.locked_until > now)
        .order_by(budgets.c.locked_until, budgets.c.budget)
        .limit(limit)
    )  # fmt: skip
    async with engine.reading() as connection:
        return [
            Lock(
                scope="network" if row.budget == row.network else "user",
                network=row.network,
                user=row.username,
                until=row.locked_until,
            )
            for row in await connection.execute(query)
        ]


async def _spend(
    connection: AsyncConnection,
    attempt: str,
    budget: Budget,
    last_lock: float,
    period: Period,
    now: float,
) -> bool:
    """Whether this attempt spent what was left: then the budget is locked."""
    # What led to a lock that is over does not lead to the next one.
    recent = (attempts.c.at > now - period.window_s) & (attempts.c.at >= last_lock)
    counted = select(func.count()).where(attempts.c.budget == budget.key, recent)
    spent = int(await connection.scalar(counted) or 0) + 1
    await connection.execute(insert(attempts).values(attempt=attempt, budget=budget.key, at=now))
    if spent < budget.limit:
        return False
    await connection.execute(
        update(budgets)
        .where(budgets.c.budget == budget.key)
        .values(locked_until=now + period.ban_s, locked_by=attempt)
    )
    return True


async def _unlock(connection: AsyncConnection, which: ColumnElement[bool]) -> None:
    await connection.execute(update(budgets).where(which).values(locked_until=NEVER, locked_by=""))
