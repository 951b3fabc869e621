"""Codes that hand sessions over, and the tokens of other hosts: one contract for both databases."""

from __future__ import annotations

import asyncio

import pytest
from doorward.accounts.audit.audit_log import Event, Kind, RecordFilter
from doorward.accounts.session import Renewal, Session
from doorward.accounts.sessions.handover import Code
from doorward.storage import Database

from tests.storage.conftest import Open
from tests.support.people import NOW, add, digest, open_session

BINDING = b"b" * 32
EVENT = Event(NOW, Kind.HANDED_OVER, detail="other.example.org")
FAILED = Event(NOW, Kind.HANDOVER_FAILED, detail="other.example.org")


async def issue(store: Database, session: Session, **more: object) -> bytes:
    values = {"binding": BINDING, "expires_at": NOW + 60, **more}
    code = Code(digest(), session.number, **values)  # type: ignore[arg-type]
    await store.handovers.add_code(code, 8, NOW)
    return code.digest


async def take(store: Database, code: bytes, token: bytes, **more: object) -> Session | None:
    values = {"binding": BINDING, "most": 8, "now": NOW, "event": EVENT, "failed": FAILED, **more}
    return await store.handovers.take_code(code, token=token, **values)  # type: ignore[arg-type]


async def test_a_code_is_exchanged_for_a_token(store: Database) -> None:
    session = await open_session(store, await add(store))
    token = digest()
    taken = await take(store, await issue(store, session), token)
    assert taken is not None and taken.number == session.number
    found = await store.handovers.by_token(token)
    assert found is not None and found.id == session.id
    assert await store.sessions.by_digest(token) is None
    (record,) = await store.audit_log.latest(RecordFilter(kind=Kind.HANDED_OVER), 5)
    assert (record.event.subject, record.event.session) == ("Alice", session.id)


@pytest.mark.parametrize("wrong", [{"binding": b"d" * 32}, {"now": NOW + 60}], ids=str)
async def test_a_code_that_is_presented_wrongly_is_used_up(
    store: Database, wrong: dict[str, object]
) -> None:
    session = await open_session(store, await add(store))
    code = await issue(store, session)
    assert await take(store, code, digest(), **wrong) is None
    (record,) = await store.audit_log.latest(RecordFilter(kind=Kind.HANDOVER_FAILED), 5)
    assert (record.event.subject, record.event.session) == ("Alice", session.id)
    assert await take(store, code, digest()) is None
    assert len(await store.audit_log.latest(RecordFilter(kind=Kind.HANDOVER_FAILED), 5)) == 1


async def test_a_session_that_ended_is_not_handed_over(store: Database) -> None:
    session = await open_session(store, await add(store))
    code, token = await issue(store, session), digest()
    assert await take(store, await issue(store, session), token) is not None
    await store.sessions.end(session.number, NOW, "logout")
    assert await take(store, code, digest()) is None
    found = await store.handovers.by_token(token)
    assert found is not None and not found.is_live(NOW)


async def test_a_renewal_and_a_hand_over_at_once_leave_no_token(opened: Open) -> None:
    """In either order, and in any process."""
    for turn in range(6):
        one, other = await opened(), await opened()
        session = await open_session(one, await add(one, f"user{turn}"))
        code, token = await issue(one, session), digest()
        renewal = Renewal(session, "", digest())
        await asyncio.gather(
            one.sessions.prove(session.number, NOW, renewal), take(other, code, token)
        )
        assert await one.handovers.by_token(token) is None


async def test_expired_rows_are_deleted(store: Database) -> None:
    session = await open_session(store, await add(store))
    code = await issue(store, session)
    await store.handovers.purge_codes(NOW + 60)
    assert await take(store, code, digest()) is None
    token = digest()
    assert await take(store, await issue(store, session), token) is not None
    await store.handovers.drop_token(token, NOW)
    await store.handovers.drop_token(token, NOW)
    assert await store.handovers.by_token(token) is None


async def test_a_session_has_few_tokens(store: Database) -> None:
    session = await open_session(store, await add(store))
    tokens = [digest() for _ in range(5)]
    for at, token in enumerate(tokens):
        code = await issue(store, session)
        assert await take(store, code, token, most=3, now=NOW + at) is not None
    found = [await store.handovers.by_token(token) for token in tokens]
    assert [one is not None for one in found] == [False, False, True, True, True]
