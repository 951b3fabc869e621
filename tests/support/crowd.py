"""A database with very many users and records, written in a few seconds without the core."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from doorward.storage.database import DATABASE_FILE, SQLITE, open_storage

from tests.support.people import NOW

MANY = 100_000


def fill(folder: Path, many: int = MANY) -> None:
    """`User000001` and so on, each with an address and a record; every thousandth is banned."""

    async def make() -> None:
        await (await open_storage(SQLITE, folder)).close()

    if not (folder / DATABASE_FILE).exists():
        asyncio.run(make())
    numbers = range(10_000, 10_000 + many)
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as connection, connection:
        connection.executemany(
            """INSERT INTO users (number, id, source, username, username_key, name, emails, groups,
            roles, super_admin, active, banned, must_change_password, password_hash,
            password_scheme, created_at, version) VALUES (?, ?, 'database', ?, ?, NULL, '[]', '[]',
            '[]', 0, 1, ?, 0, 'h', 'argon2id-sha256', 0, 0)""",
            (
                (
                    i,
                    f"A{i:016}".replace("0", "B").replace("1", "C"),
                    name,
                    name.lower(),
                    i % 1000 == 0,
                )
                for i in numbers
                for name in [f"User{i:06}"]
            ),
        )
        connection.executemany(
            "INSERT INTO handles VALUES (?, ?)",
            ((h, i) for i in numbers for h in (f"user{i:06}", f"mail{i:06}@example.com")),
        )
        connection.executemany(
            """INSERT INTO audit (at, kind, actor, subject, address, session, request_id, outcome,
            detail) VALUES (?, 'login', 'User010001', ?, '', '', '', 'done', '')""",
            ((NOW + i, f"User{10_000 + i % 5000:06}") for i in numbers),
        )
