"""Writes many rows without holding up the event loop. Must not know what they contain.

SQLAlchemy prepares all parameters of a call in the event loop: 27 ms for 20,000 rows. Between
chunks the loop answers requests, while the database works in a thread. Rows that a generator makes
are made chunk by chunk, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Executable, Row

from doorward.storage.connection import AsyncConnection
from doorward.storage.rows import CHUNK


async def execute_many(
    connection: AsyncConnection, query: Executable, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Execute a query once for each of these parameters, within the caller's transaction."""
    for batch in _batches(rows):
        await connection.execute(query, batch)


async def insert_many(
    connection: AsyncConnection, query: Executable, rows: Iterable[Mapping[str, Any]]
) -> AsyncIterator[Sequence[Row[Any]]]:
    """The same for an INSERT with RETURNING: the rows of each chunk, in no order."""
    for batch in _batches(rows):
        yield (await connection.execute(query, batch)).all()


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while batch := list(islice(left, CHUNK)):
        yield batch
