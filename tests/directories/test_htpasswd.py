"""Users of an htpasswd file: reading it, reading it again after changes, and removed users."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import bcrypt
import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.passwords.hashing import FILE, Passwords
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import InvalidCredentials, ReadOnlyUser, StorageUnavailable
from doorward.accounts.session import ClientInfo, Opened
from doorward.accounts.users.directory import DirectoryFault
from doorward.directories import htpasswd
from doorward.directories.authelia import read_authelia
from doorward.directories.formats import FormatFault, Row
from doorward.directories.htpasswd import HtpasswdDirectory, read_htpasswd
from doorward.directories.tinyauth import read_tinyauth
from doorward.settings import load_settings
from doorward.storage import StorageFault
from doorward.storage.users import UserRows
from doorward.wiring.accounts import Accounts, build_accounts
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions import log_in

NOW = 1_700_000_000.0
CLIENT = ClientInfo("192.0.2.1", "a browser")
SHA1 = "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A="


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def lines(**passwords: str) -> str:
    return "".join(f"{name}:{hashed(password)}\n" for name, password in passwords.items())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users.htpasswd"
    path.write_text(lines(alice="first password", bob="bobs password"))
    return path


@contextlib.asynccontextmanager
async def running(file: Path, more: str = "") -> AsyncIterator[Accounts]:
    config = file.with_name("doorward.yaml")
    config.write_text(
        f"{{data_dir: data, htpasswd: {file.name}, routes: [{{upstream: 'http://a'}}]{more}}}"
    )
    async with build_accounts(load_settings(config, {}), lambda: NOW) as accounts:
        yield accounts


async def login(accounts: Accounts, name: str, password: str) -> Opened:
    return await log_in(accounts.logins, name, password, client=CLIENT, now=NOW)


async def is_live(accounts: Accounts, opened: Opened) -> bool:
    """Whether the session is valid, through the cache, as for a request."""
    credential = opened.token.encode()
    if accounts.live.peek(credential, NOW) is not None:
        return True
    return (await accounts.live.find(credential, opened.token, NOW)).session is not None


async def test_users_of_the_file_log_in_and_are_read_only(file: Path) -> None:
    async with running(file) as accounts:
        opened = await login(accounts, "ALICE", "first password")
        user = opened.session.user
        assert (user.source, user.username, user.groups) == ("htpasswd", "alice", ())
        with pytest.raises(InvalidCredentials):
            await login(accounts, "alice", "bobs password")
        with pytest.raises(ReadOnlyUser, match="htpasswd file"):
            await accounts.users.set_password("alice", "another one", now=NOW, actor=OWNER)
        before = file.read_text()
        assert await accounts.users.refresh(NOW) == () and file.read_text() == before
        await accounts.users.ban("bob", NOW, actor=OWNER)
        assert not (await accounts.users.get("bob")).is_usable


async def test_a_change_to_the_file_takes_effect_at_the_second_check(file: Path) -> None:
    """GHSA-x883-2vmg-xwf7: a change in the watched file took effect late. CVE-2026-40934: sessions
    survived a change of the password in the file."""
    async with running(file) as accounts:
        alice = await login(accounts, "alice", "first password")
        bob = await login(accounts, "bob", "bobs password")
        assert await is_live(accounts, alice) and await is_live(accounts, bob)
        file.write_text(lines(alice="next password", carol="carols password"))
        assert await accounts.users.refresh(NOW) == ()
        assert await is_live(accounts, alice), "somebody may be in the middle of writing"
        assert await accounts.users.refresh(NOW) == ()
        assert not await is_live(accounts, alice) and not await is_live(accounts, bob)
        for name, password in (("alice", "first password"), ("bob", "bobs password")):
            with pytest.raises(InvalidCredentials):
                await login(accounts, name, password)
        assert await login(accounts, "alice", "next password")
        assert await login(accounts, "carol", "carols password")
        assert not (await accounts.users.get("bob")).active
        file.write_text(file.read_text() + lines(bob="bobs password"))
        await accounts.users.refresh(NOW)
        await accounts.users.refresh(NOW)
        assert await login(accounts, "bob", "bobs password")


async def test_a_changed_file_is_read_in_another_thread(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []

    def note(text: str) -> list[Row]:
        readers.append(threading.current_thread())
        return read_htpasswd(text)

    async with running(file) as accounts:
        monkeypatch.setattr(htpasswd, "read_htpasswd", note)
        file.write_text(lines(carol="carols password"))
        for _ in range(2):
            await accounts.users.refresh(NOW)
        assert await login(accounts, "carol", "carols password")
    assert readers and threading.main_thread() not in readers


async def test_a_change_is_recorded_by_only_one_process(file: Path) -> None:
    async with running(file) as one, running(file) as other:
        for lines_of in (lines(alice="next password"), lines(alice="first password")):
            file.write_text(lines_of)
            for accounts in (one, other) * 3:
                await accounts.users.refresh(NOW)
        told = await one.audit_log.latest(RecordFilter(kind=Kind.CONFIGURATION_RELOADED), 9)
        details = [record.event.detail for record in told]
        assert [detail[:17] for detail in details] == ["htpasswd: 1 user,"] * 2
        assert details[0] != details[1] and "$" not in "".join(details)


async def test_a_change_read_while_storage_is_down_is_applied_later(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object) -> None:
        raise StorageUnavailable

    async with running(file) as accounts:
        alice = await login(accounts, "alice", "first password")
        with monkeypatch.context() as patch:
            patch.setattr(UserRows, "claim", silent)
            file.write_text(lines(bob="bobs password"))
            await accounts.users.refresh(NOW)
            for _ in range(2):
                with pytest.raises(StorageUnavailable):
                    await accounts.users.refresh(NOW)
            assert (await accounts.users.get("alice")).active
        await accounts.users.refresh(NOW)
        assert not await is_live(accounts, alice) and not (await accounts.users.get("alice")).active


async def test_a_password_changed_while_doorward_is_stopped_ends_the_sessions(file: Path) -> None:
    async with running(file) as accounts:
        alice = await login(accounts, "alice", "first password")
    async with running(file) as accounts:
        assert await is_live(accounts, alice), "a restart logs nobody out"
    file.write_text(lines(alice="next password"))
    async with running(file) as accounts:
        assert not await is_live(accounts, alice)


def broken(file: Path) -> None:
    file.write_text("alice:plain\n")


def removed(file: Path) -> None:
    file.unlink()


def clashing(file: Path) -> None:
    file.write_text(file.read_text() + lines(dave="daves password"))


def binary(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (broken, "line 1: user alice: Doorward cannot verify this kind"),
        (removed, "No such file"),
        (clashing, "'dave': a user of the htpasswd directory and a user of the database"),
        (binary, "not UTF-8"),
    ],
)
async def test_an_invalid_change_is_logged_once_and_the_previous_users_stay(
    file: Path, harm: Callable[[Path], None], says: str
) -> None:
    async with running(file) as accounts:
        await accounts.users.add("dave", "daves password", now=NOW)
        alice = await login(accounts, "alice", "first password")
        harm(file)
        said = [sentence for _ in range(5) for sentence in await accounts.users.refresh(NOW)]
        assert len(said) == 1 and says in said[0]
        assert await is_live(accounts, alice)
        assert await login(accounts, "alice", "first password")
        file.write_text(lines(alice="next password"))
        assert [await accounts.users.refresh(NOW) for _ in range(2)] == [(), ()]
        assert await login(accounts, "alice", "next password")


@pytest.mark.parametrize("harm", [broken, removed, binary])
async def test_an_invalid_file_stops_the_start(file: Path, harm: Callable[[Path], None]) -> None:
    harm(file)
    with pytest.raises(StorageFault, match=f"htpasswd: {file}"):
        async with running(file):
            pass


async def test_a_name_in_two_sources_stops_the_start(file: Path) -> None:
    more = f", users: [{{username: ALICE, password_hash: '{await _ours()}'}}]"
    with pytest.raises(StorageFault, match="'alice' is a user of config and of htpasswd"):
        async with running(file, more):
            pass


async def _ours() -> str:
    passwords = Passwords()
    try:
        return (await passwords.new("correct horse")).hash
    finally:
        passwords.close()


async def test_a_doorward_hash_in_the_file_verifies(file: Path) -> None:
    file.write_text(f"alice:{await _ours()}\n")
    async with running(file) as accounts:
        assert await login(accounts, "alice", "correct horse")
    (entry,) = HtpasswdDirectory(file).entries()
    assert entry.scheme == FILE


async def test_sha1_is_accepted_with_a_warning(file: Path) -> None:
    file.write_text("".join(f"user{number}:{SHA1}\n" for number in range(12)))
    async with running(file) as accounts:
        (warning,) = accounts.users.warnings()
        assert "SHA-1" in warning and "user0, user1" in warning and "and others" in warning
        assert await login(accounts, "user7", "correct horse")
        file.write_text(f"user7:{SHA1}\n")
        await accounts.users.refresh(NOW)
        assert await accounts.users.refresh(NOW) == accounts.users.warnings() != (warning,)


def test_lines_without_users_are_skipped() -> None:
    hash_ = hashed("x")
    rows = read_htpasswd(f"# comment\n\n  \nalice:{hash_}:a comment\r\n  # more\nbob:{hash_}")
    assert [(row.line, row.entry.key, row.entry.password_hash) for row in rows] == [
        (4, "alice", hash_), (6, "bob", hash_)
    ]  # fmt: skip


def test_a_file_that_is_too_large_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "FILE_BYTES", 10)
    with pytest.raises(DirectoryFault, match="larger than"):
        HtpasswdDirectory(file)


def replaced(file: Path) -> None:
    new = file.with_name("new")
    new.write_text(lines(alice="next password!"))
    os.utime(new, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    new.replace(file)


def written_in_place(file: Path) -> None:
    """Overwrite the file like `rsync --inplace --times`, with a hash of the same length."""
    before = file.stat()
    file.write_text(lines(alice="next password", bob="bobs password"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


@pytest.mark.parametrize("change", [replaced, written_in_place])
def test_a_change_that_keeps_the_time_of_the_file_is_noticed(
    file: Path, change: Callable[[Path], None]
) -> None:
    directory = HtpasswdDirectory(file)
    change(file)
    assert directory.fresh() is None
    assert directory.fresh() is not None


def test_a_change_of_permissions_or_times_is_ignored(file: Path) -> None:
    directory = HtpasswdDirectory(file)
    file.chmod(0o600)
    os.utime(file, (NOW, NOW))
    assert [directory.fresh() for _ in range(3)] == [None] * 3


@given(
    st.text() | st.lists(st.sampled_from(["a", ":", "\n", "users:", " ", "$2b$", "{", ",", "-"]))
)
def test_any_text_is_read_or_reported_as_a_fault(given_text: str | list[str]) -> None:
    text = "".join(given_text)
    for read in (read_htpasswd, read_authelia, read_tinyauth):
        with contextlib.suppress(FormatFault):
            read(text)
