"""Every public operation of the core, on real storage, with inputs from hypothesis: it returns a
value or raises a refusal, and nothing else.

Inputs that people and programs choose are arbitrary (text, codes, ids, addresses); users and
sessions are real ones of every kind, times are those of the clock.
"""

from __future__ import annotations

import asyncio
import inspect
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from doorward.accounts.application_credentials import ApplicationCredentials, ApplicationLogin
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.factors import totp
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.logins import LoginRequest, Logins
from doorward.accounts.names import parse_handle
from doorward.accounts.passwords.hashing import OURS, PasswordDigest, Passwords, PasswordVerdict
from doorward.accounts.passwords.regulation import Regulation
from doorward.accounts.permissions import OWNER, Owner
from doorward.accounts.refusals import Refusal, StorageUnavailable
from doorward.accounts.session import (
    FULL,
    PENDING,
    Authentication,
    ClientInfo,
    Lifetimes,
    NewSession,
    Renewal,
    Session,
)
from doorward.accounts.sessions.access import AccessSecrets
from doorward.accounts.sessions.access_tokens import AccessTokens
from doorward.accounts.sessions.handover import Handovers, HostTokens
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import Sessions
from doorward.accounts.sessions.tokens import Tokens
from doorward.accounts.user import Credential, Email, NewPassword, User
from doorward.accounts.users.directory import DirectoryEntry
from doorward.accounts.users.editing import Edit
from doorward.accounts.users.users import Users
from doorward.settings import settings_from
from doorward.storage.audit_log import AuditLogRows
from doorward.wiring import accounts as wiring
from doorward.wiring.accounts import Accounts
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.live import CHEAP_HASH
from tests.support.mailbox import Mailbox
from tests.support.people import proven
from tests.support.sessions import LIFETIMES, open_session

NOW = 1_800_000_000.0
PASSWORD = "correct horse"
CLIENT = ClientInfo("192.0.2.1", "a browser")
EXAMPLES = 20

# Operation → the name of an argument that is not an input, although its type suggests it.
SERVICES: dict[str, type] = {
    "users": Users,
    "sessions": Sessions,
    "logins": Logins,
    "passwords": Passwords,
    "tokens": Tokens,
    "live": Live,
    "regulation": Regulation,
    "audit_log": AuditLogRows,
    "second_factors": SecondFactors,
    "access": AccessSecrets,
    "handovers": Handovers,
    "handovers.host_tokens": HostTokens,
    "access.tokens": AccessTokens,
    "credentials": ApplicationCredentials,
}
# Operations without external input: parts of the start, of the stop and of other operations.
INNER = set(
    "passwords.close passwords.expect audit_log.record audit_log.write audit_log.tell"
    " regulation.turn regulation.passed regulation.withdraw tokens.sign"
    " live.find_by live.listen handovers.host_tokens.sign".split()
)
OPERATIONS = sorted(
    f"{service}.{name}"
    for service, kind in SERVICES.items()
    for name, _ in inspect.getmembers(kind, inspect.isroutine)
    if not name.startswith("_") and f"{service}.{name}" not in INNER
)


@dataclass
class World:
    """A core with users in every state, and its event loop."""

    accounts: Accounts
    runner: asyncio.Runner
    users: list[User]
    sessions: list[Session]

    def operation(self, name: str) -> Callable[..., Any]:
        found: Any = self.accounts
        for part in name.split("."):
            found = getattr(found, part)
        operation: Callable[..., Any] = found
        return operation


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    storage = "sqlite"
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patch:
        if request.param == "postgresql":
            from tests.support import postgresql

            socket = request.getfixturevalue("postgresql_socket")
            storage = runner.run(postgresql.fresh_database(socket, "anyinput"))
        patch.setattr(wiring, "build_mailer", lambda settings: Mailbox())
        manager = wiring.build_accounts(_settings(tmp_path_factory.mktemp("data"), storage))
        accounts = runner.run(manager.__aenter__())
        try:
            users, sessions = runner.run(_people(accounts))
            yield World(accounts, runner, users, sessions)
        finally:
            runner.run(manager.__aexit__(None, None, None))


def _settings(folder: Path, storage: str) -> Any:
    return settings_from(
        {
            "data_dir": str(folder),
            "storage": storage,
            "routes": [{"upstream": "http://127.0.0.1:9", "credentials": {"per_user": "basic"}}],
            "users": [{"username": "carol", "password_hash": CHEAP_HASH}],
            "regulation": {"attempts": 1000, "network_attempts": 100_000},
        },
        folder,
    )


async def _people(accounts: Accounts) -> tuple[list[User], list[Session]]:
    """Users of both sources, one with every factor, one banned, one disabled, one deleted; their
    sessions, full, pending and ended."""
    users, sessions = [], []
    for name in ("alice", "bob", "banned", "disabled", "deleted", "carol"):
        if name != "carol":
            address = Email(f"{name}@example.com", True)
            await accounts.users.add(name, PASSWORD, now=NOW, emails=[address], roles=["admin"])
        user = await accounts.users.get(name)
        users.append(user)
        for level in (FULL, FULL, PENDING):
            opened = await open_session(
                accounts.sessions, user, client=CLIENT, now=NOW, level=level, proved_at=NOW
            )
            sessions.append(opened.session)
        await accounts.sessions.end(sessions[-2], NOW)
    factors = accounts.second_factors
    secret = (await factors.begin_totp(sessions[0], NOW)).secret
    await factors.confirm_totp(sessions[0], secret, totp.code_at(secret, totp.step_at(NOW)), NOW)
    await factors.enable_email(proven(users[0], NOW), NOW)
    await accounts.users.ban("banned", NOW, actor=OWNER)
    await accounts.users.disable("disabled", NOW, actor=OWNER)
    await accounts.users.delete("deleted", NOW, actor=OWNER)
    return users, sessions


# Typed text, with everything that a lower layer does not support: lone surrogates (UTF-8), NUL
# (PostgreSQL), control characters, and very long texts.
TEXTS = (
    st.text(st.characters(), max_size=40)
    | st.sampled_from(
        ["", "\0", "\ud800", "a\0b", "alice", "ALICE ", "carol", "x" * 100_000, "a@b", "%s", "'--",
         "alice@example.com", "123456", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA", "\u202e", "::1"]
    )
)  # fmt: skip
PASSWORDS = TEXTS | st.builds(PasswordDigest, TEXTS) | st.just(PASSWORD)
EMAILS = st.builds(Email, TEXTS, st.booleans())
SEVERAL = st.lists(TEXTS, max_size=2)


def imported(
    name: str, display: str | None, emails: list[Email], groups: list[str]
) -> DirectoryEntry:
    """Entries as read from files of other programs."""
    key = parse_handle(name) or "nobody"
    return DirectoryEntry(
        key, name, "a hash", "bcrypt cost=10", display, tuple(emails), tuple(groups)
    )


def values(world: World, hint: Any) -> st.SearchStrategy[Any]:
    """The values of an argument of this type. Other types must not be arguments of public
    operations, or have to be added here."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint == typing.get_type_hints(LoginRequest)["password"]:
        return PASSWORDS
    if hint in (LoginRequest, NewSession, Authentication):
        fields = typing.get_type_hints(hint)
        names = {one: (f"{hint.__name__}.{one}", one) for one in fields}
        return st.builds(hint, **{one: value(world, fields[one], *names[one]) for one in fields})
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values(world, one) for one in inner])
    if origin in (Sequence, tuple):
        of = tuple(one for one in inner if one is not Ellipsis)
        if of == (tuple[int, float],):
            known = [(session.number, NOW) for session in world.sessions]
            return st.lists(st.sampled_from(known), max_size=3)
        many = st.lists(values(world, of[0]), max_size=2)
        return many if origin is Sequence else many.map(tuple)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXTS,
        Hashable: st.binary(max_size=200),
        bytes: st.binary(max_size=200) | TEXTS.map(lambda t: t.encode("utf-8", "surrogatepass")),
        bool: st.booleans(),
        int: st.integers(0, 2),
        float: st.floats(NOW, NOW + 1e6),
        type(None): st.none(),
        User: st.sampled_from(world.users),
        Session: st.sampled_from(world.sessions),
        Owner: st.just(OWNER),
        Renewal: st.sampled_from(world.sessions).map(world.accounts.sessions.renewal),
        # The gate reads the address from the socket, or parses it from a header.
        ClientInfo: st.builds(ClientInfo, st.sampled_from(["192.0.2.1", "::1", ""]), TEXTS),
        Lifetimes: st.just(LIFETIMES),
        Email: EMAILS,
        PasswordDigest: PASSWORDS,
        Kind: st.sampled_from(Kind),
        ApplicationLogin: st.builds(ApplicationLogin, st.just("/") | TEXTS, TEXTS, TEXTS),
        RecordFilter: st.builds(RecordFilter, st.none() | TEXTS, st.none(), st.none()),
        Credential: st.builds(
            Credential, st.sampled_from(world.users), st.just("a hash"), st.just(OURS)
        ),
        Edit: st.builds(
            Edit,
            name=st.none() | TEXTS,
            add_emails=st.lists(EMAILS, max_size=2).map(tuple),
            remove_emails=SEVERAL.map(tuple),
            add_groups=SEVERAL.map(tuple),
            remove_roles=SEVERAL.map(tuple),
            super_admin=st.none() | st.booleans(),
        ),
        DirectoryEntry: st.builds(
            imported, TEXTS, st.none() | TEXTS, st.lists(EMAILS, max_size=2), SEVERAL
        ),
    }  # fmt: skip
    return simple[hint]


# Doorward's own values, which are never typed: only what the name says.
OURS_ALONE: dict[str, st.SearchStrategy[Any]] = {
    "kind": st.sampled_from(["page", "xhr"]),
    "level": st.sampled_from([FULL, PENDING]),
    "by": st.just("logout"),
    "scheme": st.sampled_from([OURS, "bcrypt cost=10", "sha1", "argon2", "x"]),
    "spent": st.sampled_from(
        [None, PasswordVerdict(True, hashes=1), PasswordVerdict(True, None, 1, "bcrypt", 1)]
    ),
    "limit": st.integers(1, 3),
    "fingerprint": st.none() | st.just("0" * 64),
    "users.rehash.new": st.just("a hash"),
    "users.new": st.just(NewPassword("a hash", OURS)),
    "passwords.current": st.none() | st.just(("a hash", OURS)),
    "Authentication.method": st.sampled_from(["password", "password+totp"]),
    "sessions.method": st.sampled_from(["password", "password+totp"]),
}


def value(world: World, hint: Any, *names: str) -> st.SearchStrategy[Any]:
    """The values of an argument or a field. The most specific of its names is first."""
    ours = next((OURS_ALONE[name] for name in names if name in OURS_ALONE), None)
    return values(world, hint) if ours is None else ours


def arguments(world: World, called: str) -> st.SearchStrategy[dict[str, Any]]:
    operation, service = world.operation(called), called.partition(".")[0]
    hints = get_type_hints(operation)
    given = {}
    for name in inspect.signature(operation).parameters:
        given[name] = value(world, hints[name], f"{called}.{name}", f"{service}.{name}", name)
    return st.fixed_dictionaries(given)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_returns_a_value_or_raises_a_refusal(world: World, name: str) -> None:
    operation = world.operation(name)

    @hypothesis_settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(arguments(world, name))
    def whatever_comes(given: dict[str, Any]) -> None:
        positional = [
            given.pop(one.name)
            for one in inspect.signature(operation).parameters.values()
            if one.kind is not one.KEYWORD_ONLY
        ]
        try:
            result = operation(*positional, **given)
            if inspect.isawaitable(result):
                world.runner.run(_awaited(result))
        except Refusal as refusal:
            assert str(refusal).isprintable(), "it may be shown on a terminal"
            # Storage is available, so no input may cause StorageUnavailable.
            gone = [one for one in positional if getattr(one, "user", one) in world.users[4:5]]
            assert gone or not isinstance(refusal, StorageUnavailable)

    whatever_comes()


async def _awaited(result: Any) -> Any:
    return await result
