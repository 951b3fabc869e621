"""Factors in the database: single-use operations happen once, also over two connections."""

from __future__ import annotations

import asyncio

import pytest
from doorward.accounts.audit.audit_log import Event, Kind
from doorward.accounts.factors.records import NONE, Sealed
from doorward.accounts.session import FULL, PENDING
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.storage import Database
from doorward.storage.tables import enrolments, factors, recovery_codes
from sqlalchemy import select

from tests.storage.conftest import Open
from tests.support.people import NOW, add, digest, open_session

SEALED = b"sealed secret"
CODES = [bytes([n]) * 32 for n in range(12)]
EVENT = Event(NOW, Kind.FACTOR_ADDED)


@pytest.fixture
async def user(store: Database) -> User:
    """A user with an empty row of factors."""
    user = await add(store, "Alice", "alice@example.com")
    await store.factors.create(user.number, b"key")
    return user


@pytest.fixture
async def other(opened: Open, store: Database) -> Database:
    """The same database, opened like in another process."""
    return await opened()


async def with_totp(store: Database, user: User, step: int | None = 1) -> None:
    assert await store.factors.turn_on_totp(user.number, SEALED, step, CODES, NOW, EVENT)


async def winners(*attempts: object) -> int:
    return sum(await asyncio.gather(*attempts))  # type: ignore[call-overload]


async def test_a_user_without_factors_has_no_row(store: Database) -> None:
    user = await add(store)
    assert await store.factors.read(user.number) == NONE


async def test_a_row_is_made_once(store: Database, user: User) -> None:
    await store.factors.create(user.number, b"another key")
    assert (await store.factors.read(user.number)).code_key == b"key"


async def test_totp_is_turned_on_once_and_off_once(store: Database, user: User) -> None:
    await with_totp(store, user)
    found = await store.factors.read(user.number)
    assert found.enabled == ("totp",) and found.totp == SEALED and found.recovery == 12
    assert not await store.factors.turn_on_totp(user.number, b"another", 9, [], NOW)
    assert (await store.factors.read(user.number)) == found
    assert await store.factors.turn_off_totp(user.number, NOW)
    assert not await store.factors.turn_off_totp(user.number, NOW)
    assert (await store.factors.read(user.number)).recovery == 0


async def test_two_secrets_confirmed_at_once_leave_one(
    store: Database, other: Database, user: User
) -> None:
    tries = [
        each.factors.turn_on_totp(user.number, bytes([n]), 1, CODES, NOW)
        for n, each in enumerate([store, other] * 3)
    ]
    assert await winners(*tries) == 1


@pytest.mark.parametrize("round_", range(5))
async def test_a_step_is_accepted_by_one_of_many(
    store: Database, other: Database, user: User, round_: int
) -> None:
    await with_totp(store, user)
    tries = [each.factors.accept_step(user.number, SEALED, 2) for each in [store, other] * 5]
    assert await winners(*tries) == 1


async def test_a_step_of_the_past_or_of_another_secret_is_refused(
    store: Database, user: User
) -> None:
    await with_totp(store, user, step=5)
    accept = store.factors.accept_step
    assert not await accept(user.number, SEALED, 5)
    assert not await accept(user.number, SEALED, 4)
    assert not await accept(user.number, b"another secret", 6)
    assert await accept(user.number, SEALED, 6)


async def test_an_adopted_secret_has_no_used_step(store: Database, user: User) -> None:
    await with_totp(store, user, step=None)
    assert await store.factors.accept_step(user.number, SEALED, 0)


@pytest.mark.parametrize("round_", range(5))
async def test_a_recovery_code_is_accepted_by_one_of_many(
    store: Database, other: Database, user: User, round_: int
) -> None:
    await with_totp(store, user)
    tries = [each.factors.accept_recovery(user.number, CODES[0]) for each in [store, other] * 5]
    assert await winners(*tries) == 1
    assert (await store.factors.read(user.number)).recovery == 11


async def test_recovery_codes_replaced_during_use_are_the_new_ones(
    store: Database, other: Database, user: User
) -> None:
    await with_totp(store, user)
    new = [bytes([100 + n]) * 32 for n in range(12)]
    await asyncio.gather(
        *(store.factors.accept_recovery(user.number, old) for old in CODES),
        *(each.factors.replace_recovery(user.number, new, NOW) for each in [store, other] * 2),
    )
    assert (await store.factors.read(user.number)).recovery == 12
    assert not await store.factors.accept_recovery(user.number, CODES[0])


@pytest.mark.parametrize("round_", range(5))
async def test_a_mailed_code_is_issued_once_and_accepted_by_one_of_many(
    store: Database, other: Database, user: User, round_: int
) -> None:
    await store.factors.set_email(user.number, True, NOW)
    tries = [
        each.factors.issue_code(user.number, bytes([n]) * 32, NOW + 60, NOW)
        for n, each in enumerate([store, other] * 5)
    ]
    assert await winners(*tries) == 1
    kept = (await store.factors.read(user.number)).code_digest
    assert kept is not None
    uses = [each.factors.accept_code(user.number, kept, NOW) for each in [store, other] * 5]
    assert await winners(*uses) == 1
    assert not (await store.factors.read(user.number)).has_live_code(NOW)


async def test_a_mailed_code_expires_is_extended_and_dropped(store: Database, user: User) -> None:
    rows, code = store.factors, digest()
    await rows.set_email(user.number, True, NOW)
    assert await rows.issue_code(user.number, code, NOW + 60, NOW)
    assert not await rows.accept_code(user.number, code, NOW + 60)
    await rows.prolong_code(user.number, code, NOW + 3600)
    await rows.prolong_code(user.number, digest(), NOW + 9999)
    await rows.drop_code(user.number, digest())
    assert (await rows.read(user.number)).code_expires == NOW + 3600
    await rows.drop_code(user.number, code)
    assert not await rows.accept_code(user.number, code, NOW)


async def test_a_code_mailed_while_the_clock_was_ahead_is_expired(
    store: Database, user: User
) -> None:
    """Otherwise the user could not get a new one until that time."""
    rows, code = store.factors, digest()
    await rows.set_email(user.number, True, NOW)
    await rows.issue_code(user.number, code, NOW + 60, NOW)
    await rows.prolong_code(user.number, code, NOW + 3600)
    back = NOW - 86_400
    assert not (await rows.read(user.number)).has_live_code(back)
    assert not await rows.accept_code(user.number, code, back)
    for differs in (-30, 0):  # of two hosts
        assert (await rows.read(user.number)).has_live_code(NOW + differs)
    assert await rows.issue_code(user.number, code, back + 60, back)


async def test_no_code_is_issued_for_a_factor_that_is_off_or_while_locked(
    store: Database, user: User
) -> None:
    rows = store.factors
    assert not await rows.issue_code(user.number, digest(), NOW + 60, NOW)
    await rows.set_email(user.number, True, NOW)
    await rows.spend(user.number, attempts=1, lock_s=300, now=NOW)
    assert not await rows.issue_code(user.number, digest(), NOW + 60, NOW)
    assert await rows.issue_code(user.number, digest(), NOW + 360, NOW + 300)


async def test_the_budget_is_spent_by_as_many_as_it_holds(
    store: Database, other: Database, user: User
) -> None:
    tries = [
        each.factors.spend(user.number, attempts=5, lock_s=300, now=NOW)
        for each in [store, other] * 10
    ]
    spent = [one for one in await asyncio.gather(*tries) if one is not None]
    assert sorted(one.locked_until is not None for one in spent) == [False] * 4 + [True]
    assert [lock.until for lock in await store.factors.locks(NOW)] == [NOW + 300]


async def test_after_a_lock_the_budget_is_whole_again(store: Database, user: User) -> None:
    spend = store.factors.spend
    for attempt in range(5):
        last = await spend(user.number, attempts=5, lock_s=300, now=NOW)
        assert last is not None and (last.locked_until is not None) is (attempt == 4)
    assert await spend(user.number, attempts=5, lock_s=300, now=NOW + 299) is None
    for attempt in range(5):
        last = await spend(user.number, attempts=5, lock_s=300, now=NOW + 300)
        assert last is not None and (last.locked_until is not None) is (attempt == 4)


async def test_a_lock_shortens_the_life_of_a_mailed_code_to_its_own(
    store: Database, user: User
) -> None:
    rows, code = store.factors, digest()
    await rows.set_email(user.number, True, NOW)
    await rows.issue_code(user.number, code, NOW + 3600, NOW)
    await rows.spend(user.number, attempts=1, lock_s=300, now=NOW)
    await rows.prolong_code(user.number, code, NOW + 3600)
    assert (await rows.read(user.number)).code_expires == NOW + 300


@pytest.mark.parametrize("how", ["step", "recovery", "code", "forgive"])
async def test_a_right_password_restores_the_budget(store: Database, user: User, how: str) -> None:
    rows, code = store.factors, digest()
    await with_totp(store, user)
    await rows.set_email(user.number, True, NOW)
    await rows.issue_code(user.number, code, NOW + 60, NOW)
    await rows.spend(user.number, attempts=1, lock_s=300, now=NOW)
    if how == "step":
        assert await rows.accept_step(user.number, SEALED, 2)
    elif how == "recovery":
        assert await rows.accept_recovery(user.number, CODES[3])
    elif how == "code":
        assert await rows.accept_code(user.number, code, NOW)
    else:
        await rows.forgive(user.number)
    found = await rows.spend(user.number, attempts=2, lock_s=300, now=NOW)
    assert found is not None and found.locked_until is None


async def test_the_last_enrolment_of_a_session_counts_until_it_expires(
    store: Database, user: User
) -> None:
    rows, session = store.factors, await open_session(store, user)
    for secret in (b"first", b"second"):
        await rows.enrol(session.number, secret, NOW + 600)
    assert await rows.enrolment(session.number, NOW + 599) == b"second"
    assert await rows.enrolment(session.number, NOW + 600) is None
    another = await open_session(store, user)
    assert await rows.enrolment(another.number, NOW) is None
    await with_totp(store, user)
    assert await rows.enrolment(session.number, NOW) is None


async def test_a_change_of_factors_ends_trust_and_is_announced(store: Database, user: User) -> None:
    session = await open_session(store, user)
    for change in (
        store.factors.turn_on_totp(user.number, SEALED, 1, CODES, NOW),
        store.factors.set_email(user.number, True, NOW),
        store.factors.turn_off_totp(user.number, NOW),
        store.factors.set_email(user.number, False, NOW),
    ):
        assert await store.sessions.trust(session.number, NOW, NOW + 300, "f" * 64, NOW)
        before = await store.feed.head()
        await change
        (found,) = await store.sessions.list(user.number, NOW)
        assert found.trusted_until is None and found.trusted_fingerprint is None
        assert found.second_factor_at == NOW
        assert user.number in (await store.feed.news(before)).users


async def test_a_reset_takes_everything_but_email_and_ends_all_sessions(
    store: Database, user: User
) -> None:
    rows = store.factors
    await with_totp(store, user)
    await rows.set_email(user.number, True, NOW)
    await rows.issue_code(user.number, digest(), NOW + 60, NOW)
    await rows.spend(user.number, attempts=1, lock_s=300, now=NOW)
    session = await open_session(store, user)
    before = await store.feed.head()
    assert await rows.reset(user.number, b"fresh", NOW)
    found = await rows.read(user.number)
    assert found.enabled == ("email",) and found.code_key == b"fresh"
    assert found.recovery == 0 and not found.is_locked(NOW) and found.code_digest is None
    assert await store.sessions.list(user.number, NOW) == []
    assert session.number in (await store.feed.news(before)).sessions
    assert await store.sessions.insert(session, digest()) is None, "a login under way"
    await rows.set_email(user.number, False, NOW)
    assert not await rows.reset(user.number, b"fresh", NOW)


async def test_deleting_a_user_deletes_all_factors(store: Database, user: User) -> None:
    await with_totp(store, user)
    session = await open_session(store, user)
    await store.factors.enrol(session.number, b"secret", NOW + 600)
    await store.users.delete(user, NOW)
    async with store.engine.reading() as connection:
        for table in (factors, recovery_codes, enrolments):
            assert (await connection.execute(select(table))).all() == []


async def test_a_secret_is_re_encrypted_only_if_unchanged(store: Database, user: User) -> None:
    await with_totp(store, user)
    (old,) = await store.factors.sealed()
    assert old == Sealed(user.number, "Alice", True, b"key", SEALED)
    new = Sealed(user.number, "Alice", True, b"new key", b"new secret")
    await store.factors.reseal(Sealed(user.number, "Alice", True, b"x", b"y"), new)
    assert await store.factors.sealed() == [old]
    await store.factors.reseal(old, new)
    assert await store.factors.sealed() == [new]


# Sessions that rise


async def rise(store: Database, session: Session, token: bytes) -> Session | None:
    return await store.sessions.rise(session, token, "password+totp", NOW + 9)


async def test_a_completed_session_is_found_only_by_its_new_token(
    store: Database, user: User
) -> None:
    old, new = digest(), digest()
    session = await open_session(store, user, level=PENDING)
    async with store.engine.writing() as connection:
        from doorward.storage.tables import sessions
        from sqlalchemy import update

        mine = update(sessions).where(sessions.c.number == session.number)
        await connection.execute(mine.values(token_digest=old))
    before = await store.feed.head()
    risen = await rise(store, session, new)
    assert risen is not None and risen.level == "full" and risen.second_factor_at == NOW + 9
    assert session.number in (await store.feed.news(before)).sessions
    found = await store.sessions.by_digest(new)
    assert found is not None and found.is_live(NOW + 10) and found.method == "password+totp"
    dead = await store.sessions.by_digest(old)
    assert dead is not None and not dead.is_live(NOW + 10), "known as ours, and dead"


@pytest.mark.parametrize("level", [PENDING, FULL])
async def test_a_session_is_completed_once(
    store: Database, other: Database, user: User, level: str
) -> None:
    session = await open_session(store, user, level=level)
    results = await asyncio.gather(*(rise(s, session, digest()) for s in [store, other] * 5))
    assert sum(result is not None for result in results) == 1


async def test_an_ended_or_outdated_session_cannot_be_completed(
    store: Database, user: User
) -> None:
    ended = await open_session(store, user, level=PENDING)
    await store.sessions.end(ended.number, NOW, "logout")
    assert await rise(store, ended, digest()) is None
    changed = await open_session(store, user, level=PENDING)
    await store.users.set_banned(user, True, NOW)
    assert await rise(store, changed, digest()) is None
    await store.users.set_banned(user, False, NOW)
    assert await rise(store, changed, digest()) is None, "its user is as it was read no more"


async def test_trust_is_not_given_to_a_session_that_ended(store: Database, user: User) -> None:
    session = await open_session(store, user)
    await store.sessions.end(session.number, NOW, "logout")
    assert not await store.sessions.trust(session.number, NOW, NOW + 300, "f", NOW)
