"""Checks that every statement locks rows in the order of `doorward.storage.row_locks`. It must not
know any operation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from doorward.storage.row_locks import LOCK_ORDER
from doorward.storage.tables import feed_counter, metadata
from sqlalchemy import Delete, Engine, Insert, Select, Table, UniqueConstraint, Update, event
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, Grouping

RANKS = {table: rank for rank, table in enumerate(LOCK_ORDER)}
# One row.
SINGLE = {feed_counter}
# Deleted in any order with the row that they belong to: operations lock that row first, or only
# change one of these and the feed.
WITH_THEIR_ROW = {
    "handles", "application_credentials", "recovery_codes", "enrolments", "handovers",
    "host_tokens",
}  # fmt: skip
# Only locked by a transaction that has locked the counter.
AFTER_THE_COUNTER = {"feed"}


class OutOfOrder(AssertionError):
    """A statement that could cause a deadlock with another one."""


@contextmanager
def watched() -> Iterator[None]:
    """Within the block, executing a statement out of order raises OutOfOrder."""
    event.listen(Engine, "begin", _begin)
    event.listen(Engine, "before_execute", _check)
    try:
        yield
    finally:
        event.remove(Engine, "begin", _begin)
        event.remove(Engine, "before_execute", _check)


def _begin(connection: Any) -> None:
    connection.info["locked"] = []


def _check(connection: Any, statement: Any, *_: object) -> None:
    if getattr(statement, "is_dml", False) and statement.table not in RANKS:
        return  # a migration, which runs alone
    locked: list[Table] = connection.info.setdefault("locked", [])
    for table in list_locked(statement):
        if table not in locked and locked and RANKS[table] < max(RANKS[t] for t in locked):
            raise OutOfOrder(f"{table} after {', '.join(map(str, locked))}: {statement}")
        locked.append(table)
    if isinstance(statement, Delete):
        for child in metadata.sorted_tables:
            if child.name in WITH_THEIR_ROW or child in locked:
                continue
            if any(key.column.table is statement.table for key in child.foreign_keys):
                raise OutOfOrder(f"{child}, in no order, with {statement.table}: {statement}")


def list_locked(statement: Any) -> list[Table]:
    """The tables of which it locks rows. Raises OutOfOrder for unordered rows of one table."""
    if isinstance(statement, Insert):
        table = _table(statement.table)
        parents = {key.column.table for key in table.foreign_keys}
        return sorted((*parents, table), key=RANKS.__getitem__)
    if isinstance(statement, (Update, Delete)):
        table = _table(statement.table)
        if not is_one_row(table, statement) and not has_order(statement):
            raise OutOfOrder(f"Several rows of {table}, not by `locked`: {statement}")
        return [table]
    wait = getattr(statement, "_for_update_arg", None)
    if not isinstance(statement, Select) or wait is None or wait.skip_locked:
        return []
    of = wait.of or statement.get_final_froms()
    table = _table(getattr(of[0], "table", of[0]))
    if not is_one_row(table, statement) and not is_ordered(statement, table):
        raise OutOfOrder(f"Several rows of {table}, not by `in_order`: {statement}")
    return [table]


def _table(found: object) -> Table:
    assert isinstance(found, Table)
    return found


def is_one_row(table: Table, statement: Any) -> bool:
    fixed = {column for column in _equal(statement.whereclause) if column.table is table}
    unique = [[*c.columns] for c in table.constraints if isinstance(c, UniqueConstraint)]
    keys = [[*table.primary_key], *unique]
    return table in SINGLE or any(fixed.issuperset(key) for key in keys)


def has_order(statement: Any) -> bool:
    """Whether its conditions are those of `locked`, or its table needs none."""
    if statement.table.name in AFTER_THE_COUNTER:
        return True
    return any(
        clause.operator is operators.in_op and _locks(clause.right)
        for clause in _conditions(statement.whereclause)
        if isinstance(clause, BinaryExpression)
    )


def is_ordered(query: Any, table: Table) -> bool:
    return [*query._order_by_clauses] == [*table.primary_key]


def _locks(right: Any) -> bool:
    query = getattr(right, "element", right)
    return getattr(query, "_for_update_arg", None) is not None and bool(query._order_by_clauses)


def _conditions(clause: Any) -> Iterator[Any]:
    if isinstance(clause, Grouping):
        clause = clause.element
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for one in clause.clauses:
            yield from _conditions(one)
    elif clause is not None:
        yield clause


def _equal(clause: Any) -> Iterator[Any]:
    """The columns that must equal a value."""
    for one in _conditions(clause):
        if isinstance(one, BinaryExpression) and one.operator is operators.eq:
            yield one.left
