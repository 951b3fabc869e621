"""API tokens: their form, their users, when they end, and the cost of wrong ones."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from doorward.accounts.audit.audit_log import Kind
from doorward.accounts.keys import Keys
from doorward.accounts.permissions import ADMIN, OWNER
from doorward.accounts.refusals import (
    InvalidToken,
    LockedOut,
    NotPermitted,
    ProofRequired,
    SessionNotFound,
    TokenNotFound,
)
from doorward.accounts.session import PENDING, TOKEN, ClientInfo, TokenScope
from doorward.accounts.sessions.tokens import is_token
from doorward.accounts.token import MadeToken, NewToken, TokenUse
from doorward.accounts.tokens.api_tokens import KEPT_S, MOST_PER_USER
from doorward.accounts.tokens.form import TokenHashes, new_text, read_text
from doorward.accounts.user import Email

from tests.support.core import CLIENT, LIMITS, Core
from tests.support.memory import NOW

ELSEWHERE = ClientInfo("198.51.100.7", "another program")


async def make(core: Core, name: str = "alice", **more: Any) -> MadeToken:
    new = NewToken("phone", **more)
    user = await core.users.get(name)
    return await core.api_tokens.add_token(user, new, actor=OWNER, now=NOW)


async def find(
    core: Core, text: str, now: float = NOW, name: bytes | None = None
) -> tuple[bool, bool]:
    """Whether the token is valid, and whether it is known."""
    found = await core.api_tokens.find(text.encode(), name, CLIENT, now)
    return found.session is not None, found.known


def test_a_token_is_recognized_by_its_form() -> None:
    text = str(new_text())
    assert re.fullmatch(r"dw_[0-9A-Za-z]{55}", text)
    assert not is_token(text.encode()), "or it would pass for the bare token of a session"
    read = read_text(text.encode())
    assert read is not None and str(read) == text and read.secret not in repr(read)
    for wrong in (text[:-1], text + "x", text[3:], "", f" {text}", text.upper(), text + "\n"):
        assert read_text(wrong.encode()) is None


def test_a_mistyped_token_is_refused_without_a_query() -> None:
    text = str(new_text())
    for at in range(len(text)):
        other = "a" if text[at] != "a" else "b"
        assert read_text((text[:at] + other + text[at + 1 :]).encode()) is None


def test_a_stored_hash_is_bound_to_its_key_and_row() -> None:
    text, old, new = new_text(), b"o" * 32, b"n" * 32
    digest = TokenHashes(Keys((old,))).make(text)
    assert TokenHashes(Keys((old,))).matches(text, digest)
    assert TokenHashes(Keys((new, old))).matches(text, digest), "an older key still verifies"
    assert not TokenHashes(Keys((new,))).matches(text, digest)
    assert not TokenHashes(Keys((old,))).matches(replace(text, id=new_text().id), digest)


async def test_a_token_identifies_its_user_at_the_token_level(core: Core) -> None:
    await core.add(groups=("wiki",))
    made = await make(core, scope=TokenScope(("/wiki",), ("GET",), ("192.0.2.0/24",)))
    found = await core.api_tokens.find(made.text.encode(), None, CLIENT, NOW)
    session = found.session
    assert session is not None and session.level is TOKEN
    assert session.number == -made.token.number < 0, "no session has such a number"
    assert (session.user.username, session.user.groups) == ("alice", ("wiki",))
    assert session.scope == made.token.scope and session.second_factor_at is None
    assert made.text not in repr(made) and core.audit_log.kinds()[-1] == Kind.TOKEN_ADDED


async def test_a_token_is_shown_once_and_kept_as_a_hash(core: Core) -> None:
    await core.add()
    made = await make(core)
    secret = made.text[len("dw_") + 17 : -6]
    assert secret not in repr(core.token_rows.rows) and secret not in repr(core.audit_log.events)
    assert made.token.id in made.text


async def test_a_token_expires(core: Core) -> None:
    await core.add()
    made = await make(core, life_s=100.0)
    assert await find(core, made.text, NOW + 99) == (True, True)
    assert await find(core, made.text, NOW + 100) == (False, True)
    assert await core.api_tokens.list(made.token.user, NOW + 100) == ()
    assert made.token.expires_soon(NOW)
    endless = (await make(core)).token
    assert not endless.expires_soon(NOW + 1e9) and not endless.is_over(NOW + 1e9)


Change = Callable[[Core], Awaitable[object]]
CHANGES: dict[str, tuple[Change, bool]] = {
    "banned": (lambda core: core.users.ban("alice", NOW, actor=OWNER), True),
    "disabled": (lambda core: core.users.disable("alice", NOW, actor=OWNER), True),
    "deleted": (lambda core: core.users.delete("alice", NOW, actor=OWNER), False),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_token_of_a_deleted_user_is_invalid(core: Core, change: str) -> None:
    await core.add()
    made = await make(core)
    act, known = CHANGES[change]
    await act(core)
    assert await find(core, made.text) == (False, known)


async def test_a_ban_suspends_tokens_and_disabling_ends_them(core: Core) -> None:
    await core.add()
    made = await make(core)
    await core.users.ban("alice", NOW, actor=OWNER)
    assert (await core.api_tokens.find(made.text.encode(), None, CLIENT, NOW)).banned
    await core.users.unban("alice", NOW, actor=OWNER)
    assert await find(core, made.text) == (True, True)
    await core.users.disable("alice", NOW, actor=OWNER)
    await core.users.enable("alice", NOW, actor=OWNER)
    assert await find(core, made.text) == (False, True)


async def test_a_token_of_a_user_removed_from_its_directory_is_invalid(core: Core) -> None:
    core.directory.keep("Dora")
    await core.users.sync(NOW)
    made = await make(core, "dora")
    assert await find(core, made.text) == (True, True)
    del core.directory.kept["dora"]
    assert await find(core, made.text) == (False, True)


async def test_a_revoked_token_is_invalid_but_no_failed_attempt(core: Core) -> None:
    await core.add()
    made, other = await make(core), await make(core)
    await core.api_tokens.revoke(made.token.id, actor=OWNER, now=NOW)
    for _ in range(2 * LIMITS.network_attempts):
        assert await find(core, made.text) == (False, True)
    assert await find(core, other.text) == (True, True)
    assert core.audit_log.kinds().count(Kind.TOKEN_ENDED) == 1
    assert Kind.TOKEN_FAILED not in core.audit_log.kinds()
    await core.api_tokens.revoke(made.token.id, actor=OWNER, now=NOW)
    assert core.audit_log.kinds().count(Kind.TOKEN_ENDED) == 1, "it had ended before"
    assert await core.api_tokens.revoke_all(made.token.user, actor=OWNER, now=NOW) == 1
    assert await find(core, other.text) == (False, True)


async def test_basic_credentials_must_name_the_token_user(core: Core) -> None:
    await core.add("Älice", emails=[Email("alice@example.com", True), Email("a@b.org", False)])
    await core.add("bob")
    made = await make(core, "älice")
    for name in ("Älice", "ÄLICE", "alice@example.com"):
        assert await find(core, made.text, name=name.encode()) == (True, True)
    for name in ("bob", "", "a@b.org", "\udcff", "x" * 1000):
        raw = name.encode("utf-8", "surrogateescape")
        assert await find(core, made.text, name=raw) == (False, False)


async def test_wrong_tokens_lock_their_network_but_not_right_tokens(core: Core) -> None:
    await core.add()
    made = await make(core)
    for number in range(LIMITS.network_attempts):
        wrong = new_text() if number % 2 else replace(new_text(), id=made.token.id)
        assert await find(core, str(wrong)) == (False, False)
    with pytest.raises(LockedOut) as caught:
        await find(core, str(new_text()))
    assert caught.value.scope == "network" and caught.value.retry_after_s == LIMITS.ban_s
    kinds = core.audit_log.kinds()
    assert kinds.count(Kind.TOKEN_FAILED) == LIMITS.network_attempts
    [locked] = [one for one in core.audit_log.events if one.kind is Kind.LOCKED_OUT]
    assert (locked.detail, locked.address) == ("network", CLIENT.address)
    assert await find(core, made.text) == (True, True)
    assert await core.api_tokens.find(str(new_text()).encode(), None, ELSEWHERE, NOW)
    with pytest.raises(LockedOut):
        await core.login()


async def test_a_wrong_token_costs_no_hash_of_a_password(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.passwords, "_run", None)
    assert await find(core, str(new_text())) == (False, False)


async def test_a_used_token_is_hashed_again_under_the_new_key(core: Core) -> None:
    await core.add()
    made = await make(core)
    core.api_tokens._hashes = TokenHashes(Keys((b"n" * 32, b"k" * 32)))
    assert await find(core, made.text) == (True, True)
    core.api_tokens._hashes = TokenHashes(Keys((b"n" * 32,)))
    assert await find(core, made.text) == (True, True)


async def test_a_super_admin_cannot_create_tokens_for_others(core: Core) -> None:
    boss = await core.add("boss", super_admin=True)
    user = await core.add()
    with pytest.raises(NotPermitted):
        await core.api_tokens.add_token(user, NewToken("phone"), actor=boss, now=NOW)
    assert core.token_rows.rows == {}


async def test_creating_a_token_requires_recent_proof(core: Core) -> None:
    await core.add()
    session = (await core.login()).session
    made = await core.api_tokens.make_token(session, NewToken("phone"), now=NOW)
    assert await find(core, made.text) == (True, True)
    with pytest.raises(ProofRequired):
        await core.api_tokens.make_token(session, NewToken("phone"), now=NOW + 3600)
    for level in (PENDING, TOKEN):
        session.level = level
        with pytest.raises(SessionNotFound):
            await core.api_tokens.make_token(session, NewToken("phone"), now=NOW)


async def test_a_user_sees_and_revokes_only_own_tokens(core: Core) -> None:
    alice, bob = await core.add(), await core.add("bob")
    mine, other = await make(core), await make(core, "bob")
    assert [t.id for t in await core.api_tokens.list(alice, NOW)] == [mine.token.id]
    with pytest.raises(TokenNotFound):
        await core.api_tokens.revoke(other.token.id, actor=alice, now=NOW)
    with pytest.raises(TokenNotFound):
        await core.api_tokens.revoke("no such id", actor=alice, now=NOW)
    with pytest.raises(NotPermitted):
        await core.api_tokens.page(alice, None, 10, NOW)
    await core.api_tokens.revoke(mine.token.id, actor=alice, now=NOW)
    assert await find(core, mine.text) == (False, True)
    assert await find(core, other.text) == (True, True) and bob


async def test_an_administrator_sees_all_tokens(core: Core) -> None:
    admin = await core.add("admin", roles=[ADMIN])
    await core.add()
    made = [(await make(core)).token.id for _ in range(5)]
    first = await core.api_tokens.page(admin, None, 3, NOW)
    second = await core.api_tokens.page(admin, first[-1].number, 3, NOW)
    assert [token.id for token in (*first, *second)] == made[::-1]
    assert [token.id async for token in core.api_tokens.every(NOW)] == made[::-1]


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (NewToken(""), "name"),
        (NewToken(" phone"), "name"),
        (NewToken("x" * 191), "name"),
        (NewToken("a\nb"), "name"),
        (NewToken("phone", life_s=0.0), "expires"),
        (NewToken("phone", life_s=float("nan")), "expires"),
        (NewToken("phone", TokenScope(routes=("wiki",))), "route wiki"),
        (NewToken("phone", TokenScope(routes=("/a/../b",))), "dot segment"),
        (NewToken("phone", TokenScope(routes=("/a;b",))), "'/a;b' can also be read as '/a'"),
        (NewToken("phone", TokenScope(routes=("a.test//b",))), "(write it as /b)"),
        (NewToken("phone", TokenScope(routes=("/.doorward/account",))), "belong to Doorward"),
        (NewToken("phone", TokenScope(methods=("get",))), "GET"),
        (NewToken("phone", TokenScope(networks=("10.0.0.1/8",))), "bits"),
        (NewToken("phone", TokenScope(networks=("nowhere",))), "network nowhere"),
        (NewToken("phone", TokenScope(methods=("GET",) * 33)), "at most 32"),
        (NewToken("phone", TokenScope(admin="read")), "administrators"),
    ],
)
async def test_invalid_token_attributes_are_refused_with_a_message(
    core: Core, new: NewToken, says: str
) -> None:
    user = await core.add()
    with pytest.raises(InvalidToken, match=re.escape(says)):
        await core.api_tokens.add_token(user, new, actor=OWNER, now=NOW)
    assert core.token_rows.rows == {}


async def test_scopes_are_stored_normalised(core: Core) -> None:
    await core.add()
    scope = TokenScope(
        ("/wiki/", "Wiki.Example.com/a", "*.example.com/"), ("GET", "GET"), ("192.0.2.1",)
    )
    made = await make(core, scope=scope)
    assert made.token.scope == TokenScope(
        ("/wiki", "wiki.example.com/a", "*.example.com/"), ("GET",), ("192.0.2.1/32",)
    )


async def test_tokens_per_user_are_limited(core: Core) -> None:
    await core.add()
    made = [await make(core) for _ in range(MOST_PER_USER)]
    with pytest.raises(InvalidToken):
        await make(core)
    await core.api_tokens.revoke(made[0].token.id, actor=OWNER, now=NOW)
    await make(core)


async def test_the_last_use_is_recorded_and_expired_tokens_are_purged(core: Core) -> None:
    user = await core.add()
    made = await make(core, life_s=50.0)
    await core.api_tokens.touch([TokenUse(made.token.number, NOW + 9, "192.0.2.9", "git/2")])
    await core.api_tokens.touch([TokenUse(made.token.number, NOW + 5, "192.0.2.5", "old")])
    [token] = await core.api_tokens.list(user, NOW)
    assert (token.last_used_at, token.address, token.user_agent) == (NOW + 9, "192.0.2.9", "git/2")
    assert await core.api_tokens.purge(NOW + KEPT_S) == 0
    assert await core.api_tokens.purge(NOW + KEPT_S + 51) == 1
    assert await find(core, made.text) == (False, False)
