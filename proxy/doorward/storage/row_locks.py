"""Locks several rows at a time, always in the same order, so that two transactions never wait for
each other (a deadlock). It must not know what the rows mean.

Only PostgreSQL locks rows. An UPDATE or DELETE of several rows locks them in the order in which it
finds them, which differs from plan to plan; so it takes its condition from `locked`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, select, tuple_

from doorward.storage.connection import AsyncConnection
from doorward.storage.rows import chunks
from doorward.storage.tables import (
    application_credentials,
    attempts,
    audit,
    budgets,
    enrolments,
    factors,
    feed,
    feed_counter,
    handles,
    handovers,
    host_tokens,
    recovery_codes,
    sessions,
    tokens,
    users,
)

# A transaction that locks rows of several tables takes them in this order, and the rows of a table
# in the order of their primary key. Adding a row locks the row that it refers to.
LOCK_ORDER = (
    users, handles, application_credentials, factors, recovery_codes, sessions, enrolments,
    handovers, host_tokens, tokens, budgets, attempts, feed_counter, feed, audit,
)  # fmt: skip


def in_order(
    table: Table, *conditions: ColumnElement[bool], skip_locked: bool = False
) -> Select[Any]:
    """A query for the primary keys of these rows that locks each until commit."""
    key = table.primary_key
    query = select(*key).where(*conditions).order_by(*key)
    return query.with_for_update(skip_locked=skip_locked)


def locked(
    table: Table, *conditions: ColumnElement[bool], skip_locked: bool = False
) -> ColumnElement[bool]:
    """The condition for an UPDATE or DELETE of these rows."""
    key = [*table.primary_key]
    which = in_order(table, *conditions, skip_locked=skip_locked)
    return (key[0] if len(key) == 1 else tuple_(*key)).in_(which)


async def hold(
    connection: AsyncConnection, table: Table, numbers: Iterable[int], *conditions: Any
) -> list[int]:
    """Locks the rows with these numbers that meet the conditions. Returns their numbers."""
    held: list[int] = []
    for chunk in chunks(sorted(numbers)):
        which = in_order(table, table.c.number.in_(chunk), *conditions)
        held += await connection.scalars(which)
    return held
