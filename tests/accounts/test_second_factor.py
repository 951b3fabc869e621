"""The second factor: when it is required, what is accepted, how many attempts, and how long trust
lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest
from doorward.accounts.audit.audit_log import Kind
from doorward.accounts.challenge import Challenge
from doorward.accounts.factors import totp
from doorward.accounts.factors.emailed import normalise
from doorward.accounts.factors.second_factor import fingerprint
from doorward.accounts.passwords.hashing import sha256_hex
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import (
    EnrolmentExpired,
    InvalidEmail,
    InvalidTotpSecret,
    MailFailed,
    ProofRequired,
    Refusal,
    SecondFactorInvalid,
    SecondFactorRequired,
    SessionNotFound,
    StorageUnavailable,
    TooManyCodes,
    TotpAlreadyOn,
    TotpNotOn,
)
from doorward.accounts.sessions.sessions import ClientInfo, Session
from doorward.accounts.user import Email, User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.core import CLIENT, PASSWORD, Core
from tests.support.memory import NOW
from tests.support.people import proven

ADDRESS = "alice@example.com"
ELSEWHERE = ClientInfo("198.51.100.9", CLIENT.user_agent)
OTHER_AGENT = ClientInfo(CLIENT.address, "another browser")


def code(secret: str, now: float = NOW) -> str:
    return totp.code_at(secret, totp.step_at(now))


async def session_of(core: Core, name: str = "alice", now: float = NOW) -> Session:
    return (await core.login(name, now=now)).session


async def with_email(core: Core, name: str = "alice") -> User:
    user = await core.add(name, emails=[Email(f"{name}@example.com", True)])
    await core.second_factors.enable_email(proven(user, NOW), NOW)
    return user


async def with_totp(core: Core, name: str = "alice") -> tuple[Session, str, tuple[str, ...]]:
    """A user who turned on TOTP a minute ago: session, secret and recovery codes."""
    await core.add(name, emails=[Email(f"{name}@example.com", True)])
    before = NOW - 60
    session = await session_of(core, name, before)
    enrolment = await core.second_factors.begin_totp(session, before)
    typed = code(enrolment.secret, before)
    codes = (await core.second_factors.confirm_totp(session, None, typed, before)).codes
    return session, enrolment.secret, codes


async def wrong(attempt: Awaitable[object]) -> Challenge:
    with pytest.raises(SecondFactorInvalid) as refused:
        await attempt
    return refused.value.challenge


async def blocked(attempt: Awaitable[object]) -> TooManyCodes:
    with pytest.raises(TooManyCodes) as refused:
        await attempt
    return refused.value


# Enrolment


async def test_turning_totp_on_requires_a_code_of_the_new_secret(core: Core) -> None:
    await core.add()
    session = await session_of(core)
    enrolment = await core.second_factors.begin_totp(session, NOW)
    assert enrolment.secret in enrolment.uri
    assert await core.second_factors.list_enabled(session.user) == ()
    confirmed = await core.second_factors.confirm_totp(
        session, enrolment.secret, code(enrolment.secret), NOW
    )
    codes = confirmed.codes
    assert await core.second_factors.list_enabled(session.user) == ("totp",)
    assert len(set(codes)) == 12 and all(len(one) == 8 for one in codes)
    assert await core.second_factors.remaining_recovery(session.user) == 12
    assert Kind.FACTOR_ADDED in core.audit_log.kinds()


async def test_the_code_that_turned_totp_on_is_used_up(core: Core) -> None:
    await core.add()
    session = await session_of(core)
    secret = (await core.second_factors.begin_totp(session, NOW)).secret
    await core.second_factors.confirm_totp(session, None, code(secret), NOW)
    await wrong(core.second_factors.verify(session.user, code(secret), "totp", now=NOW))


async def test_only_the_last_secret_can_be_confirmed(core: Core) -> None:
    await core.add()
    session = await session_of(core)
    first = (await core.second_factors.begin_totp(session, NOW)).secret
    second = (await core.second_factors.begin_totp(session, NOW)).secret
    confirm = core.second_factors.confirm_totp
    with pytest.raises(EnrolmentExpired):
        await confirm(session, first, code(first), NOW)
    await wrong(confirm(session, None, code(first), NOW))
    await confirm(session, second.lower(), code(second), NOW)


async def test_a_session_without_its_factor_cannot_add_another_one(core: Core) -> None:
    """CVE-2026-54730: otherwise a thief of a session could add an app, and bypass the codes by
    e-mail."""
    await core.add(emails=[Email(ADDRESS, True)])
    session = await session_of(core)
    await core.second_factors.enable_email(proven(session.user, NOW), NOW)
    with pytest.raises(ProofRequired) as refused:
        await core.second_factors.begin_totp(session, NOW)
    assert refused.value.challenge.method == "email"
    session.second_factor_at = NOW
    secret = (await core.second_factors.begin_totp(session, NOW)).secret
    session.second_factor_at = None
    with pytest.raises(ProofRequired):
        await core.second_factors.confirm_totp(session, secret, code(secret), NOW)
    session.second_factor_at = NOW
    assert await core.second_factors.confirm_totp(session, secret, code(secret), NOW)


async def test_a_secret_belongs_to_the_session_it_was_shown_in(core: Core) -> None:
    """CVE-2026-32245: a code was not bound to the client that it was issued to."""
    await core.add()
    mine, other = await session_of(core), await session_of(core)
    secret = (await core.second_factors.begin_totp(mine, NOW)).secret
    with pytest.raises(EnrolmentExpired):
        await core.second_factors.confirm_totp(other, secret, code(secret), NOW)


@pytest.mark.parametrize(("age_s", "late"), [(599, False), (600, True)])
async def test_a_secret_has_to_be_confirmed_within_ten_minutes(
    core: Core, age_s: float, late: bool
) -> None:
    await core.add()
    session = await session_of(core)
    secret = (await core.second_factors.begin_totp(session, NOW)).secret
    session.proved_at = NOW + 500
    confirm = core.second_factors.confirm_totp(
        session, None, code(secret, NOW + age_s), NOW + age_s
    )
    if late:
        with pytest.raises(EnrolmentExpired):
            await confirm
    else:
        await confirm


async def test_a_factor_is_never_replaced_silently(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    with pytest.raises(TotpAlreadyOn):
        await core.second_factors.begin_totp(session, NOW)
    with pytest.raises(TotpAlreadyOn):
        await core.second_factors.confirm_totp(session, secret, code(secret), NOW)


async def test_two_confirmations_at_once_turn_it_on_once(core: Core) -> None:
    await core.add()
    session = await session_of(core)
    secret = (await core.second_factors.begin_totp(session, NOW)).secret
    both = [core.second_factors.confirm_totp(session, None, code(secret), NOW) for _ in range(2)]
    results = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) in (
        ["Confirmed", "TotpAlreadyOn"],
        ["Confirmed", "EnrolmentExpired"],
    )


async def test_a_pending_session_changes_no_factor(core: Core) -> None:
    """CVE-2026-32246: a half-done login was accepted elsewhere."""
    _, secret, _ = await with_totp(core)
    pending = (await core.login(pending=True)).session
    factors = core.second_factors
    for attempt in (
        factors.begin_totp(pending, NOW),
        factors.confirm_totp(pending, None, code(secret), NOW),
        factors.remove_totp(pending, code(secret), NOW),
        factors.demand(pending, CLIENT, code(secret), None, honours_trust=True, now=NOW),
    ):
        with pytest.raises(SessionNotFound):
            await attempt


async def test_a_secret_of_another_program_can_be_adopted(core: Core) -> None:
    user = await core.add()
    secret = totp.new_secret()
    await core.second_factors.adopt_totp(user, secret.lower(), NOW)
    assert await core.second_factors.verify(user, code(secret), None, now=NOW) == "totp"
    with pytest.raises(TotpAlreadyOn):
        await core.second_factors.adopt_totp(user, secret, NOW)


async def test_an_invalid_secret_is_not_adopted(core: Core) -> None:
    with pytest.raises(InvalidTotpSecret):
        await core.second_factors.adopt_totp(await core.add(), "not base32!", NOW)


# Codes


async def test_a_totp_code_works_once(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    verify = core.second_factors.verify
    assert await verify(session.user, code(secret), "totp", now=NOW) == "totp"
    await wrong(verify(session.user, code(secret), "totp", now=NOW))
    await wrong(verify(session.user, code(secret), None, now=NOW + 10))
    assert await verify(session.user, code(secret, NOW + 30), None, now=NOW + 30) == "totp"


async def test_after_a_later_code_an_earlier_one_is_refused(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    verify = core.second_factors.verify
    await verify(session.user, code(secret, NOW + 30), None, now=NOW)
    await wrong(verify(session.user, code(secret, NOW), None, now=NOW))


async def test_a_recovery_code_works_once_however_it_is_typed(core: Core) -> None:
    session, _, codes = await with_totp(core)
    verify = core.second_factors.verify
    written = f" {codes[0][:4].upper()}-{codes[0][4:]} "
    assert await verify(session.user, written, "totp", now=NOW) == "recovery"
    assert await core.second_factors.remaining_recovery(session.user) == 11
    await wrong(verify(session.user, codes[0], None, now=NOW))
    assert await verify(session.user, codes[1], "email", now=NOW) == "recovery"


async def test_new_recovery_codes_invalidate_the_old_ones(core: Core) -> None:
    session, _, old = await with_totp(core)
    new = await core.second_factors.regenerate_recovery(proven(session.user, NOW), NOW)
    assert len(new) == 12 and not set(new) & set(old)
    await wrong(core.second_factors.verify(session.user, old[0], None, now=NOW))
    assert await core.second_factors.verify(session.user, new[0], None, now=NOW) == "recovery"


async def test_users_without_a_factor_get_no_recovery_codes(core: Core) -> None:
    with pytest.raises(TotpNotOn):
        await core.second_factors.regenerate_recovery(proven(await core.add(), NOW), NOW)


async def test_a_code_is_wrong_for_another_user(core: Core) -> None:
    _, secret, codes = await with_totp(core, "alice")
    bob, _, _ = await with_totp(core, "bob")
    await wrong(core.second_factors.verify(bob.user, code(secret), None, now=NOW))
    await wrong(core.second_factors.verify(bob.user, codes[0], None, now=NOW))


@pytest.mark.parametrize("empty", ["", " ", "0" * 10_000, "\ud800", "⁴²", "000000\x00"])
async def test_an_invalid_code_counts_as_a_wrong_one(core: Core, empty: str) -> None:
    """CVE-2026-49443: an empty form skipped a step."""
    session, _, _ = await with_totp(core)
    await wrong(core.second_factors.verify(session.user, empty, None, now=NOW))


async def test_a_user_without_a_factor_has_no_code(core: Core) -> None:
    user = await core.add()
    challenge = await wrong(core.second_factors.verify(user, "123456", None, now=NOW))
    assert challenge.method is None and challenge.available == ()


# Codes by e-mail


async def test_no_second_code_is_mailed_while_the_first_is_valid(core: Core) -> None:
    user = await with_email(core)
    first = await core.second_factors.prepare(user, None, name="Alice", now=NOW)
    assert first == Challenge("email", ("email",), True, "Alice", NOW + 3600)
    again = await core.second_factors.prepare(user, "email", now=NOW + 3599)
    assert again == Challenge("email", ("email",), False, ADDRESS, NOW + 3600)
    assert [address for address, _ in core.mailbox.sent] == [ADDRESS]
    later = await core.second_factors.prepare(user, None, now=NOW + 3600)
    assert later.code_generated and len(core.mailbox.sent) == 2


async def test_a_mailed_code_works_once_with_or_without_its_hyphen(core: Core) -> None:
    user = await with_email(core)
    verify = core.second_factors.verify
    for written in (lambda shown: shown, normalise):
        await core.second_factors.prepare(user, None, now=NOW)
        shown = core.mailbox.sent[-1][1]
        assert shown[3] == "-" and shown.replace("-", "").isdigit() and len(shown) == 7
        assert await verify(user, written(shown) or "", None, now=NOW) == "email"
        await wrong(verify(user, shown, None, now=NOW))


async def test_a_mailed_code_expires_after_an_hour(core: Core) -> None:
    user = await with_email(core)
    await core.second_factors.prepare(user, None, now=NOW)
    shown = core.mailbox.sent[-1][1]
    await wrong(core.second_factors.verify(user, shown, "email", now=NOW + 3600))


async def test_concurrent_requests_send_one_mail(core: Core) -> None:
    user = await with_email(core)
    asked = [core.second_factors.prepare(user, None, now=NOW) for _ in range(5)]
    challenges = await asyncio.gather(*asked)
    assert sum(challenge.code_generated for challenge in challenges) == 1
    assert len(core.mailbox.sent) == 1


async def test_a_mail_that_failed_leaves_no_code_behind(core: Core) -> None:
    user = await with_email(core)
    core.mailbox.broken = True
    with pytest.raises(MailFailed):
        await core.second_factors.prepare(user, None, now=NOW)
    core.mailbox.broken = False
    assert (await core.second_factors.prepare(user, None, now=NOW)).code_generated


async def test_a_disabled_method_sends_no_mail_and_accepts_no_code(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    challenge = await core.second_factors.prepare(session.user, "email", now=NOW)
    assert challenge.method == "email" and challenge.available == ("totp",)
    assert not core.mailbox.sent
    await wrong(core.second_factors.verify(session.user, code(secret), "email", now=NOW))


async def test_totp_takes_precedence_over_email(core: Core) -> None:
    session, _, _ = await with_totp(core)
    await core.second_factors.enable_email(proven(session.user, NOW), NOW)
    challenge = await core.second_factors.prepare(session.user, "password", now=NOW)
    assert challenge.method == "totp" and challenge.available == ("totp", "email")
    assert not core.mailbox.sent


async def test_a_code_of_either_factor_works_if_no_method_is_named(core: Core) -> None:
    session, _, _ = await with_totp(core)
    await core.second_factors.enable_email(proven(session.user, NOW), NOW)
    await core.second_factors.prepare(session.user, "email", now=NOW)
    shown = core.mailbox.sent[-1][1]
    assert await core.second_factors.verify(session.user, shown, None, now=NOW) == "email"


async def test_email_needs_a_verified_address(core: Core) -> None:
    """GHSA-qgqp-xh8r-v73r: the address for the code came from the request."""
    user = await core.add(emails=[Email(ADDRESS, False)])
    with pytest.raises(InvalidEmail):
        await core.second_factors.enable_email(proven(user, NOW), NOW)


async def test_turning_email_off_voids_the_code_that_was_mailed(core: Core) -> None:
    user = await with_email(core)
    await core.second_factors.prepare(user, None, now=NOW)
    await core.second_factors.disable_email(proven(user, NOW), NOW)
    await wrong(core.second_factors.verify(user, core.mailbox.sent[0][1], "email", now=NOW))


# Attempts


async def test_the_last_wrong_code_locks_the_user_out_even_with_a_right_one(
    core: Core,
) -> None:
    session, secret, _ = await with_totp(core)
    verify = core.second_factors.verify
    for _ in range(4):
        await wrong(verify(session.user, "000000", None, now=NOW))
    last = await blocked(verify(session.user, "000000", None, now=NOW))
    assert last.retry_after_s == 300 and last.judged
    refused = await blocked(verify(session.user, code(secret), None, now=NOW + 100))
    assert not refused.judged
    failures = [e.detail for e in core.audit_log.events if e.kind == Kind.FACTOR_FAILED]
    assert failures == ["totp"] * 4 + ["locked"], "a failure that nobody looked at is one too"
    assert refused.retry_after_s == 200 and refused.challenge.method == "totp"
    later = NOW + 300
    assert await verify(session.user, code(secret, later), None, now=later) == "totp"


async def test_all_methods_share_one_budget(core: Core) -> None:
    """CVE-2024-21500: the lock was evaded by starting the flow again."""
    session, secret, _ = await with_totp(core)
    await core.second_factors.enable_email(proven(session.user, NOW), NOW)
    for method, typed in [("totp", "000000"), ("email", "000-000"), (None, "abcdefgh")]:
        await wrong(core.second_factors.verify(session.user, typed, method, now=NOW))
    with pytest.raises(SecondFactorInvalid):
        await core.login(code="000000", client=ELSEWHERE)
    pending = (await core.login(pending=True, client=ELSEWHERE)).session
    await blocked(core.second_factors.complete(pending, "000000", None, client=CLIENT, now=NOW))
    with pytest.raises(TooManyCodes):
        await core.login(code=code(secret))
    await blocked(
        core.second_factors.demand(session, CLIENT, None, None, honours_trust=True, now=NOW)
    )


async def test_concurrent_codes_cannot_exceed_the_budget(core: Core) -> None:
    session, _, _ = await with_totp(core)
    tries = [core.second_factors.verify(session.user, f"{n:06}", None, now=NOW) for n in range(100)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, SecondFactorInvalid) for result in results) == 4
    assert sum(isinstance(result, TooManyCodes) for result in results) == 96


async def test_a_right_code_resets_the_budget(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    for now in (NOW, NOW + 60):
        for _ in range(4):
            await wrong(core.second_factors.verify(session.user, "000000", None, now=now))
        await core.second_factors.verify(session.user, code(secret, now), None, now=now)


async def test_a_right_code_is_accepted_at_the_last_attempt(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    for _ in range(4):
        await wrong(core.second_factors.verify(session.user, "000000", None, now=NOW))
    assert await core.second_factors.verify(session.user, code(secret), None, now=NOW) == "totp"


async def test_after_a_lock_there_is_a_new_code_by_mail(core: Core) -> None:
    user = await with_email(core)
    await core.second_factors.prepare(user, None, now=NOW)
    old = core.mailbox.sent[0][1]
    guesses = [f"{n:06}" for n in range(6) if f"{n:06}" != normalise(old)]
    for guess in guesses[:4]:
        await wrong(core.second_factors.verify(user, guess, None, now=NOW))
    await blocked(core.second_factors.verify(user, guesses[4], None, now=NOW))
    await blocked(core.second_factors.prepare(user, None, now=NOW))
    later = NOW + 300
    assert (await core.second_factors.prepare(user, None, now=later)).code_generated
    if (new := core.mailbox.sent[1][1]) != old:
        await wrong(core.second_factors.verify(user, old, None, now=later))
    assert await core.second_factors.verify(user, new, None, now=later) == "email"


async def test_a_lock_is_listed_and_lifted(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    for _ in range(5):
        with pytest.raises(Refusal):
            await core.second_factors.verify(session.user, "000000", None, now=NOW)
    assert [lock.until for lock in await core.second_factors.locks(NOW)] == [NOW + 300]
    await core.second_factors.unlock(session.user, actor=OWNER)
    assert await core.second_factors.locks(NOW) == []
    assert await core.second_factors.verify(session.user, code(secret), None, now=NOW) == "totp"


# Requirements on a session


async def demand(core: Core, session: Session, typed: str | None = None, **more: object) -> None:
    chosen = {"client": CLIENT, "method": None, "honours_trust": True, "now": NOW} | more
    client, method = chosen.pop("client"), chosen.pop("method")
    await core.second_factors.demand(session, client, typed, method, **chosen)  # type: ignore[arg-type]


async def test_a_missing_code_is_refused_with_the_required_method(core: Core) -> None:
    session, _, _ = await with_totp(core)
    with pytest.raises(SecondFactorRequired) as refused:
        await demand(core, session)
    assert refused.value.challenge.method == "totp"
    assert refused.value.challenge.available == ("totp",)


# How long another request of this kind needs no code.
TRUST = [
    ("same session", CLIENT, 1, True),
    ("same session, at the last moment", CLIENT, 299.9, True),
    ("expired", CLIENT, 300, False),
    ("other address", ELSEWHERE, 1, False),
    ("other agent", OTHER_AGENT, 1, False),
]


@pytest.mark.parametrize(("case", "client", "age_s", "trusted"), TRUST)
async def test_a_session_is_trusted_for_a_while_on_the_same_client(
    core: Core, case: str, client: ClientInfo, age_s: float, trusted: bool
) -> None:
    session, secret, _ = await with_totp(core)
    await demand(core, session, code(secret))
    again = demand(core, session, client=client, now=NOW + age_s)
    if trusted:
        await again
    else:
        with pytest.raises(SecondFactorRequired):
            await again


async def test_another_session_of_the_user_is_not_trusted(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    await demand(core, session, code(secret))
    other = (await core.login(code=code(secret, NOW + 30))).session
    with pytest.raises(SecondFactorRequired):
        await demand(core, other, now=NOW + 31)


async def test_use_does_not_extend_trust_and_some_operations_ignore_it(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    await demand(core, session, code(secret))
    await demand(core, session, now=NOW + 200)
    with pytest.raises(SecondFactorRequired):
        await demand(core, session, now=NOW + 200, honours_trust=False)
    with pytest.raises(SecondFactorRequired):
        await demand(core, session, now=NOW + 301)
    with pytest.raises(SecondFactorRequired):  # the clock was a day ahead, and has been corrected
        await demand(core, session, now=NOW - 86_400)


async def test_an_endpoint_that_ignores_trust_gives_no_trust(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    await demand(core, session, code(secret), honours_trust=False)
    assert session.second_factor_at == NOW
    with pytest.raises(SecondFactorRequired):
        await demand(core, session)


async def test_a_change_of_factors_ends_trust(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    opened = await core.login(code=code(secret, NOW + 30), now=NOW + 30)
    await demand(core, opened.session, code(secret, NOW + 60), now=NOW + 60)
    await core.second_factors.enable_email(proven(session.user, NOW + 60), NOW + 60)
    found = (await core.sessions.by_token(opened.token, NOW + 60)).session
    assert found is not None and found.trusted_until is None


async def test_an_ended_session_meets_no_demand(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    await core.sessions.end(session, NOW)
    with pytest.raises(SessionNotFound):
        await demand(core, session, code(secret))


async def test_the_password_replaces_the_factor_of_a_user_without_one(core: Core) -> None:
    await core.add()
    session = await session_of(core)
    with pytest.raises(SecondFactorRequired) as refused:
        await demand(core, session)
    assert refused.value.challenge.method == "password"
    assert refused.value.challenge.available == ()
    await wrong(demand(core, session, PASSWORD))
    await wrong(demand(core, session, sha256_hex("another")))
    await demand(core, session, sha256_hex(PASSWORD).upper())
    await demand(core, session)  # trusted from now on
    assert session.second_factor_at is None, "a password is no second factor"


async def test_the_password_does_not_replace_an_enabled_factor(core: Core) -> None:
    session, _, _ = await with_totp(core)
    for method in ("password", None, "totp", "nonsense"):
        await wrong(demand(core, session, sha256_hex(PASSWORD), method=method))


async def test_wrong_passwords_as_a_factor_spend_the_budget(core: Core) -> None:
    await core.add()
    session = await session_of(core)
    for _ in range(4):
        await wrong(demand(core, session, sha256_hex("another")))
    await blocked(demand(core, session, sha256_hex("another")))
    await blocked(demand(core, session, sha256_hex(PASSWORD)))


async def test_a_user_whose_factor_is_unusable_is_refused(core: Core) -> None:
    """For example an e-mail factor whose address was removed, for a user in the configuration
    file."""
    user = await with_email(core)
    session = await session_of_pending(core, user)
    core.user_rows._change(user, emails=())
    session.user = core.user_rows.rows[user.number].user
    with pytest.raises(SecondFactorRequired) as refused:
        await demand(core, session)
    assert refused.value.challenge == Challenge(None, (), False, "alice")
    await wrong(demand(core, session, sha256_hex(PASSWORD), method="password"))
    with pytest.raises(SecondFactorRequired):
        await core.login(pending=True)
    with pytest.raises(SecondFactorRequired):
        await core.login()


async def session_of_pending(core: Core, user: User) -> Session:
    """A full session of a user with the e-mail factor."""
    opened = await core.login(pending=True)
    await core.second_factors.prepare(user, None, now=NOW)
    typed = core.mailbox.sent[-1][1]
    completed = await core.second_factors.complete(
        opened.session, typed, None, client=CLIENT, now=NOW
    )
    return completed.session


async def test_a_recovery_code_works_while_mail_fails(core: Core) -> None:
    user = await with_email(core)
    session = await session_of_pending(core, user)
    codes = await core.second_factors.regenerate_recovery(proven(user, NOW), NOW)
    core.mailbox.broken = True
    with pytest.raises(MailFailed):
        await demand(core, session)
    await demand(core, session, codes[0])


# Removal


async def test_removing_totp_requires_a_code_and_removes_the_recovery_codes(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    await wrong(core.second_factors.remove_totp(session, "000000", NOW))
    await core.second_factors.remove_totp(session, code(secret), NOW)
    assert await core.second_factors.list_enabled(session.user) == ()
    assert await core.second_factors.remaining_recovery(session.user) == 0
    with pytest.raises(TotpNotOn):
        await core.second_factors.remove_totp(session, code(secret), NOW)


async def test_recovery_codes_stay_while_another_factor_is_on(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    await core.second_factors.enable_email(proven(session.user, NOW), NOW)
    await core.second_factors.remove_totp(session, code(secret), NOW)
    assert await core.second_factors.remaining_recovery(session.user) == 12
    await core.second_factors.disable_email(proven(session.user, NOW), NOW)
    assert await core.second_factors.remaining_recovery(session.user) == 0


async def test_a_reset_ends_sessions_recovery_codes_and_a_lock(core: Core) -> None:
    session, _, codes = await with_totp(core)
    for _ in range(5):
        with pytest.raises(Refusal):
            await core.second_factors.verify(session.user, "000000", None, now=NOW)
    await core.second_factors.reset_totp(session.user, NOW, actor=OWNER)
    assert await core.sessions.list(session.user, NOW) == ()
    assert await core.second_factors.locks(NOW) == []
    assert (await core.login()).session.level == "full"
    await wrong(core.second_factors.verify(session.user, codes[0], None, now=NOW))
    with pytest.raises(TotpNotOn):
        await core.second_factors.reset_totp(session.user, NOW, actor=OWNER)


async def test_a_secret_that_no_key_decrypts_is_a_storage_error(core: Core) -> None:
    session, secret, _ = await with_totp(core)
    row = core.factor_rows.rows[session.user.number]
    other = core.second_factors._vault.seal_secret(await core.add("bob"), secret)
    core.factor_rows.rows[session.user.number] = type(row)(row.code_key, other)
    with pytest.raises(StorageUnavailable):
        await core.second_factors.verify(session.user, code(secret), None, now=NOW)


# Arbitrary input


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    typed=st.text(st.characters(), max_size=200),
    method=st.none() | st.sampled_from(["totp", "email", "password"]) | st.text(max_size=8),
    fallback=st.booleans(),
)
async def test_any_typed_code_gives_a_value_or_a_refusal(
    core: Core, typed: str, method: str | None, fallback: bool
) -> None:
    if not core.user_rows.rows:
        await with_totp(core)
        await core.add("bob")
    for credential in list(core.user_rows.rows.values()):
        await core.second_factors.unlock(credential.user, actor=OWNER)
        with pytest.raises(Refusal):
            await core.second_factors.verify(
                credential.user, typed, method, password_fallback=fallback, now=NOW
            )
        session = (await core.sessions.list(credential.user, NOW))[:1]
        if session:
            with pytest.raises(Refusal):
                await core.second_factors.confirm_totp(session[0], typed, typed, NOW)


def test_a_fingerprint_separates_agent_and_address() -> None:
    clients = [ClientInfo("a", "bc"), ClientInfo("ab", "c"), ClientInfo("bc", "a")]
    assert len({fingerprint(client) for client in clients}) == 3


# A clock that was corrected


async def test_the_record_of_a_refused_code_says_if_a_later_one_was_used(core: Core) -> None:
    """While the clock was ahead, later codes were accepted; afterwards, all codes are refused until
    that time."""
    session, secret, _ = await with_totp(core)
    ahead = NOW + 3600
    verify = core.second_factors.verify
    await verify(session.user, code(secret, ahead), "totp", now=ahead)
    await wrong(verify(session.user, code(secret), "totp", now=NOW))
    await wrong(verify(session.user, code(secret, ahead), "totp", now=ahead))
    await wrong(verify(session.user, "000000", "totp", now=NOW))
    details = [one.detail for one in core.audit_log.events if one.kind == Kind.FACTOR_FAILED]
    assert details == [
        "totp: a later code was used before; check the clock",
        "totp: this code was used before",
        "totp",
    ]


@pytest.mark.fault(
    "a clock that was a year ahead is put right",
    "a lock of five minutes",
    "five minutes of it at most",
    "429 for that long",
    "the audit record says: check the clock",
)
async def test_a_lock_set_while_the_clock_was_ahead_lasts_no_longer_than_a_new_one(
    core: Core,
) -> None:
    session, secret, _ = await with_totp(core)
    verify, ahead = core.second_factors.verify, NOW + 86_400 * 365
    for _ in range(4):
        await wrong(verify(session.user, "000000", "totp", now=ahead))
    await blocked(verify(session.user, "000000", "totp", now=ahead))
    (lock,) = await core.second_factors.locks(NOW)
    assert lock.until == NOW + 300
    refusal = await blocked(verify(session.user, code(secret), "totp", now=NOW))
    assert refusal.retry_after_s == 300
    await blocked(core.second_factors.prepare(session.user, None, now=NOW + 299))
    assert await verify(session.user, code(secret, NOW + 300), "totp", now=NOW + 300) == "totp"
