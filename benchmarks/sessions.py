"""Thousands of Doorward sessions, written directly because real logins would take too long.

It knows Doorward's database and keys, and must not know what the sessions are for.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from doorward.accounts.randomness import public_id, session_token
from doorward.accounts.sessions.tokens import Tokens
from doorward.settings import load_settings
from doorward.wiring.keys import KeyFiles


def many_sessions(config: Path, count: int, wanted: int) -> list[str]:
    """Write copies of each user's latest session into the database, users in turn. Returns the
    cookies of some."""
    settings = load_settings(config, {})
    tokens = Tokens(KeyFiles(settings, time.time()).keys)
    database = sqlite3.connect(settings.data_dir / "doorward.db")
    names = [row[1] for row in database.execute("PRAGMA table_info(sessions)")]
    database.row_factory = sqlite3.Row
    latest = database.execute("SELECT *, max(number) FROM sessions GROUP BY user_number")
    rows_of_users = [{name: row[name] for name in names} for row in latest]
    last = max(row["number"] for row in rows_of_users)
    chosen = set(random.sample(range(count), wanted))
    cookies = []

    def rows() -> Iterator[list[object]]:
        for number in range(count):
            token = session_token()
            if number in chosen:
                cookies.append(f"doorward={tokens.sign(token)}")
            row = rows_of_users[number % len(rows_of_users)]
            more = {
                "number": last + 1 + number,
                "id": public_id(),
                "iat": row["iat"] + 1 + number,
                "token_digest": sha256(token.encode()).digest(),
            }
            yield [(row | more)[name] for name in names]

    marks = ", ".join("?" * len(names))
    with database:
        database.executemany(f"INSERT INTO sessions VALUES ({marks})", rows())  # noqa: S608
    database.close()
    return cookies
