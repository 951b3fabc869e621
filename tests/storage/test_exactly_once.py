"""Everything that can be used once is used once, even by concurrent requests in several processes:
one contract for all of the core."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from doorward.accounts.audit.audit_log import Event, Kind
from doorward.accounts.refusals import EnrolmentExpired, NameTaken, SessionNotFound, UserNotFound
from doorward.accounts.session import Renewal, Session
from doorward.accounts.sessions.handover import Code
from doorward.accounts.user import Email, NewPassword, User
from doorward.storage import Database

from tests.storage.conftest import Open
from tests.support.people import NOW, add, digest, open_session

AT_ONCE = 8
Use = Callable[[Database, User, Session], Awaitable[object]]
KEY, SECRET, CODE = b"key", b"sealed secret", b"c" * 32
HANDED_OVER, BINDING = b"h" * 32, b"b" * 32


async def set_address(store: Database, user: User, session: Session) -> object:
    """Set an address as a mailed link does: only while the addresses are unchanged."""

    def change(now: User) -> tuple[User, list[str]]:
        if now.emails != user.emails:
            raise EnrolmentExpired
        return replace(now, emails=(Email("new@example.com", True),)), ["alice"]

    return await store.users.edit(user, change, NOW)


async def take_code(store: Database, user: User, session: Session) -> object:
    event = Event(NOW, Kind.HANDED_OVER)
    parts = HANDED_OVER, BINDING, digest()
    taken = await store.handovers.take_code(*parts, most=8, now=NOW, event=event, failed=event)
    return taken is not None


USES: dict[str, Use] = {
    "a code for another host": take_code,
    "a session ended": lambda s, u, x: s.sessions.end(x.number, NOW, "logout"),
    "sessions ended together": lambda s, u, x: s.sessions.end_many([x.number], NOW, "revoked"),
    "a rise": lambda s, u, x: s.sessions.rise(x, digest(), "password+totp", NOW),
    "a token renewed": lambda s, u, x: renewed(s, u, x),
    "a step of TOTP": lambda s, u, x: s.factors.accept_step(u.number, SECRET, 7),
    "a mailed code": lambda s, u, x: s.factors.accept_code(u.number, CODE, NOW),
    "a recovery code": lambda s, u, x: s.factors.accept_recovery(u.number, CODE),
    "a mail sent": lambda s, u, x: s.factors.issue_code(
        u.number, b"d" * 32, NOW + 7200, NOW + 3600
    ),
    "TOTP off": lambda s, u, x: s.factors.turn_off_totp(u.number, NOW),
    "a link for a password": lambda s, u, x: s.users.set_password(
        u, NewPassword("new", "s"), must_change=False, now=NOW, version=u.version
    ),
    "a link for an address": set_address,
}


async def renewed(store: Database, user: User, session: Session) -> object:
    renewal = Renewal(session, "", digest())
    await store.sessions.end_all(user.number, NOW, "revoked", session.number, None, renewal)
    return True


async def succeeded(use: Awaitable[object]) -> bool:
    try:
        found = await use
    except (SessionNotFound, UserNotFound, EnrolmentExpired, NameTaken):
        return False
    return found is None or bool(found)


async def prepared(store: Database) -> tuple[User, Session]:
    user = await add(store)
    session = await open_session(store, user)
    await store.factors.create(user.number, KEY)
    await store.factors.turn_on_totp(user.number, SECRET, 1, [CODE], NOW)
    await store.factors.set_email(user.number, True, NOW)
    await store.factors.issue_code(user.number, CODE, NOW + 3600, NOW)
    code = Code(HANDED_OVER, session.number, BINDING, NOW + 60)
    await store.handovers.add_code(code, 8, NOW)
    return user, session


@pytest.mark.parametrize("what", USES)
async def test_concurrent_uses_succeed_once(opened: Open, what: str) -> None:
    stores = [await opened(), await opened()]
    user, session = await prepared(stores[0])
    uses = [
        succeeded(_none_is_no(what, USES[what](stores[number % 2], user, session)))
        for number in range(AT_ONCE)
    ]
    assert (await asyncio.gather(*uses)).count(True) == 1
    again = succeeded(_none_is_no(what, USES[what](stores[0], user, session)))
    assert not await again, "nor later"


async def _none_is_no(what: str, use: Awaitable[object]) -> object:
    found = await use
    return found is not None if what == "a rise" else found


async def test_an_enrolment_turns_totp_on_once(opened: Open) -> None:
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    session = await open_session(stores[0], user)
    await stores[0].factors.create(user.number, KEY)
    await stores[0].factors.enrol(session.number, SECRET, NOW + 600)
    uses = [
        stores[number % 2].factors.turn_on_totp(user.number, SECRET, 1, [CODE], NOW)
        for number in range(AT_ONCE)
    ]
    assert (await asyncio.gather(*uses)).count(True) == 1
    assert await stores[0].factors.enrolment(session.number, NOW) is None


async def test_a_renewed_session_has_one_token_and_a_stale_copy_changes_nothing(
    opened: Open,
) -> None:
    """On every worker: the feed contains the session, and the old token is known to be invalid."""
    stores = [await opened(), await opened()]
    user = await add(stores[0])
    session, other = await open_session(stores[0], user), await open_session(stores[0], user)
    before, first, second = await stores[1].feed.head(), digest(), digest()
    await stores[0].sessions.end_all(
        user.number, NOW, "revoked", session.number, None, Renewal(session, "", first)
    )
    assert session.number in (await stores[1].feed.news(before)).sessions
    found = await stores[1].sessions.by_digest(first)
    assert found is not None and found.is_live(NOW) and found.renewals == 1
    third = await open_session(stores[0], user)
    with pytest.raises(SessionNotFound):
        await stores[1].sessions.end_all(
            user.number, NOW, "revoked", session.number, None, Renewal(session, "", second)
        )
    live = {one.number for one in await stores[0].sessions.list(user.number, NOW)}
    assert live == {session.number, third.number} and other.number not in live
