"""What a test need not pay: the work of a password hash, migrations, waiting for the disk, being
refused because the machine is busy, and grammars that nobody asks for.

Tests about one of these ask for the fixture `full_price`. Processes that tests start know nothing
of it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import cache, partial
from pathlib import Path

import pytest
from doorward.accounts.passwords import hashing
from doorward.pages import languages, rendering
from doorward.storage import engine
from doorward.storage.database import DATABASE_FILE, MARKER_FILE, SQLITE, open_storage
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from tests.support.waiting import PATIENCE_S

# jsonschema makes 38 grammars of it when it is imported, for formats that no schema here checks.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

Price = tuple[int, int, tuple[str, ...], float]
FULL_PRICE: Price = (
    hashing.TIME_COST,
    hashing.MEMORY_KIB,
    engine.PRAGMAS,
    engine.DEADLINE_S,
)
# The cheapest hash there is, a disk that nobody waits for, and time for a machine that is busy.
CHEAP: Price = 1, 8, (*engine.PRAGMAS, "PRAGMA synchronous = OFF"), PATIENCE_S


def set_price(patch: pytest.MonkeyPatch, price: Price) -> None:
    time_cost, memory_kib, pragmas, deadline_s = price
    patch.setattr(hashing, "TIME_COST", time_cost)
    patch.setattr(hashing, "MEMORY_KIB", memory_kib)
    patch.setattr(engine, "PRAGMAS", pragmas)
    for access in (engine.Engine.reading, engine.Engine.writing):
        function = getattr(access, "__wrapped__")  # noqa: B009
        patch.setattr(function, "__defaults__", (deadline_s,))


def share_compiled(patch: pytest.MonkeyPatch) -> None:
    """Compile templates and catalogues once in a process, and not once a core."""
    environment = partial(Environment, bytecode_cache=_Compiled())
    patch.setattr(rendering, "Environment", environment)
    compiled = cache(languages._compile)
    patch.setattr(languages, "_compile", lambda path, code: copy(compiled(path, code)))


class _Compiled(BytecodeCache):
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key] = bucket.bytecode_to_string()


def migrated(folder: Path) -> Path:
    """This folder with an empty database of the newest version in it, unless it has one."""
    if not (folder / DATABASE_FILE).exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in _files().items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(content)
    return folder


@cache
def _files() -> Mapping[str, bytes]:
    """What the first start leaves behind. Whoever asks may have a loop running already."""

    async def start() -> None:
        await (await open_storage(SQLITE, Path(folder))).close()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(start())).result()
        return {name: Path(folder, name).read_bytes() for name in (DATABASE_FILE, MARKER_FILE)}
