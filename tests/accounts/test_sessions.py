"""Sessions: their lifetime and their end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import InvalidCredentials
from doorward.accounts.sessions.sessions import USER_AGENT_CHARACTERS, ClientInfo, Found, Lifetimes

from tests.support.core import CLIENT, Core
from tests.support.memory import NOW
from tests.support.sessions import open_session

HOUR, DAY = 3600.0, 86_400.0


async def test_a_session_is_found_only_by_its_token(core: Core) -> None:
    user = await core.add()
    opened = await open_session(core.sessions, user, client=CLIENT, now=NOW)
    found = await core.sessions.by_token(opened.token, NOW)
    assert found.known and found.session is not None
    assert found.session.id == opened.session.id and found.session.user == user
    assert len(opened.session.id) == 17 and len(opened.token) == 43
    assert opened.token not in repr(opened)
    assert await core.sessions.by_token("A" * 43, NOW) == Found(None, known=False)


@pytest.mark.parametrize(
    ("lifetimes", "remember", "used_at", "ends"),
    [
        (Lifetimes(2 * HOUR, DAY, 30 * DAY, None), False, 0.0, 2 * HOUR),
        (Lifetimes(2 * HOUR, DAY, 30 * DAY, None), False, 23 * HOUR, DAY),
        (Lifetimes(2 * HOUR, DAY, 30 * DAY, None), True, 0.0, 30 * DAY),
        (Lifetimes(None, DAY, 30 * DAY, None), False, 0.0, DAY),
        (Lifetimes(2 * HOUR, DAY, 30 * DAY, 7 * DAY), True, 0.0, 7 * DAY),
        (Lifetimes(None, DAY, 30 * DAY, HOUR), False, 0.0, HOUR),
    ],
)
async def test_a_session_ends_when_idle_or_old(
    core: Core, lifetimes: Lifetimes, remember: bool, used_at: float, ends: float
) -> None:
    """CVE-2025-64708: expiry was enforced only by a periodic clean-up."""
    await core.add()
    opened = await core.login(lifetimes=lifetimes, remember=remember)
    if used_at:
        await core.sessions.touch([(opened.session.number, NOW + used_at)])
    just_before = await core.sessions.by_token(opened.token, NOW + ends - 0.001)
    after = await core.sessions.by_token(opened.token, NOW + ends)
    assert just_before.session is not None
    assert after == Found(None, known=True)


async def test_an_ended_session_stays_ended(core: Core) -> None:
    """CVE-2024-21492: logging out left the token valid."""
    await core.add()
    opened = await core.login()
    await core.sessions.end(opened.session, NOW)
    assert await core.sessions.by_token(opened.token, NOW) == Found(None, known=True)
    await core.sessions.end(opened.session, NOW + 1)
    assert await core.sessions.by_token(opened.token, NOW) == Found(None, known=True)


async def test_all_sessions_end_but_the_one_named(core: Core) -> None:
    user = await core.add()
    opened = [await core.login() for _ in range(3)]
    assert await core.sessions.end_all(user, NOW, but=opened[0].session) == 2
    assert [s.id for s in await core.sessions.list(user, NOW)] == [opened[0].session.id]
    assert await core.sessions.end_all(user, NOW) == 1


async def test_a_session_of_a_user_removed_from_the_file_is_invalid(core: Core) -> None:
    core.directory.keep("admin")
    await core.users.sync(NOW)
    user = await core.users.get("admin")
    opened = await open_session(core.sessions, user, client=CLIENT, now=NOW)
    found = await core.sessions.by_token(opened.token, NOW)
    assert found.session is not None and found.session.user.groups == ("g",)
    core.directory.kept.clear()
    assert await core.sessions.by_token(opened.token, NOW) == Found(None, known=True)


async def test_a_user_changed_since_it_was_read_gets_no_session(core: Core) -> None:
    user = await core.add()
    await core.users.set_password("alice", "another one", now=NOW, actor=OWNER)
    with pytest.raises(InvalidCredentials) as caught:
        await open_session(core.sessions, user, client=CLIENT, now=NOW)
    assert caught.value.reason == "changed"


async def test_a_long_user_agent_is_truncated(core: Core) -> None:
    await core.add()
    opened = await core.login(client=ClientInfo("192.0.2.1", "x" * 10_000))
    assert len(opened.session.user_agent) == USER_AGENT_CHARACTERS


async def test_a_changed_copy_of_a_session_or_user_has_no_cached_values(core: Core) -> None:
    """A changed copy must derive its values again. Otherwise applications would get outdated
    headers."""
    await core.add()
    one, other = (await core.login()).session, (await core.login()).session
    one.derived["x"] = one.user.derived["x"] = 1
    assert other.derived == {}
    assert replace(one) != one, "sessions are compared by identity"
    assert replace(one, renewals=1).derived == {}
    changed = replace(one.user, groups=("staff",))
    assert changed.derived == {} and changed != one.user
    assert replace(one.user) == one.user, "users are compared by their attributes"
