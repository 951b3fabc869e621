"""Logins of users with a second factor: complete only after the factor, at every entrance."""

from __future__ import annotations

import asyncio

import pytest
from doorward.accounts.audit.audit_log import Kind
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import (
    InvalidCredentials,
    MailFailed,
    SecondFactorInvalid,
    SecondFactorRequired,
    SessionNotFound,
)
from doorward.accounts.sessions.sessions import ClientInfo, Opened
from doorward.accounts.user import Email

from tests.accounts.test_second_factor import code, with_email, with_totp
from tests.support.core import CLIENT, PASSWORD, Core
from tests.support.memory import NOW
from tests.support.people import proven
from tests.support.sessions import LIFETIMES


async def complete(core: Core, opened: Opened, typed: str, now: float = NOW) -> Opened:
    return await core.second_factors.complete(opened.session, typed, None, client=CLIENT, now=now)


async def test_without_a_code_there_is_no_session(core: Core) -> None:
    session, _, _ = await with_totp(core)
    with pytest.raises(SecondFactorRequired) as refused:
        await core.login()
    assert refused.value.challenge.method == "totp"
    assert [one.id for one in await core.sessions.list(session.user, NOW)] == [session.id]
    assert core.audit_log.kinds()[-1] == Kind.LOGIN_PENDING


async def test_the_challenge_names_the_user_and_the_code_is_mailed(core: Core) -> None:
    await with_email(core)
    with pytest.raises(SecondFactorRequired) as refused:
        await core.login("ALICE")
    challenge = refused.value.challenge
    assert challenge.method == "email" and challenge.code_generated
    assert challenge.email_or_username == "ALICE"
    opened = await core.login(code=core.mailbox.sent[0][1])
    assert opened.session.level == "full" and opened.session.method == "password+email"


async def test_a_code_sent_with_the_login_completes_it(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    opened = await core.login(code=code(secret), pending=True)
    assert opened.session.level == "full"
    assert opened.session.second_factor_at == NOW
    assert opened.session.method == "password+totp"


async def test_a_wrong_code_opens_no_pending_session(core: Core) -> None:
    session, _, _ = await with_totp(core)
    with pytest.raises(SecondFactorInvalid):
        await core.login(code="000000", pending=True)
    assert len(await core.sessions.list(session.user, NOW)) == 1


async def test_a_wrong_password_reveals_nothing_about_factors(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    for typed in (None, code(secret), "000000"):
        with pytest.raises(InvalidCredentials):
            await core.login(password="wrong", code=typed, pending=True)
    assert (await core.login(code=code(secret))).session.level == "full", "the code was not used"


async def test_a_completed_session_gets_a_new_token(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    pending = await core.login(pending=True, remember=True)
    assert pending.session.level == "pending" and pending.session.second_factor_at is None
    full = await complete(core, pending, code(secret), NOW + 20)
    assert full.token != pending.token
    assert full.session.level == "full" and full.session.id == pending.session.id
    assert full.session.remember and full.session.second_factor_at == NOW + 20
    assert full.session.expires_at == NOW + LIFETIMES.remember_lifetime_s
    assert (await core.sessions.by_token(pending.token, NOW + 20)).session is None
    found = await core.sessions.by_token(full.token, NOW + 3600)
    assert found.session is not None and found.session.level == "full"


@pytest.mark.parametrize(("age_s", "alive"), [(299, True), (300, False)])
async def test_a_pending_session_expires_after_five_minutes(
    core: Core, age_s: float, alive: bool
) -> None:
    _, secret, _ = await with_totp(core)
    pending = await core.login(pending=True, remember=True)
    found = await core.sessions.by_token(pending.token, NOW + age_s)
    assert (found.session is not None) is alive
    if not alive:
        with pytest.raises(SessionNotFound):
            await complete(core, pending, code(secret, NOW + age_s), NOW + age_s)


async def test_use_does_not_extend_a_pending_session(core: Core) -> None:
    await with_totp(core)
    pending = await core.login(pending=True)
    await core.sessions.touch([(pending.session.number, NOW + 250)])
    assert (await core.sessions.by_token(pending.token, NOW + 301)).session is None


async def test_two_codes_for_one_pending_login_make_one_session(core: Core) -> None:
    _, secret, codes = await with_totp(core)
    pending = await core.login(pending=True)
    both = [complete(core, pending, typed) for typed in (code(secret), codes[0])]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Opened", "SessionNotFound"]


async def test_one_code_completes_one_of_two_logins(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    logins = [await core.login(pending=True) for _ in range(2)]
    both = [complete(core, pending, code(secret)) for pending in logins]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Opened", "SecondFactorInvalid"]


async def test_a_full_session_can_renew_its_factor_and_token(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    old = await core.login(code=code(secret))
    new = await complete(core, old, code(secret, NOW + 30), NOW + 30)
    assert new.session.second_factor_at == NOW + 30 and new.session.method == "password+totp"
    assert (await core.sessions.by_token(old.token, NOW + 30)).session is None
    assert (await core.sessions.by_token(new.token, NOW + 30)).session is not None


async def test_a_ban_during_the_second_step_ends_the_login(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    pending = await core.login(pending=True)
    await core.users.ban("alice", NOW, actor=OWNER)
    with pytest.raises(SessionNotFound):
        await complete(core, pending, code(secret))


async def test_a_password_change_during_the_second_step_ends_the_login(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    pending = await core.login(pending=True)
    await core.users.set_password("alice", "another password", now=NOW, actor=OWNER)
    with pytest.raises(SessionNotFound):
        await complete(core, pending, code(secret))


async def test_a_pending_login_sends_no_mail(core: Core) -> None:
    """The entrance calls `prepare` for it, and can report a failure."""
    await with_email(core)
    await core.login(pending=True)
    assert not core.mailbox.sent


async def test_a_login_reports_that_its_mail_failed(core: Core) -> None:
    await with_email(core)
    core.mailbox.broken = True
    with pytest.raises(MailFailed):
        await core.login()


async def test_a_recovery_code_logs_in_without_an_address(core: Core) -> None:
    user = await with_email(core)
    codes = await core.second_factors.regenerate_recovery(proven(user, NOW), NOW)
    core.user_rows._change(user, emails=())
    pending = await core.login(pending=True)
    assert (await complete(core, pending, codes[0])).session.level == "full"


async def test_users_of_a_directory_have_factors_too(core: Core) -> None:
    core.directory.keep("carol", (await core.passwords.new(PASSWORD)).hash, "carol@example.com")
    await core.users.sync(NOW)
    session = (await core.login("carol")).session
    secret = (await core.second_factors.begin_totp(session, NOW)).secret
    await core.second_factors.confirm_totp(session, None, code(secret), NOW)
    await core.second_factors.enable_email(proven(session.user, NOW), NOW)
    pending = await core.login("carol", pending=True)
    assert pending.session.level == "pending"
    assert (await complete(core, pending, code(secret, NOW + 30), NOW + 30)).session.level == "full"
    assert session.user.emails == (Email("carol@example.com", True),)


async def test_a_code_works_once_over_all_entrances(core: Core) -> None:
    _, secret, _ = await with_totp(core)
    await core.login(code=code(secret), kind="xhr", client=ClientInfo("203.0.113.1", "x"))
    with pytest.raises(SecondFactorInvalid):
        await core.login(code=code(secret), kind="page")
