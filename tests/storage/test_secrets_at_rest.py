"""A stolen database file is not a stolen login, and keys can be changed during operation."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from doorward.accounts.application_credentials import ApplicationLogin
from doorward.accounts.factors import totp
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.sessions.sessions import ClientInfo, Lifetimes, Opened
from doorward.accounts.user import Email, User
from doorward.settings import settings_from
from doorward.storage import StorageFault
from doorward.wiring import accounts as wiring
from doorward.wiring.accounts import Accounts

from tests.support.mailbox import Mailbox
from tests.support.people import proven
from tests.support.sessions import log_in, open_session

NOW = 1_800_000_000.0
CLIENT = ClientInfo("192.0.2.1", "a browser")
LIFETIMES = Lifetimes(7200.0, 86_400.0, 86_400.0, None)
OLD, NEW = ("old.key", b"o" * 32), ("new.key", b"n" * 32)

Started = Callable[..., AbstractAsyncContextManager[Accounts]]


@pytest.fixture
def started(tmp_path: Path, mailbox: Mailbox) -> Started:
    @asynccontextmanager
    async def start(*keys: tuple[str, bytes]) -> AsyncIterator[Accounts]:
        """Start like a server, with these key files."""
        for name, key in keys:
            path = tmp_path / name
            path.write_text(base64.urlsafe_b64encode(key).decode().rstrip("=") + "\n")
            path.chmod(0o600)
        settings = settings_from(
            {
                "data_dir": str(tmp_path),
                "secret_files": [str(tmp_path / name) for name, _ in keys],
                "routes": [
                    {"upstream": "http://127.0.0.1:9", "credentials": {"per_user": "basic"}}
                ],
            },
            tmp_path,
        )
        async with wiring.build_accounts(settings, lambda: NOW) as accounts:
            await wiring.renew_secrets(accounts)
            yield accounts

    return start


@dataclass
class Alice:
    user: User
    opened: Opened
    secret: str
    begun: str
    recovery: tuple[str, ...]


async def alice_of(accounts: Accounts) -> Alice:
    """A user with both factors, a valid mailed code and another enrolment in progress."""
    factors = accounts.second_factors
    user = await accounts.users.add(
        "alice", "correct horse", now=NOW, emails=[Email("alice@example.com", True)]
    )
    opened = await open_session(
        accounts.sessions, user, client=CLIENT, lifetimes=LIFETIMES, now=NOW, proved_at=NOW
    )
    secret = (await factors.begin_totp(opened.session, NOW)).secret
    recovery = (await factors.confirm_totp(opened.session, secret, code(secret, NOW), NOW)).codes
    await factors.enable_email(proven(user, NOW), NOW)
    await factors.prepare(user, "email", now=NOW)
    bob = await accounts.users.add("bob", "correct horse", now=NOW)
    other = await open_session(
        accounts.sessions, bob, client=CLIENT, lifetimes=LIFETIMES, now=NOW, proved_at=NOW
    )
    begun = (await factors.begin_totp(other.session, NOW)).secret
    return Alice(user, opened, secret, begun, recovery)


def code(secret: str, now: float) -> str:
    return totp.code_at(secret, totp.step_at(now))


def stored(directory: Path) -> bytes:
    """Every byte of the database, including those that are not in its main file yet."""
    return b"".join(path.read_bytes() for path in sorted(directory.glob("doorward.db*")))


def traces(secret: bytes) -> list[bytes]:
    """A secret itself, and the forms of its SHA-256."""
    digest = hashlib.sha256(secret).digest()
    texts = [digest, digest.hex().encode(), base64.b64encode(digest).rstrip(b"=")]
    return [secret, *texts, base64.urlsafe_b64encode(digest).rstrip(b"=")]


async def test_no_secret_is_in_the_database_file(
    started: Started, mailbox: Mailbox, tmp_path: Path
) -> None:
    async with started(OLD) as accounts:
        alice = await alice_of(accounts)
        content = stored(tmp_path)
    raw = [base64.b32decode(secret) for secret in (alice.secret, alice.begun)]
    texts = [alice.secret, alice.begun, *alice.recovery, mailbox.sent[0][1]]
    for secret in [*raw, *(text.encode() for text in texts)]:
        assert not [trace for trace in traces(secret) if trace in content]
    assert alice.opened.token.encode() not in content
    assert b"alice@example.com" in content, "the right bytes were searched"


async def test_no_password_is_stored_between_the_steps_of_a_login(
    started: Started, tmp_path: Path
) -> None:
    """CVE-2020-15105: of a pending login, only the fact that a code is due is stored."""
    async with started(OLD) as accounts:
        await alice_of(accounts)
        opened = await log_in(
            accounts.logins,
            "alice",
            "correct horse",
            client=CLIENT,
            lifetimes=LIFETIMES,
            now=NOW,
            pending=True,
        )
        content = stored(tmp_path)
    assert opened.session.level == "pending" and opened.session.id.encode() in content
    assert not [trace for trace in traces(b"correct horse") if trace in content]


async def test_no_mailed_code_is_found_by_trying_all_of_them(
    started: Started, tmp_path: Path
) -> None:
    async with started(OLD) as accounts:
        await alice_of(accounts)
        content = stored(tmp_path)
    windows = {content[i : i + 32] for i in range(len(content) - 31)}
    for value in range(10**6):
        digits = f"{value:06}"
        assert hashlib.sha256(digits.encode()).digest() not in windows
        assert hashlib.sha256(f"{digits[:3]}-{digits[3:]}".encode()).digest() not in windows


async def test_secrets_are_re_encrypted_before_the_old_key_is_removed(
    started: Started, mailbox: Mailbox
) -> None:
    async with started(OLD) as accounts:
        alice = await alice_of(accounts)
    async with started(NEW, OLD) as accounts:
        verify = accounts.second_factors.verify
        assert await verify(alice.user, code(alice.secret, NOW + 30), None, now=NOW + 30) == "totp"
        assert await verify(alice.user, alice.recovery[0], None, now=NOW) == "recovery"
        found = await accounts.sessions.by_token(alice.opened.token, NOW)
        assert found.session is not None
    async with started(NEW) as accounts:
        verify = accounts.second_factors.verify
        assert await verify(alice.user, code(alice.secret, NOW + 60), None, now=NOW + 60) == "totp"
        assert await verify(alice.user, alice.recovery[1], None, now=NOW) == "recovery"
        assert await verify(alice.user, mailbox.sent[0][1], None, now=NOW) == "email"


async def test_a_secret_that_no_key_opens_stops_the_start_with_the_users_name(
    started: Started,
) -> None:
    async with started(OLD) as accounts:
        await alice_of(accounts)
    with pytest.raises(StorageFault, match=r"'alice'.*key file that was in use before"):
        async with started(NEW):
            pass
    async with started(NEW, OLD):
        pass


async def test_a_reset_recovers_from_a_lost_key(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(OLD) as accounts:
        alice = await alice_of(accounts)

    async def not_yet(accounts: Accounts) -> None:
        """A command does not ask for all secrets to be readable."""

    with monkeypatch.context() as patched:
        patched.setattr(wiring, "renew_secrets", not_yet)
        async with started(NEW) as accounts:
            with pytest.raises(StorageUnavailable):
                await accounts.second_factors.verify(alice.user, "000000", None, now=NOW)
            await accounts.second_factors.reset_totp(alice.user, NOW, actor=OWNER)
    async with started(NEW) as accounts:
        assert await accounts.second_factors.list_enabled(alice.user) == ("email",)


# Credentials for applications

LOGIN = ApplicationLogin("/", "alice.smith", "a password elsewhere")


async def with_login(accounts: Accounts) -> User:
    user = await accounts.users.add("alice", "correct horse", now=NOW)
    await accounts.credentials.set(user, LOGIN, actor=OWNER, now=NOW)
    return user


async def test_a_password_for_an_application_is_not_in_the_database_file(
    started: Started, tmp_path: Path
) -> None:
    async with started(OLD) as accounts:
        await with_login(accounts)
    kept = stored(tmp_path)
    assert LOGIN.account.encode() in kept
    assert not [trace for trace in traces(LOGIN.password.encode()) if trace in kept]


async def test_a_new_first_key_re_encrypts_credentials(started: Started) -> None:
    async with started(OLD) as accounts:
        user = await with_login(accounts)
    for keys in ((NEW, OLD), (NEW,)):
        async with started(*keys) as accounts:
            found = await accounts.credentials.find(user, "/")
            assert found is not None and found.password == LOGIN.password


async def test_a_start_without_its_key_names_user_route_and_command(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(OLD) as accounts:
        user = await with_login(accounts)
    with pytest.raises(StorageFault) as caught:
        async with started(NEW):
            pass
    assert "credentials of user 'alice' for route /" in str(caught.value)
    assert "doorward user credential remove alice /" in str(caught.value)

    async def not_yet(accounts: Accounts) -> None:
        """A command does not ask for all secrets to be readable."""

    with monkeypatch.context() as patched:
        patched.setattr(wiring, "renew_secrets", not_yet)
        async with started(NEW) as accounts:
            with pytest.raises(StorageUnavailable):
                await accounts.credentials.find(user, "/")
            await accounts.credentials.remove(user, "/", actor=OWNER, now=NOW)
    async with started(NEW) as accounts:
        assert await accounts.credentials.find(user, "/") is None
