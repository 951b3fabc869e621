"""Sessions in memory, and what happens when they can no longer be refreshed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from types import ModuleType

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.sessions import live as live_module
from doorward.accounts.sessions.sessions import ClientInfo, Found, Lifetimes, Opened, Session
from doorward.accounts.user import User
from doorward.rewrite.identity_headers import IdentityHeaders
from doorward.settings.identity import PRESETS
from doorward.storage import feed as feed_module
from doorward.wiring.accounts import Accounts

from tests.support.clock import FixedClock
from tests.support.sessions import open_session

LIFETIMES = Lifetimes(None, 86400.0, 86400.0, None)


async def opened(accounts: Accounts, clock: FixedClock, name: str) -> Opened:
    user = await accounts.users.add(name, "correct horse", now=clock())
    return await open_from(accounts, clock, user)


async def open_from(accounts: Accounts, clock: FixedClock, user: User) -> Opened:
    client = ClientInfo("192.0.2.7", "")
    return await open_session(
        accounts.sessions, user, client=client, lifetimes=LIFETIMES, now=clock()
    )


async def held(accounts: Accounts, clock: FixedClock, token: str) -> Session:
    found = await accounts.live.find(token.encode(), token, clock())
    assert found.session is not None and not found.session.stale
    return found.session


async def test_an_ended_session_is_stale(accounts: Accounts, clock: FixedClock) -> None:
    mine, other = [await opened(accounts, clock, name) for name in ("alice", "bob")]
    session = await held(accounts, clock, mine.token)
    bobs = await held(accounts, clock, other.token)
    await accounts.sessions.end(session, clock())
    await accounts.live.catch_up(clock())
    assert session.stale and not bobs.stale
    assert accounts.live.peek(mine.token.encode(), clock()) is None


async def test_a_session_is_read_again_after_a_change_to_its_user(
    accounts: Accounts, clock: FixedClock
) -> None:
    mine = await opened(accounts, clock, "alice")
    session = await held(accounts, clock, mine.token)
    await accounts.users.ban("alice", clock(), actor=OWNER)
    await accounts.users.unban("alice", clock(), actor=OWNER)
    await accounts.live.catch_up(clock())
    assert session.stale
    assert await held(accounts, clock, mine.token) is not session


async def test_a_session_for_which_there_is_no_room_is_stale(
    accounts: Accounts, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "SESSIONS_LIMIT", 1)
    tokens = [(await opened(accounts, clock, name)).token for name in ("alice", "bob")]
    first = await held(accounts, clock, tokens[0])
    second = await held(accounts, clock, tokens[1])
    assert (first.stale, second.stale) == (True, False)


async def test_a_session_stays_cached_while_one_carrier_remains(
    accounts: Accounts, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "SESSIONS_LIMIT", 2)
    token = (await opened(accounts, clock, "alice")).token
    session = await held(accounts, clock, token)
    again = await accounts.live.find(b"another way", token, clock())
    assert again.session is session
    await held(accounts, clock, (await opened(accounts, clock, "bob")).token)
    assert not session.stale


@pytest.mark.parametrize("is_cached", [True, False])
async def test_a_use_recorded_while_the_clock_was_ahead_extends_no_session(
    is_cached: bool, accounts: Accounts, clock: FixedClock
) -> None:
    user = await accounts.users.add("alice", "correct horse", now=clock())
    opened = await open_session(
        accounts.sessions,
        user,
        now=clock(),
        lifetimes=Lifetimes(7200.0, 86_400.0 * 365, 86_400.0 * 365, None),
    )
    right = clock.now
    clock.now += 5000
    session = await held(accounts, clock, opened.token)
    clock.now += 86_400 * 30
    await accounts.sessions.touch([(session.number, clock())])
    session.last_used_at = clock()
    clock.now = right + 5001
    if not is_cached:
        await accounts.sessions.correct(clock())
    await accounts.live.catch_up(clock())
    await held(accounts, clock, opened.token)  # a use, at the right time
    await accounts.live.flush()
    clock.now += 7201
    found = await accounts.live.find(opened.token.encode(), opened.token, clock())
    assert found.known and found.session is None


class Credential:
    """A credential that counts how often any of its kind is compared."""

    looks = 0

    def __init__(self, number: int) -> None:
        self._number = number

    def __hash__(self) -> int:
        Credential.looks += 1
        return self._number

    def __eq__(self, other: object) -> bool:
        Credential.looks += 1
        return self is other


async def end_all(accounts: Accounts, clock: FixedClock) -> None:
    await accounts.users.ban("alice", clock(), actor=OWNER)
    await accounts.live.catch_up(clock())


async def forget(accounts: Accounts, clock: FixedClock) -> None:
    accounts.live.forget()


@pytest.mark.parametrize("drop", [end_all, forget])
async def test_dropping_many_sessions_of_one_user_takes_linear_time(
    accounts: Accounts,
    clock: FixedClock,
    drop: Callable[[Accounts, FixedClock], Awaitable[None]],
) -> None:
    """It blocks the event loop: with one pass over all sessions for each, 20,000 took ten
    seconds."""
    first = (await opened(accounts, clock, "alice")).session
    many = [replace(first, number=number) for number in range(1000)]
    for session in many:

        async def ask(session: Session = session) -> Found:
            return Found(session, known=True)

        await accounts.live.find_by(Credential(session.number), ask, clock())
    assert accounts.live.count == 1000
    Credential.looks = 0
    await drop(accounts, clock)
    assert accounts.live.count == 0 and all(session.stale for session in many)
    assert Credential.looks < 20 * len(many)


async def test_revocations_read_in_several_batches_are_all_applied(
    accounts: Accounts, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "READ_AT_ONCE", 2)
    mine = [await opened(accounts, clock, name) for name in ("alice", "bob", "carol", "dave")]
    sessions = [await held(accounts, clock, one.token) for one in mine]
    for session in sessions:
        await accounts.sessions.end(session, clock())
    await accounts.live.catch_up(clock())
    assert all(session.stale for session in sessions)


# It was 1000 bytes when each session kept its identity headers in its own dictionary.
SESSION_BYTES = 800


async def test_a_session_in_use_takes_little_memory(accounts: Accounts, clock: FixedClock) -> None:
    """Shared objects count once: the user, the user's headers, the browser."""
    write_headers = IdentityHeaders(PRESETS["remote-user"], "percent")
    user = await accounts.users.add("alice", "correct horse", now=clock(), groups=["staff"])
    tokens = []
    for _ in range(100):  # the maximum per user
        tokens.append((await open_from(accounts, clock, user)).token)
        clock.now += 1
    for token in tokens:
        value = accounts.tokens.sign(token).encode()
        found = await accounts.live.find(value, token, clock())
        assert found.session is not None
        accounts.live.use(found.session, clock())
        assert b"Remote-User: alice" in write_headers(found.session, clock())
    taken = count_bytes(accounts.live._cached, accounts.live._of_session)
    assert taken / len(tokens) < SESSION_BYTES


def count_bytes(*roots: object) -> int:
    """The memory of everything reachable from here, without code and interned strings."""
    seen: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | Enum | IdentityHeaders):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return sum(map(sys.getsizeof, seen.values()))
