"""Saves time in tests: cheap password hashes, no migrations, no waiting for the disk, no refusals
on a busy machine, and no unused grammars.

Tests about one of these use the fixture `full_price`. Processes that tests start are not affected.
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

# jsonschema compiles 38 grammars with it on import, for formats that no schema here uses.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

Price = tuple[int, int, tuple[str, ...], float]
FULL_PRICE: Price = (
    hashing.TIME_COST,
    hashing.MEMORY_KIB,
    engine.PRAGMAS,
    engine.DEADLINE_S,
)
# The cheapest hash, no waiting for the disk, and longer timeouts for a busy machine.
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
    """Compile templates and catalogues once per process instead of once per core."""
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
    """Put an empty database of the newest version into this folder, unless it has one."""
    if not (folder / DATABASE_FILE).exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in _files().items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(content)
    return folder


@cache
def _files() -> Mapping[str, bytes]:
    """The files that the first start creates. The caller may already have a running event loop."""

    async def start() -> None:
        await (await open_storage(SQLITE, Path(folder))).close()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(start())).result()
        return {name: Path(folder, name).read_bytes() for name in (DATABASE_FILE, MARKER_FILE)}
