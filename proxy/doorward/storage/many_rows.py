"""Writes many rows without holding up the event loop. Must not know what they contain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, Row

from doorward.storage.connection import AsyncConnection
from doorward.storage.rows import chunks


async def execute_many(
    connection: AsyncConnection, query: Executable, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Execute a query once for each of these parameters, within the caller's transaction.

    SQLAlchemy prepares all parameters of a call in the event loop: 27 ms for 20,000 rows. Between
    chunks the loop answers requests, while the database works in a thread.
    """
    for chunk in chunks(rows):
        await connection.execute(query, chunk)


async def insert_many(
    connection: AsyncConnection, query: Executable, rows: Sequence[Mapping[str, Any]]
) -> list[Row[Any]]:
    """The same for an INSERT with RETURNING. The rows that it returns are in no order."""
    returned: list[Row[Any]] = []
    for chunk in chunks(rows):
        returned += await connection.execute(query, chunk)
    return returned
