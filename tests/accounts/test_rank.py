"""Rank: the core decides who may act on whom, the same for every entrance. An admin cannot act on
admins, including their own account (CVE-2024-41942); the owner of the machine can act on
everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from doorward.accounts.factors import totp
from doorward.accounts.permissions import ADMIN, OWNER, Actor
from doorward.accounts.refusals import NotPermitted, SessionNotFound, TokenNotFound
from doorward.accounts.token import NewToken
from doorward.accounts.user import User
from doorward.accounts.users.editing import Edit

from tests.accounts.test_proof import calls, functions
from tests.support.core import Core
from tests.support.memory import NOW

Act = Callable[[Core, User, Actor], Awaitable[object]]

# Storage operations that change a user, or something that belongs to a user.
ACTING = {
    "set_banned", "set_active", "delete", "edit", "set_password", "reset", "lift", "forgive",
    "end", "end_all", "end_many",
}  # fmt: skip

# Public operations that reach such a write without a check of rank, and the users they act on.
ONESELF = {
    "Addresses.confirm": "the user of the session, who proves to be there",
    "Logins.change_password": "the user of the session, who proves to be there",
    "Logins.login": "the user whose password is right",
    "Forgotten.use": "the user whom the link was mailed to",
    "Users.change_password": "a user who has proved to be this one",
    "Users.set_address": "a user who has proved to have this address",
    "Verification.verify": "the user whose password it is",
    "SecondFactors.verify": "the user whose code it is",
    "SecondFactors.demand": "the user of the session",
    "SecondFactors.complete": "the user of the session",
    "SecondFactors.remove_totp": "the user of the session, who proves to be there",
    "SecondFactors.regenerate_recovery": "the user of the session, who proves to be there",
    "Sessions.end": "the session that was presented, or one of its user's",
    "Sessions.end_all": "the user of the session that was presented",
    "Sessions.end_others": "the user of the session",
    "Sessions.end_own": "the user, and passes others' over",
    "Regulation.unlock_network": "a network",
}


async def revoke(core: Core, subject: User, actor: Actor) -> None:
    for session in await core.sessions.list(subject, NOW):
        await core.sessions.revoke(session.id, actor=actor, now=NOW)


async def revoke_token(core: Core, subject: User, actor: Actor) -> None:
    new = NewToken("phone")
    made = await core.api_tokens.add_token(
        await core.users.get(subject.username), new, actor=OWNER, now=NOW
    )
    try:
        await core.api_tokens.revoke(made.token.id, actor=actor, now=NOW)
    except TokenNotFound as refusal:
        raise SessionNotFound from refusal


OPERATIONS: dict[str, Act] = {
    "Users.ban": lambda c, u, by: c.users.ban(u.username, NOW, actor=by),
    "Users.unban": lambda c, u, by: c.users.unban(u.username, NOW, actor=by),
    "Users.disable": lambda c, u, by: c.users.disable(u.username, NOW, actor=by),
    "Users.enable": lambda c, u, by: c.users.enable(u.username, NOW, actor=by),
    "Users.edit": lambda c, u, by: c.users.edit(u.username, Edit(name="Else"), NOW, actor=by),
    "Users.set_password": lambda c, u, by: c.users.set_password(
        u.username, "violet tractor", now=NOW, actor=by
    ),
    "Users.delete": lambda c, u, by: c.users.delete(u.username, NOW, actor=by),
    "SecondFactors.reset_totp": lambda c, u, by: c.second_factors.reset_totp(u, NOW, actor=by),
    "SecondFactors.unlock": lambda c, u, by: c.second_factors.unlock(u, actor=by),
    "Regulation.unlock": lambda c, u, by: c.regulation.unlock(u, NOW, actor=by),
    "ApiTokens.revoke": revoke_token,
    "ApiTokens.revoke_all": lambda c, u, by: c.api_tokens.revoke_all(u, actor=by, now=NOW),
    "Sessions.revoke": revoke,
    "Sessions.revoke_all": lambda c, u, by: c.sessions.revoke_all(u, actor=by, now=NOW),
}

RANKS = ("user", "admin", "super")
# The sessions and tokens that any user may end: their own.
OWN = {"Sessions.revoke", "Sessions.revoke_all", "ApiTokens.revoke", "ApiTokens.revoke_all"}


def acting() -> set[str]:
    known, reaching = functions(), set(ACTING)
    while True:
        found = {name for name, function in known.items() if calls(function) & reaching}
        private = {n.partition(".")[2] for n in found if n.partition(".")[2].startswith("_")}
        if private <= reaching:
            break
        reaching |= private
    public = {name for name in found if not name.partition(".")[2].startswith("_")}
    return {name for name in public if not name.startswith(("Administration.", "Live."))}


def test_every_operation_on_another_user_is_tested() -> None:
    assert set(OPERATIONS) <= acting()
    unknown = acting() - set(OPERATIONS) - set(ONESELF)
    assert not unknown, "give it an actor and a row of OPERATIONS, or say whom it acts on"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_on_another_user_takes_the_actor(name: str) -> None:
    arguments = functions()[name].args
    assert "actor" in {one.arg for one in [*arguments.args, *arguments.kwonlyargs]}


async def add_user_with_session(core: Core, name: str, rank: str) -> User:
    """Add a user with a session and TOTP."""
    roles = [ADMIN] if rank == "admin" else []
    await core.add(name, roles=roles, super_admin=rank == "super")
    session = (await core.login(name)).session
    await core.second_factors.adopt_totp(session.user, totp.new_secret(), NOW)
    return await core.users.get(name)


@pytest.mark.parametrize("subject", [*RANKS, "oneself"])
@pytest.mark.parametrize("actor", [*RANKS, "owner"])
async def test_every_operation_checks_rank(core: Core, actor: str, subject: str) -> None:
    by: Actor = OWNER if actor == "owner" else await add_user_with_session(core, "actor", actor)
    is_self = subject == "oneself"
    if is_self and by is OWNER:
        return  # the owner of the machine is not a user
    on = (
        by
        if is_self and isinstance(by, User)
        else await add_user_with_session(core, "subject", subject)
    )
    for name in sorted(OPERATIONS, key=lambda name: name == "Users.delete"):
        allowed = {
            "owner": True,
            "super": not is_self or name in OWN,
            "admin": subject == "user" or (is_self and name in OWN),
            "user": is_self and name in OWN,
        }[actor]
        if allowed:
            await OPERATIONS[name](core, on, by)
            continue
        before = core.user_rows.rows[on.number], len(await core.sessions.list(on, NOW))
        with pytest.raises((NotPermitted, SessionNotFound)):
            await OPERATIONS[name](core, on, by)
            await core.sessions.revoke("", actor=by, now=NOW)  # if there was no session left
        assert before == (core.user_rows.rows[on.number], len(await core.sessions.list(on, NOW)))
        assert await core.second_factors.list_enabled(on) == ("totp",), name


RISES = [
    Edit(add_roles=(ADMIN,)),
    Edit(super_admin=True),
    Edit(add_roles=(ADMIN,), super_admin=True, name="Else"),
]


@pytest.mark.parametrize("edit", RISES)
async def test_only_a_super_admin_makes_administrators(core: Core, edit: Edit) -> None:
    admin, boss = (
        await add_user_with_session(core, "admin", "admin"),
        await add_user_with_session(core, "boss", "super"),
    )
    await core.add("alice")
    with pytest.raises(NotPermitted):
        await core.users.edit("alice", edit, NOW, actor=admin)
    risen = await core.users.edit("alice", edit, NOW, actor=boss)
    assert risen.super_admin or ADMIN in risen.roles
