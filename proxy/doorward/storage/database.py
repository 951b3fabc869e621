"""Opens and closes the database as a whole. It must not know the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from doorward.settings import Settings
from doorward.storage.access import AccessRows
from doorward.storage.application_credentials import CredentialRows
from doorward.storage.attempts import AttemptRows
from doorward.storage.audit_log import AuditLogRows, Tell
from doorward.storage.engine import Engine, postgresql_engine, sqlite_engine, sqlite_reader
from doorward.storage.factors import FactorRows
from doorward.storage.fault import StorageFault
from doorward.storage.feed import FeedRows
from doorward.storage.handovers import HandoverRows
from doorward.storage.key_uses import KeyUseRows
from doorward.storage.listings import ListingRows
from doorward.storage.marker import Marker
from doorward.storage.postgres_notify import PostgresNotify
from doorward.storage.schema import has_tables, migrate
from doorward.storage.sessions import SessionRows
from doorward.storage.tokens import TokenRows
from doorward.storage.users import UserRows

SQLITE = "sqlite"
DATABASE_FILE = "doorward.db"
LOCK_FILE = "doorward.lock"
MARKER_FILE = "revocations"


@dataclass(frozen=True, slots=True)
class Database:
    """The implementations of the core's Protocols."""

    engine: Engine
    marker: Marker
    users: UserRows
    sessions: SessionRows
    access: AccessRows
    tokens: TokenRows
    factors: FactorRows
    credentials: CredentialRows
    feed: FeedRows
    attempts: AttemptRows
    audit_log: AuditLogRows
    notices: PostgresNotify
    listings: ListingRows
    handovers: HandoverRows
    key_uses: KeyUseRows

    async def close(self) -> None:
        await self.notices.close()
        await self.engine.close()
        self.marker.close()


async def open_database(settings: Settings, tell: Tell | None = None) -> Database:
    """The database of these settings, with its tables created or migrated under a lock. `tell` is
    called with every audit record that is written.

    Raises StorageFault.
    """
    return await open_storage(settings.storage, settings.data_dir, tell)


async def open_storage(storage: str, data_dir: Path, tell: Tell | None = None) -> Database:
    """As `open_database`, with the two settings that it needs."""
    path = data_dir / DATABASE_FILE
    engine = sqlite_engine(path) if storage == SQLITE else postgresql_engine(storage)
    where = _name(storage, path)
    try:
        _make_directory(data_dir)
        fresh = await migrate(engine, where, data_dir / LOCK_FILE)
        marker = _marker(data_dir / MARKER_FILE, fresh)
    except BaseException:
        await engine.close()
        raise
    audit_log = AuditLogRows(engine, tell)
    notices = PostgresNotify(engine)
    feed = FeedRows(engine, marker, audit_log, notices)
    return Database(
        engine,
        marker,
        UserRows(engine, feed),
        SessionRows(engine, feed),
        AccessRows(engine, feed),
        TokenRows(engine, feed),
        FactorRows(engine, feed),
        CredentialRows(engine, feed),
        feed,
        AttemptRows(engine, audit_log),
        audit_log,
        notices,
        ListingRows(engine),
        HandoverRows(engine, feed),
        KeyUseRows(engine),
    )


@asynccontextmanager
async def open_key_uses(settings: Settings) -> AsyncIterator[KeyUseRows | None]:
    """Read what needs the keys, without creating or changing anything. None: there is no database
    yet. Raises StorageFault, also if a start would migrate the tables first."""
    path = settings.data_dir / DATABASE_FILE
    is_sqlite = settings.storage == SQLITE
    if is_sqlite and not path.exists():
        yield None
        return
    engine = sqlite_reader(path) if is_sqlite else postgresql_engine(settings.storage)
    try:
        is_there = await has_tables(engine, _name(settings.storage, path))
        yield KeyUseRows(engine) if is_there else None
    finally:
        await engine.close()


def _name(storage: str, path: Path) -> str:
    return str(path) if storage == SQLITE else _without_password(storage)


def _make_directory(data_dir: Path) -> None:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFault(f"data_dir: {data_dir}: {error.strerror}; name another one") from error


def _marker(path: Path, fresh: bool) -> Marker:
    try:
        return Marker(path, fresh)
    except OSError as error:
        raise StorageFault(
            f"data_dir: {path}: {error.strerror or error}; let the user that runs Doorward write"
            " there or name another data_dir"
        ) from error


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
