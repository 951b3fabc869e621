"""Proof of presence: the core requires it for every change of an account's protection, so that no
entrance can forget it (CVE-2026-54730: a step that counted without its proof)."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from doorward import accounts
from doorward.accounts.addresses import Addresses
from doorward.accounts.factors import totp
from doorward.accounts.factors.records import FactorStore
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import (
    InvalidCredentials,
    ProofRequired,
    Refusal,
    SecondFactorInvalid,
    SessionNotFound,
)
from doorward.accounts.session import PROOF_S
from doorward.accounts.sessions.sessions import PENDING, Session
from doorward.accounts.token import NewToken
from doorward.accounts.tokens.store import TokenStore
from doorward.accounts.user import Email
from doorward.accounts.users.store import UserStore

from tests.support.core import CLIENT, PASSWORD, Core
from tests.support.memory import NOW
from tests.support.people import proven

KEYS = Keys((b"k" * 32,))
Call = Callable[[Core, Session, float], Awaitable[object]]

# Storage operations that change an account's protection, and all others.
GUARDING = {
    "enrol", "turn_on_totp", "turn_off_totp", "reset", "set_email", "replace_recovery",
    "set_password", "edit", "insert_token",
}  # fmt: skip
HARMLESS = {
    "read", "create", "spend", "accept_step", "accept_code", "accept_recovery", "forgive",
    "issue_code", "prolong_code", "drop_code", "enrolment", "sealed", "reseal", "locks", "insert",
    "insert_all", "by_handle", "by_name", "taken", "imported", "claim", "rehash",
    "set_banned", "set_active", "delete", "accepted_step", "cap_lock", "by_id", "end", "end_all",
    "list", "touch", "purge", "renew_hash", "end_unused",
}  # fmt: skip

# Operations that reach such a write without a session, and what replaces the proof.
ELSEWHERE = {
    "Users.edit": "whoever has the right over the user",
    "Users.set_password": "whoever has the right over the user, or one of those below",
    "Users.change_password": "`Logins` and `Forgotten.use`, after a proof of their own",
    "Users.set_address": "`Addresses.confirm`",
    "Users.add_imported": "the owner of the machine",
    "ApiTokens.add_token": "the owner of the machine",
    "SecondFactors.adopt_totp": "the owner of the machine, for a user just imported",
    "SecondFactors.reset_totp": "whoever has the right over the user",
    "SecondFactors.stop_mailing": "`Forgotten.use`",
    "Logins.login": "the password, just given, and the code where there is a factor",
    "Forgotten.use": "the link that was mailed",
    "Administration.edit": "the right over the user",
    "Administration.demand_change": "the right over the user",
    "Administration.renew_password": "the right over the user",
    "Administration.set_password": "the right over the user",
    "Administration.reset_factors": "the right over the user",
}


async def confirm_totp(core: Core, session: Session, now: float) -> None:
    """Confirm with a secret that was shown recently, and a right code."""
    begun = replace(proven(session.user, now), number=session.number)
    secret = (await core.second_factors.begin_totp(begun, now)).secret
    code = totp.code_at(secret, totp.step_at(now))
    await core.second_factors.confirm_totp(session, secret, code, now)


async def confirm_address(core: Core, session: Session, now: float) -> None:
    addresses = Addresses(core.users, core.second_factors, core.mailbox, KEYS)
    begun = replace(proven(session.user, now), id=session.id)
    asked = await addresses.begin(begun, "new@example.com", now)
    await addresses.confirm(session, asked, core.mailbox.sent[-1][1], now)


@dataclass(frozen=True)
class Operation:
    """`with_factor`: its user has codes by e-mail. `own`: the operation has its own proof, which is
    wrong here, and gets this refusal."""

    call: Call
    with_factor: bool = False
    own: type[Refusal] | None = None


OPERATIONS = {
    "SecondFactors.begin_totp": Operation(lambda c, s, now: c.second_factors.begin_totp(s, now)),
    "SecondFactors.confirm_totp": Operation(confirm_totp),
    "SecondFactors.enable_email": Operation(
        lambda c, s, now: c.second_factors.enable_email(s, now)
    ),
    "SecondFactors.disable_email": Operation(
        lambda c, s, now: c.second_factors.disable_email(s, now), with_factor=True
    ),
    "SecondFactors.regenerate_recovery": Operation(
        lambda c, s, now: c.second_factors.regenerate_recovery(s, now), with_factor=True
    ),
    "SecondFactors.remove_totp": Operation(
        lambda c, s, now: c.second_factors.remove_totp(s, "000000", now), own=SecondFactorInvalid
    ),
    "Addresses.confirm": Operation(confirm_address),
    "ApiTokens.make_token": Operation(
        lambda c, s, now: c.api_tokens.make_token(s, NewToken("phone"), now=now)
    ),
    "Logins.change_password": Operation(
        lambda c, s, now: c.logins.change_password(
            s, "a wrong one", "violet tractor", client=CLIENT, now=now
        ),
        own=InvalidCredentials,
    ),
}


def functions() -> dict[str, ast.AsyncFunctionDef | ast.FunctionDef]:
    """Every method of the core, as `Class.method`."""
    found = {}
    for file in Path(next(iter(accounts.__path__))).rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not is_protocol(node):
                for one in node.body:
                    if isinstance(one, ast.AsyncFunctionDef | ast.FunctionDef):
                        found[f"{node.name}.{one.name}"] = one
    return found


def is_protocol(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


def calls(function: ast.AST) -> set[str]:
    """The names of the methods that it calls."""
    return {
        node.func.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


def guarding() -> set[str]:
    """The public operations that reach such a write, directly or indirectly."""
    known, reaching = functions(), set(GUARDING)
    while True:
        found = {name for name, function in known.items() if calls(function) & reaching}
        wider = reaching | {name.partition(".")[2] for name in found}
        if wider == reaching:
            return {name for name in found if not name.partition(".")[2].startswith("_")}
        reaching = wider


def test_every_storage_method_is_classified_as_protected_or_harmless() -> None:
    asked = {name for name, _ in inspect.getmembers(FactorStore, inspect.isfunction)}
    asked |= {name for name, _ in inspect.getmembers(UserStore, inspect.isfunction)}
    asked |= {name for name, _ in inspect.getmembers(TokenStore, inspect.isfunction)}
    assert {name for name in asked if not name.startswith("_")} == GUARDING | HARMLESS


def test_every_operation_on_account_protection_is_tested() -> None:
    assert guarding() - {"Users.add_imported"} == (
        set(OPERATIONS) | set(ELSEWHERE) - {"Users.add_imported"}
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_such_operation_takes_the_session_and_requires_proof(name: str) -> None:
    function = functions()[name]
    assert "session" in {argument.arg for argument in function.args.args}
    assert "require_proof" in calls(function)


AGES = {"fresh": 0.0, "at the last moment": PROOF_S - 0.1, "six minutes old": 360.0}


async def session_of(core: Core, with_factor: bool) -> Session:
    await core.add(emails=[Email("alice@example.com", True)])
    session = (await core.login()).session
    if with_factor:
        await core.second_factors.enable_email(session, NOW)
        session.second_factor_at = NOW
    return session


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("state", [*AGES, "never proved", "pending", "of the future"])
async def test_account_protection_changes_only_after_recent_proof(
    core: Core, name: str, state: str
) -> None:
    operation = OPERATIONS[name]
    session = await session_of(core, operation.with_factor)
    if name == "SecondFactors.remove_totp":
        await core.second_factors.adopt_totp(session.user, totp.new_secret(), NOW)
    before = await core.second_factors.list_enabled(session.user), await core.users.get("alice")
    now = NOW + AGES.get(state, 0.0)
    expected: type[Refusal] | None = None if state in AGES else ProofRequired
    if state == "six minutes old":
        expected = ProofRequired
    elif state == "never proved":  # like sessions from before the upgrade
        session.second_factor_at = session.proved_at = None
    elif state == "of the future":
        session.second_factor_at = session.proved_at = NOW + 60
    elif state == "pending":
        session.level, expected = PENDING, SessionNotFound
    if operation.own is not None and expected is not SessionNotFound:
        expected = operation.own
    if expected is None:
        await operation.call(core, session, now)
        return
    with pytest.raises(expected):
        await operation.call(core, session, now)
    after = await core.second_factors.list_enabled(session.user), await core.users.get("alice")
    assert after == before


@pytest.mark.parametrize("name", [n for n, o in OPERATIONS.items() if o.with_factor])
async def test_the_password_alone_is_no_proof_beside_a_factor(core: Core, name: str) -> None:
    """A login in a remembered browser has no code: its time of the second factor is unknown, which
    must count as never."""
    session = await session_of(core, with_factor=True)
    session.second_factor_at = None
    assert session.proved_at == NOW
    with pytest.raises(ProofRequired) as refused:
        await OPERATIONS[name].call(core, session, NOW)
    assert refused.value.challenge.method == "email"


async def test_a_password_a_code_or_a_completed_login_is_new_proof(core: Core) -> None:
    session = await session_of(core, with_factor=False)
    later = NOW + 3600
    with pytest.raises(ProofRequired) as refused:
        await core.second_factors.require_proof(session, later)
    assert refused.value.challenge.method == "password"
    with pytest.raises(InvalidCredentials):
        await core.logins.prove(session, "a wrong one", client=CLIENT, now=later)
    assert not await core.second_factors.is_proved(session, later)
    await core.logins.prove(session, PASSWORD, client=CLIENT, now=later)
    await core.second_factors.require_proof(session, later)
    secret = totp.new_secret()
    await core.second_factors.adopt_totp(session.user, secret, later)
    assert not await core.second_factors.is_proved(session, later)
    code = totp.code_at(secret, totp.step_at(later))
    risen = await core.second_factors.complete(session, code, None, client=CLIENT, now=later)
    assert await core.second_factors.is_proved(risen.session, later)


async def test_the_current_password_is_proof_unless_the_user_has_a_factor(core: Core) -> None:
    session = await session_of(core, with_factor=False)
    later = NOW + 3600
    changed = await core.logins.change_password(
        session, PASSWORD, "violet tractor", client=CLIENT, now=later
    )
    assert changed.session.proved_at == later
    await core.second_factors.adopt_totp(session.user, totp.new_secret(), later)
    with pytest.raises(ProofRequired):
        await core.logins.change_password(
            changed.session, "violet tractor", PASSWORD, client=CLIENT, now=later
        )
