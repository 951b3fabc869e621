"""Keys are rotated and retired while several processes run: everything that was signed stays
valid."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from doorward.accounts.application_credentials import ApplicationLogin
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.factors import totp
from doorward.accounts.keys import NOTICE_S
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.session import CLOCKS_DIFFER_S
from doorward.accounts.sessions.assertions import ES256, AssertionKeys
from doorward.accounts.sessions.sessions import ClientInfo, Lifetimes, Session
from doorward.accounts.sessions.tokens import Tokens
from doorward.accounts.token import MadeToken, NewToken, TokenUse
from doorward.accounts.user import User
from doorward.observe.audit import format_time
from doorward.settings import InvalidSettings, Settings, load_settings, settings_from
from doorward.settings.key_ring import find_first, make_first
from doorward.storage import StorageFault, tables
from doorward.storage.audit_log import AuditLogRows
from doorward.storage.database import DATABASE_FILE
from doorward.wiring import key_changes
from doorward.wiring.accounts import Accounts, build_accounts, renew_secrets
from doorward.wiring.key_changes import (
    ASSERTIONS,
    COOKIES,
    SHORT_LIVED_S,
    CannotRetire,
    list_keys,
    retire,
    rotate,
)
from doorward.wiring.keys import TAKEN_UP_S, KeyFiles, find_lost, find_unreadable
from sqlalchemy import LargeBinary

from tests.support.clock import FixedClock
from tests.support.savings import migrated
from tests.support.sessions import open_session

CLIENT = ClientInfo("192.0.2.1", "a browser")
LIFETIMES = Lifetimes(7 * 86_400.0, 7 * 86_400.0, 30 * 86_400.0, None)
# The time between two checks of the files by a worker: a second, or more if it is busy.
LATE_S = 3.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    migrated(tmp_path)
    return settings_from(
        {
            "data_dir": str(tmp_path),
            "routes": [
                {
                    "upstream": "http://127.0.0.1:9",
                    "assertion": {"audience": "wiki"},
                    "credentials": {"per_user": "basic"},
                }
            ],
        },
        tmp_path,
    )


async def log_in(server: Accounts, user: User, now: float) -> Session:
    opened = await open_session(
        server.sessions, user, client=CLIENT, lifetimes=LIFETIMES, now=now, proved_at=now
    )
    return opened.session


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@dataclass
class Owner:
    """An owner who runs commands, and a server that is running."""

    settings: Settings
    clock: FixedClock
    server: Accounts

    async def pass_time(self, seconds: float) -> None:
        """Advance the time; the server checks its keys and acts."""
        self.clock.now += seconds
        before = self.server.key_files.look(self.clock())
        if before is not None and not self.server.keys.signs_as(before):
            await renew_secrets(self.server)

    async def retire(self, key: str, force: bool = False) -> key_changes.Retirement:
        async with build_accounts(self.settings, self.clock) as accounts:
            return await retire(self.settings, accounts, key, self.clock(), force=force)

    async def log_in(self, user: User) -> Session:
        return await log_in(self.server, user, self.clock())

    async def refusal(self, key: str) -> str:
        with pytest.raises(CannotRetire) as caught:
            await self.retire(key)
        return str(caught.value)


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[Owner]:
    clock = FixedClock()
    async with build_accounts(settings, clock) as server:
        # The files of a test have real modification times, unlike its clock.
        clock.now = max(clock.now, find_first(settings).stat().st_mtime + 1)
        yield Owner(settings, clock, server)


@dataclass
class Worker:
    files: KeyFiles
    tokens: Tokens = field(init=False)
    assertions: AssertionKeys = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.files.keys)
        self.assertions = AssertionKeys(self.files.keys, ES256)


def test_no_worker_refuses_a_cookie_that_another_signed_during_rotations(
    settings: Settings,
) -> None:
    """Workers check their files at different times, and sign and verify all the time."""
    make_first(settings)
    clock = FixedClock()
    workers = [Worker(KeyFiles(settings, clock())) for _ in range(3)]
    signing: set[str] = set()
    for second in range(120):
        clock.now += 1
        if second in (5, 40, 80):
            rotate(settings, clock(), None, leaked=False)
        for number, worker in enumerate(workers):
            if second % LATE_S == number:
                worker.files.look(clock())
            cookies = [one.tokens.sign("a" * 43) for one in workers]
            assert all(worker.tokens.unsign(cookie.encode()) for cookie in cookies)
            signing.update(cookies)
    assert len(signing) == 4, "each new key signed in its turn"


async def test_verifiers_know_a_key_before_it_signs_assertions(
    settings: Settings, owner: Owner
) -> None:
    """A verifier fetches the key set right after the key is created, and caches it."""
    user = await owner.server.users.add("alice", "correct horse", now=owner.clock())
    session = await owner.log_in(user)
    worker = Worker(KeyFiles(settings, owner.clock()))
    rotate(settings, owner.clock(), None, leaked=False)
    signers = set()
    read_at, known = owner.clock.now, worker.assertions.public
    for _ in range(int(NOTICE_S) + 60):
        owner.clock.now += 1
        if owner.clock.now - read_at >= 600:  # the time for which jose caches it
            read_at, known = owner.clock.now, worker.assertions.public
        worker.files.look(owner.clock())
        text = worker.assertions.sign(session, "https://a", "wiki", owner.clock())
        signers.add(jwt.get_unverified_header(text)["kid"])
        assert jwt.get_unverified_header(text)["kid"] in [jwk["kid"] for jwk in known]
    assert len(signers) == 2 and len(worker.assertions.public) == 2


async def test_unusable_files_leave_the_keys_unchanged(
    settings: Settings,
) -> None:
    make_first(settings)
    clock = FixedClock()
    worker = Worker(KeyFiles(settings, clock()))
    cookie = worker.tokens.sign("a" * 43).encode()
    first = find_first(settings)
    content = first.read_bytes()
    first.write_text("half a li")
    assert worker.files.look(clock()) is None
    assert worker.tokens.unsign(cookie) == "a" * 43
    first.write_bytes(content)
    assert worker.files.look(clock()) is None
    assert worker.tokens.unsign(cookie) == "a" * 43


@pytest.mark.parametrize("what", ["the key", "the directory"])
async def test_a_missing_key_is_not_replaced_while_a_server_runs(
    settings: Settings, tmp_path: Path, what: str
) -> None:
    """Otherwise a short unmount of the volume, or a restore, would log everybody out."""
    clock = FixedClock()
    settings = settings.model_copy(update={"data_dir": tmp_path / "data"})
    make_first(settings)
    worker = Worker(KeyFiles(settings, clock()))
    worker.files.look(clock())
    cookie = worker.tokens.sign("a" * 43).encode()
    lost = find_first(settings) if what == "the key" else settings.data_dir
    aside = lost.rename(tmp_path / "aside")
    assert worker.files.look(clock()) is None
    assert worker.tokens.unsign(cookie) == "a" * 43
    assert not lost.exists(), "or what is moved back would not be at its place"
    aside.rename(lost)
    assert worker.files.look(clock()) is None
    assert worker.tokens.unsign(cookie) == "a" * 43


@dataclass
class Alice:
    """A user with a second factor, a session and an API token, all from before a rotation."""

    user: User
    session: Session
    secret: str
    token: MadeToken
    added: key_changes.AddedKey

    def code(self, now: float) -> str:
        return totp.code_at(self.secret, totp.step_at(now))


@pytest.fixture
async def alice(owner: Owner) -> Alice:
    server, now = owner.server, owner.clock()
    user = await server.users.add("alice", "correct horse", now=now)
    session = await owner.log_in(user)
    secret = (await server.second_factors.begin_totp(session, now)).secret
    code = totp.code_at(secret, totp.step_at(now))
    await server.second_factors.confirm_totp(session, secret, code, now)
    token = await server.api_tokens.add_token(user, NewToken("phone"), actor=OWNER, now=now)
    login = ApplicationLogin("/", "alice", "a password elsewhere")
    await server.credentials.set(user, login, actor=OWNER, now=now)
    return Alice(user, session, secret, token, rotate(owner.settings, now, None, leaked=False))


async def set_up_totp(server: Accounts, user: User, now: float) -> None:
    session = await log_in(server, user, now)
    secret = (await server.second_factors.begin_totp(session, now)).secret
    code = totp.code_at(secret, totp.step_at(now))
    await server.second_factors.confirm_totp(session, secret, code, now)
    await server.sessions.revoke_all(user, actor=OWNER, now=now)


async def add_token(server: Accounts, user: User, now: float) -> None:
    await server.api_tokens.add_token(user, NewToken("phone"), actor=OWNER, now=now)


async def set_credential(server: Accounts, user: User, now: float) -> None:
    login = ApplicationLogin("/", "alice", "a password elsewhere")
    await server.credentials.set(user, login, actor=OWNER, now=now)


Need = Callable[[Accounts, User, float], Awaitable[object]]


@pytest.mark.parametrize(
    ("need", "said"),
    [
        (log_in, "for 1 session;"),
        (set_up_totp, "for the secrets of 1 user;"),
        (add_token, "for 1 API token;"),
        (set_credential, "for the secrets of 1 user;"),
    ],
)
async def test_a_lost_key_is_not_replaced_while_something_needs_it(
    settings: Settings, tmp_path: Path, need: Need, said: str
) -> None:
    """A new one would log users out, also of a server that still runs with the old one."""
    clock = FixedClock()
    async with build_accounts(settings, clock) as server:
        user = await server.users.add("alice", "correct horse", now=clock())
        await need(server, user, clock())
    lost = find_first(settings).rename(tmp_path / "aside")
    for _ in range(2):
        before = contents(tmp_path)
        found = await find_lost(settings, clock())
        assert contents(tmp_path) == before, "a check changes nothing"
        with pytest.raises(InvalidSettings) as caught:
            async with build_accounts(settings, clock):
                pass
        assert f"{find_first(settings)} is missing, and the database needs it {said}" in str(
            caught.value
        )
        assert caught.value.faults == (found,)
        assert not find_first(settings).exists(), "or the old one could not be put back"
    lost.rename(find_first(settings))
    assert await find_lost(settings, clock()) is None
    async with build_accounts(settings, clock) as server:
        await renew_secrets(server)


async def test_a_lost_key_that_nothing_needs_is_replaced(
    settings: Settings, tmp_path: Path
) -> None:
    clock = FixedClock()
    async with build_accounts(settings, clock) as server:
        user = await server.users.add("alice", "correct horse", now=clock())
        await log_in(server, user, clock())
        await server.sessions.revoke_all(user, actor=OWNER, now=clock())
    find_first(settings).unlink()
    before = contents(tmp_path)
    assert await find_lost(settings, clock()) is None
    assert contents(tmp_path) == before
    async with build_accounts(settings, clock) as server:
        assert [key.path for key in server.key_files.files] == [find_first(settings)]
        cookie = server.tokens.sign("a" * 43).encode()
    async with build_accounts(settings, clock) as server:
        assert server.tokens.unsign(cookie) == "a" * 43


async def test_a_first_start_has_lost_no_key(settings: Settings, tmp_path: Path) -> None:
    empty = settings.model_copy(update={"data_dir": tmp_path / "new"})
    assert await find_lost(empty, FixedClock()()) is None
    assert not empty.data_dir.exists()


async def test_a_lost_key_is_found_beside_postgresql(
    settings: Settings, tmp_path: Path, migrated_postgresql_url: str
) -> None:
    clock = FixedClock()
    settings = settings.model_copy(update={"storage": migrated_postgresql_url})
    async with build_accounts(settings, clock) as server:
        await log_in(server, await server.users.add("alice", "correct horse", now=0.0), clock())
    find_first(settings).unlink()
    before = contents(tmp_path)
    found = await find_lost(settings, clock())
    assert "the database needs it for 1 session;" in str(found)
    assert contents(tmp_path) == before
    gone = settings.model_copy(update={"storage": f"postgresql://doorward@/x?host={tmp_path}"})
    with pytest.raises(StorageFault, match="it is not known whether the database"):
        await find_lost(gone, clock())


async def test_a_lost_key_is_not_known_beside_tables_of_an_older_release(
    settings: Settings,
) -> None:
    """`config check` said nothing about what the start after it then refused."""
    async with build_accounts(settings, FixedClock()):
        pass
    with closing(sqlite3.connect(settings.data_dir / DATABASE_FILE)) as database:
        database.execute("UPDATE alembic_version SET version_num = '0007'")
        database.commit()
    find_first(settings).unlink()
    with pytest.raises(StorageFault, match=r"is not known .* older release; `doorward serve` migr"):
        await find_lost(settings, FixedClock()())


@pytest.mark.parametrize("need", [set_up_totp, set_credential])
async def test_keys_that_open_no_secret_are_found_before_a_start(
    settings: Settings, tmp_path: Path, need: Need
) -> None:
    """As from a backup made before the key was replaced."""
    clock = FixedClock()
    async with build_accounts(settings, clock) as server:
        user = await server.users.add("alice", "correct horse", now=clock())
        assert await find_unreadable(settings, clock()) is None
        await need(server, user, clock())
    assert await find_unreadable(settings, clock()) is None
    old = find_first(settings).rename(tmp_path / "aside")
    make_first(settings)
    before = contents(tmp_path)
    found = await find_unreadable(settings, clock())
    assert "no key opens the secrets of 1 user, such as 'alice'" in str(found)
    assert contents(tmp_path) == before
    with pytest.raises(StorageFault, match="'alice'"):
        async with build_accounts(settings, clock) as server:
            await renew_secrets(server)
    both = settings.model_copy(update={"secret_files": (find_first(settings), old)})
    assert await find_unreadable(both, clock()) is None


async def test_a_key_created_by_another_process_is_used(
    settings: Settings, owner: Owner, alice: Alice, tmp_path: Path
) -> None:
    """It was first, and has logged in somebody before this one looks into the database."""
    aside = find_first(settings).rename(tmp_path / "aside")
    late = KeyFiles(settings, owner.clock())
    aside.rename(find_first(settings))
    await late.ensure_first(owner.server.key_uses, owner.clock())
    assert late.keys.is_same(KeyFiles(settings, owner.clock()).keys)


async def test_a_changed_key_without_an_audit_record_is_named(
    owner: Owner, alice: Alice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files were changed before the database failed, and repeating the command is no help."""

    async def fail(*_: object) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(AuditLogRows, "record", fail)
    for change, done in (
        (key_changes.record_rotation(owner.server, alice.added, owner.clock()), "made"),
        (owner.retire(alice.added.id), "retired"),
    ):
        with pytest.raises(key_changes.NotRecorded) as caught:
            await change
        said = f"key {alice.added.id} {done}, but the audit log has no record of it: The database"
        assert str(caught.value).startswith(said)


async def test_a_key_that_signs_is_never_retired(owner: Owner, alice: Alice) -> None:
    added = alice.added
    said = await owner.refusal(added.former)
    assert f"signs cookies until {format_time(added.signs_from)}" in said
    await owner.pass_time(TAKEN_UP_S + 1)
    for force in (False, True):
        with pytest.raises(CannotRetire) as caught:
            await owner.retire(added.former, force)
        assert f"signs assertions until {format_time(added.signs_assertions_from)}" in str(
            caught.value
        )
        with pytest.raises(CannotRetire, match="make a new one first"):
            await owner.retire(added.id, force)


async def test_a_key_is_needed_while_a_secret_is_under_it(owner: Owner, alice: Alice) -> None:
    owner.clock.now += NOTICE_S + TAKEN_UP_S + 1  # and no server checks its keys
    said = await owner.refusal(alice.added.former)
    assert "still encrypts secrets of 1 user (alice)" in said
    await owner.pass_time(0)
    assert "secrets of 1 user" not in await owner.refusal(alice.added.former)


async def test_a_key_is_needed_while_cookies_and_tokens_from_its_time_are(
    owner: Owner, alice: Alice
) -> None:
    await owner.pass_time(NOTICE_S + TAKEN_UP_S + 1)
    said = await owner.refusal(alice.added.former)
    assert "the cookies of 1 session and 1 API token not used since it was replaced" in said
    assert f"until {format_time(alice.session.expires_at)}" in said
    found = await owner.server.api_tokens.find(
        alice.token.text.encode(), None, CLIENT, owner.clock()
    )
    assert found.session is not None
    use = TokenUse(alice.token.token.number, owner.clock(), "192.0.2.1", "a program")
    await owner.server.api_tokens.touch([use])
    assert "API tokens" not in await owner.refusal(alice.added.former)

    await owner.pass_time(alice.session.expires_at - owner.clock() - 1)
    assert "the cookies of 1 session" in await owner.refusal(alice.added.former)
    await owner.pass_time(1)
    await owner.log_in(alice.user)  # under the new key
    done = await owner.retire(alice.added.former)
    assert (done.sessions, done.tokens, done.stays) == (0, 0, None)


async def test_a_key_is_needed_as_long_as_a_link_in_a_mail(owner: Owner) -> None:
    added = rotate(owner.settings, owner.clock(), None, leaked=False)
    await owner.pass_time(NOTICE_S + TAKEN_UP_S + 1)
    until = added.signs_from + CLOCKS_DIFFER_S + SHORT_LIVED_S
    assert f"until {format_time(until)}" in await owner.refusal(added.former)
    await owner.pass_time(until - owner.clock())
    await owner.retire(added.former)


async def test_a_retired_key_invalidates_only_its_own_signatures(
    owner: Owner, alice: Alice
) -> None:
    cookie = owner.server.tokens.sign("a" * 43).encode()
    await owner.pass_time(NOTICE_S + TAKEN_UP_S + 1)
    newer = owner.server.tokens.sign("a" * 43).encode()
    assert owner.server.tokens.unsign(cookie) is not None
    done = await owner.retire(alice.added.former, force=True)
    assert (done.sessions, done.tokens) == (1, 1)
    await owner.pass_time(1)
    assert [key.id for key in owner.server.key_files.files] == [alice.added.id]
    assert owner.server.tokens.unsign(cookie) is None
    assert owner.server.tokens.unsign(newer) is not None
    assert (await owner.server.sessions.get(alice.session.id)).ended_at is not None
    assert (await owner.server.api_tokens.get(alice.token.token.id)).ended_at is not None
    now = owner.clock()
    verified = await owner.server.second_factors.verify(alice.user, alice.code(now), None, now=now)
    assert verified == "totp"
    (record,) = await owner.server.audit_log.latest(RecordFilter(kind=Kind.KEY_RETIRED), 5)
    assert record.event.actor == "command" and alice.added.former in record.event.detail


async def test_force_re_encrypts_without_a_server(owner: Owner, alice: Alice) -> None:
    owner.clock.now += NOTICE_S + TAKEN_UP_S + 1
    await owner.retire(alice.added.former, force=True)
    await owner.pass_time(1)
    now = owner.clock()
    assert (
        await owner.server.second_factors.verify(alice.user, alice.code(now), None, now=now)
        == "totp"
    )


async def test_a_new_key_that_has_signed_nothing_can_be_retired(owner: Owner, alice: Alice) -> None:
    await owner.retire(alice.added.id)
    await owner.pass_time(TAKEN_UP_S)
    assert [key.id for key in owner.server.key_files.files] == [alice.added.former]


async def test_a_leaked_key_is_replaced_at_once(owner: Owner, alice: Alice) -> None:
    added = rotate(owner.settings, owner.clock(), None, leaked=True)
    os.utime(added.file, (owner.clock(), owner.clock()))  # by the test's clock
    await owner.pass_time(1)
    states = {
        (each.id, each.purpose): each.state for each in list_keys(owner.settings, owner.clock())
    }
    assert {states[added.id, COOKIES], states[added.id, ASSERTIONS]} == {"signs"}
    assert "the cookies of 1 session" in await owner.refusal(alice.added.former)
    assert (await owner.retire(alice.added.former, force=True)).sessions == 1


async def test_configured_keys_count_from_when_they_were_configured(
    tmp_path: Path,
) -> None:
    """[new, old]: the file and the configuration determine since when the new key signs."""
    migrated(tmp_path)
    for name in ("new", "old"):
        path = tmp_path / name
        path.write_text(base64.urlsafe_b64encode(name.encode() * 16).decode())
        path.chmod(0o600)
    config = tmp_path / "doorward.yaml"
    config.write_text(
        f"data_dir: {tmp_path}\nsecret_files: [new, old]\n"
        "routes: [{upstream: 'http://127.0.0.1:9'}]\n"
    )
    settings, clock = load_settings(config, {}), FixedClock()
    os.utime(config, (clock.now, clock.now))
    async with build_accounts(settings, clock) as server:
        owner = Owner(settings, clock, server)
        user = await server.users.add("alice", "correct horse", now=clock())
        session = await owner.log_in(user)
        old = server.key_files.files[1].id
        clock.now += SHORT_LIVED_S + CLOCKS_DIFFER_S
        assert "the cookies of 1 session" in await owner.refusal(old)
        clock.now = session.expires_at
        done = await owner.retire(old)
        assert done.stays == str(tmp_path / "old")
        await owner.pass_time(1)
        assert len(server.key_files.files) == 1


@pytest.mark.parametrize("id", ["", "x", "abcdefabcdef1"])
async def test_an_id_that_names_no_key_is_refused(owner: Owner, id: str) -> None:
    with pytest.raises(CannotRetire, match="see: doorward keys list"):
        await owner.retire(id, force=True)


# The columns of encrypted secrets, and what happens to each when the keys change. Columns of
# digests have a length; columns without one are encrypted.
ENCRYPTED = {
    "factors.code_key": "renewed",
    "factors.totp_secret": "renewed",
    "application_credentials.password": "renewed",
    "enrolments.totp_secret": "forgotten after ten minutes",
}


def test_every_encrypted_column_survives_a_retirement() -> None:
    found = {
        f"{table.name}.{column.name}"
        for table in tables.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.type.length is None
    }
    assert found == set(ENCRYPTED)


async def test_no_encrypted_column_is_left_under_the_old_key(owner: Owner, alice: Alice) -> None:
    """A new kind of secret has to be renewed, too; otherwise retiring a key would lose it."""
    renewed = [name for name, fate in ENCRYPTED.items() if fate == "renewed"]

    def read(file: sqlite3.Connection) -> dict[str, bytes]:
        query = "SELECT {1} FROM {0} WHERE {1} IS NOT NULL"
        rows = {name: file.execute(query.format(*name.split("."))).fetchall() for name in renewed}
        assert all(rows.values()), "each is in use"
        return {name: found[0][0] for name, found in rows.items()}

    with closing(sqlite3.connect(owner.settings.data_dir / DATABASE_FILE)) as file:
        before = read(file)
        await owner.pass_time(TAKEN_UP_S + 1)
        assert not [name for name, sealed in read(file).items() if sealed == before[name]]
