"""A user's own e-mail address, which a code sent to it verifies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doorward.accounts.addresses import LIFETIME_S, MAILS, PER_S, Addresses
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import (
    EnrolmentExpired,
    InvalidEmail,
    MailFailed,
    NameTaken,
    ReadOnlyUser,
    SecondFactorInvalid,
)
from doorward.accounts.user import Email

from tests.support.core import Core
from tests.support.memory import NOW

KEYS = Keys((b"k" * 32,))


@pytest.fixture
def addresses(core: Core) -> Addresses:
    return Addresses(core.users, core.second_factors, core.mailbox, KEYS)


async def test_the_mailed_code_verifies_the_new_address(core: Core, addresses: Addresses) -> None:
    await core.add(emails=[Email("old@example.com", True)])
    session = (await core.login()).session
    asked = await addresses.begin(session, " New@Example.com ", NOW)
    ((address, code),) = core.mailbox.sent
    assert address == addresses.address(session, asked) == "New@Example.com"
    user = await addresses.confirm(session, asked, code.upper(), NOW + 60)
    assert user.emails == (Email("New@Example.com", True),)
    assert (await core.users.get("new@example.com")).id == user.id


async def test_wrong_late_and_foreign_codes_are_refused(core: Core, addresses: Addresses) -> None:
    """CVE-2025-52553: a proof that was not bound to the session that requested it."""
    await core.add()
    mine, other = (await core.login()).session, (await core.login()).session
    asked = await addresses.begin(mine, "new@example.com", NOW)
    code = core.mailbox.sent[0][1]
    for wrong in ("", "aaaa-aaaa", code[:-1], "😀"):
        with pytest.raises(SecondFactorInvalid):
            await addresses.confirm(mine, asked, wrong, NOW)
    mine.proved_at = NOW + LIFETIME_S
    with pytest.raises(EnrolmentExpired):
        await addresses.confirm(mine, asked, code, NOW + LIFETIME_S)
    mine.proved_at = NOW - 86_400  # as if the clock had been a day ahead when the code was mailed
    with pytest.raises(EnrolmentExpired):
        await addresses.confirm(mine, asked, code, NOW - 86_400)
    mine.proved_at = NOW
    for session, token in (
        (other, asked),
        (mine, ""),
        (mine, "x"),
        (mine, asked[:-8]),
        (mine, "é"),
    ):
        with pytest.raises(EnrolmentExpired):
            await addresses.confirm(session, token, code, NOW)
    assert (await core.users.get("alice")).emails == ()


async def test_taken_and_invalid_values_are_refused(core: Core, addresses: Addresses) -> None:
    await core.add()
    await core.add("bob", emails=[Email("bob@example.com", True)])
    session = (await core.login()).session
    for wrong in ("", "bob", "a@b@c.example", "a b@example.com", "a@example.com\r\nBcc: x@y.z"):
        with pytest.raises(InvalidEmail):
            await addresses.begin(session, wrong, NOW)
    asked = await addresses.begin(session, "bob@example.com", NOW)
    with pytest.raises(NameTaken):
        await addresses.confirm(session, asked, core.mailbox.sent[-1][1], NOW)


async def test_mails_per_session_are_limited(core: Core, addresses: Addresses) -> None:
    await core.add()
    session = (await core.login()).session
    for number in range(MAILS):
        await addresses.begin(session, f"{number}@example.com", NOW)
    with pytest.raises(MailFailed, match="Too many"):
        await addresses.begin(session, "more@example.com", NOW)
    assert len(core.mailbox.sent) == MAILS
    session.proved_at = NOW + PER_S
    await addresses.begin(session, "later@example.com", NOW + PER_S)


async def test_an_address_cannot_change_without_a_mail_server(core: Core) -> None:
    user = await core.add()
    session = (await core.login()).session
    silent = Addresses(core.users, core.second_factors, None, KEYS)
    assert not silent.can_change(user)
    with pytest.raises(MailFailed):
        await silent.begin(session, "a@example.com", NOW)


async def test_a_user_of_the_configuration_file_cannot_change_its_address(
    core: Core, addresses: Addresses
) -> None:
    await core.add()
    session = (await core.login()).session
    session.user = replace(session.user, source="config")
    assert not addresses.can_change(session.user)
    with pytest.raises(ReadOnlyUser):
        await addresses.begin(session, "a@example.com", NOW)
