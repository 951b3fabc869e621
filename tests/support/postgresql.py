"""A private PostgreSQL server for the tests: created, started on its own socket, deleted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

HOW_TO_GET_IT = "PostgreSQL is not installed: `apt-get install postgresql` brings initdb"


def _find_binaries() -> Path | None:
    """The folder with initdb and pg_ctl. Debian has one per release, not in the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


@contextmanager
def server() -> Iterator[str]:
    """Run the server; yields the folder of its socket. Skips the test if it is not installed."""
    if (binaries := _find_binaries()) is None:
        pytest.skip(HOW_TO_GET_IT)
    # Not in pytest's temporary folder: only its owner has access, and paths of sockets are short.
    home = Path(tempfile.mkdtemp(prefix="doorward-pg-"))
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(home, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=user, stdout=subprocess.DEVNULL, cwd=home)

    data, control = str(home / "data"), str(binaries / "pg_ctl")
    try:
        run(str(binaries / "initdb"), "-D", data, "-U", "doorward", "-A", "trust", "--no-sync")
        options = f"-k {home} -c listen_addresses='' -c fsync=off -c max_connections=200"
        run(control, "-D", data, "-w", "-l", str(home / "log"), "-o", options, "start")
        try:
            yield str(home)
        finally:
            run(control, "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home)


async def fresh_database(socket: str, name: str, template: str = "template1") -> str:
    """The URL of a new database: empty, or a copy of a template, to which there must be no
    connections."""
    connection = await asyncpg.connect(host=socket, user="doorward", database="postgres")
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
    return f"postgresql://doorward@/{name}?host={socket}"
