"""The audit trail: every event once, with actor, subject and address, and never a secret."""

from __future__ import annotations

import dataclasses

import pytest
from doorward.accounts.audit.audit_log import COMMAND, Event, Kind, Origin, act_as, build_event
from doorward.accounts.factors import totp
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import Refusal, StorageUnavailable
from doorward.accounts.sessions.sessions import ClientInfo
from doorward.accounts.user import Email
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.core import CLIENT, PASSWORD, Core
from tests.support.memory import NOW

NEXT = "another password"


def text_of(events: list[Event]) -> str:
    return "\n".join(str(value) for each in events for value in dataclasses.astuple(each))


async def story(core: Core) -> list[str]:
    """Cause every kind of record once. Returns the secrets that were involved."""
    user = await core.add(emails=[Email("a@example.com", True)])
    for _ in range(5):
        with pytest.raises(Refusal):
            await core.login(password="a wrong password")
    await core.regulation.unlock(user, NOW, actor=OWNER)
    first = await core.login()
    second = await core.login()
    third = await core.login()
    await core.sessions.end(first.session, NOW)
    await core.sessions.end(first.session, NOW)  # already ended: no event, no record
    await core.sessions.end_all(user, NOW, but=second.session)
    enrolment = await core.second_factors.begin_totp(second.session, NOW)
    code = totp.code_at(enrolment.secret, totp.step_at(NOW))
    recovery = (await core.second_factors.confirm_totp(second.session, None, code, NOW)).codes
    pending = await core.login(pending=True)
    later = NOW + 60
    code_later = totp.code_at(enrolment.secret, totp.step_at(later))
    risen = await core.second_factors.complete(
        pending.session, code_later, None, client=CLIENT, now=later
    )
    await core.users.ban("alice", later, actor=OWNER)
    await core.users.unban("alice", later, actor=OWNER)
    await core.users.set_password("alice", NEXT, now=later, actor=OWNER)
    await core.users.disable("alice", later, actor=OWNER)
    await core.users.enable("alice", later, actor=OWNER)
    await core.users.delete("alice", later, actor=OWNER)
    tokens = [opened.token for opened in (first, second, third, pending, risen)]
    return [
        PASSWORD,
        NEXT,
        "a wrong password",
        enrolment.secret,
        code,
        code_later,
        *recovery,
        *tokens,
    ]


async def test_every_event_is_recorded_once_without_secrets(core: Core) -> None:
    secrets = await story(core)
    kinds = core.audit_log.kinds()
    told = {kind: kinds.count(kind) for kind in set(kinds)}
    assert told == {
        Kind.USER_ADDED: 1,
        Kind.LOGIN_FAILED: 5,
        Kind.LOCKED_OUT: 1,
        Kind.UNLOCKED: 1,
        Kind.LOGIN: told[Kind.LOGIN],
        Kind.LOGIN_PENDING: 1,
        Kind.SESSION_ENDED: 1,
        Kind.SESSIONS_ENDED: 1,
        Kind.FACTOR_ADDED: 1,
        Kind.FACTOR_PASSED: 1,
        Kind.USER_BANNED: 1,
        Kind.USER_UNBANNED: 1,
        Kind.PASSWORD_CHANGED: 1,
        Kind.USER_DISABLED: 1,
        Kind.USER_ENABLED: 1,
        Kind.USER_DELETED: 1,
    }
    assert told[Kind.LOGIN] == 4  # three by password, one when the pending one was complete
    text = text_of(core.audit_log.events)
    assert not [secret for secret in secrets if secret in text]


async def test_a_login_record_has_user_address_and_session(core: Core) -> None:
    await core.add("Alice")
    with act_as(Origin("", "203.0.113.9", "request-7")):
        opened = await core.login("ALICE", kind="xhr")
    told = core.audit_log.events[-1]
    assert told == Event(
        at=NOW,
        kind=Kind.LOGIN,
        actor="Alice",
        subject="Alice",
        address=CLIENT.address,
        session=opened.session.id,
        request_id="request-7",
        outcome="done",
        detail="xhr",
    )


@pytest.mark.parametrize(
    ("name", "password", "subject", "detail"),
    [
        ("alice", "wrong", "Alice", "password"),
        ("nobody", "wrong", "", "unknown"),  # users type passwords into the field for names
        ("alice", "x" * 5000, "Alice", "too_long"),
    ],
)
async def test_a_failed_login_record_has_the_reason_and_only_existing_users(
    core: Core, name: str, password: str, subject: str, detail: str
) -> None:
    await core.add("Alice")
    with pytest.raises(Refusal):
        await core.login(name, password)
    told = core.audit_log.events[-1]
    assert (told.kind, told.actor, told.subject) == (Kind.LOGIN_FAILED, "", subject)
    assert (told.address, told.outcome, told.detail) == (CLIENT.address, "refused", detail)


async def test_a_replaced_session_is_recorded_with_the_login(core: Core) -> None:
    await core.add()
    old = await core.login()
    new = await core.login(replaces=old.session)
    assert [(e.kind, e.session, e.detail) for e in core.audit_log.events[-2:]] == [
        (Kind.LOGIN, new.session.id, "page"),
        (Kind.SESSION_ENDED, old.session.id, "replaced"),
    ]


async def test_a_network_lock_out_names_no_user(core: Core) -> None:
    await core.add()
    for number in range(49):
        attempt = await core.regulation.begin(f"name{number}", None, CLIENT.address, NOW)
        assert attempt is not None
    with pytest.raises(Refusal):
        await core.login(password="wrong")
    locked, failed = core.audit_log.events[-2:]
    assert (failed.kind, failed.subject) == (Kind.LOGIN_FAILED, "alice")
    assert (locked.kind, locked.subject, locked.detail) == (Kind.LOCKED_OUT, "", "network")


async def test_the_actor_is_the_named_user_then_the_origin_then_the_session_user(
    core: Core,
) -> None:
    alice, bob = await core.add("alice"), await core.add("bob")
    session = (await core.login()).session
    assert build_event(Kind.SESSION_ENDED, NOW, session=session).actor == "alice"
    with act_as(Origin(COMMAND)):
        told = build_event(Kind.SESSION_ENDED, NOW, session=session)
        assert (told.actor, told.subject) == (COMMAND, "alice")
        assert build_event(Kind.SESSION_ENDED, NOW, session=session, actor=bob).actor == "bob"
    assert build_event(Kind.USER_BANNED, NOW, subject=alice).actor == ""


async def test_a_failed_login_that_cannot_be_recorded_is_a_storage_error(core: Core) -> None:
    await core.add()
    core.audit_log.silent = True
    with pytest.raises(StorageUnavailable):
        await core.login(password="wrong")


async def test_a_login_that_cannot_be_recorded_opens_no_session(core: Core) -> None:
    """It fails closed."""
    user = await core.add()
    core.audit_log.silent = True
    with pytest.raises(StorageUnavailable):
        await core.login()
    assert not await core.sessions.list(user, NOW)


SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=8).map("§{}".format)


@given(password=SECRETS, wrong=SECRETS, changed=SECRETS)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_password_is_ever_in_a_record(
    core: Core, password: str, wrong: str, changed: str
) -> None:
    """Whatever the password is, wherever it is typed, and whatever the result is."""
    name = f"user{len(core.user_rows.rows) + len(core.audit_log.events)}"
    client = ClientInfo(f"2001:db8:{len(core.audit_log.events):x}::1", "a browser")
    await core.users.add(name, password, now=NOW, allow_guessable=True)
    opened = await core.login(name, password, client=client)
    for who, what in ((name, wrong), (password, password), (wrong, name)):
        try:
            await core.login(who, what, client=client)
        except Refusal:
            continue
    renewal = core.sessions.renewal(opened.session)
    user = opened.session.user
    new = await core.users.new_password(user, changed + password, allow_guessable=True)
    await core.users.change_password(user, new, now=NOW, renewal=renewal)
    await core.users.delete(name, NOW, actor=OWNER)
    text = text_of(core.audit_log.events)
    assert not [s for s in (password, wrong, changed, opened.token) if s in text]
