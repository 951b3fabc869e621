"""Second factors in the `rocketchat` dialect: turning them on and off, mailed codes, no bypass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from doorward.accounts.factors import totp
from doorward.accounts.permissions import ADMIN
from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.sessions import Opened
from doorward.accounts.user import Email
from doorward.wiring import accounts as wiring

from tests.support.house import House, house
from tests.support.mailbox import Mailbox
from tests.support.people import proven
from tests.support.rocketchat import (
    ON,
    RIGHT,
    SHA256,
    api,
    is_answer,
    is_failure,
    later,
    pair,
)
from tests.support.second_factors import next_code, turn_on_totp

ADDRESS = "root@example.com"
DONE = {"success": True}
INVALID = {"success": False, "error": "[invalid-totp]", "errorType": "invalid-totp"}


@pytest.fixture
async def home(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[House]:
    """root is an admin with an address; alice has no address."""
    async with house(tmp_path, dialects=ON) as built:
        await built.add("alice")
        await built.add("root", roles=[ADMIN], emails=[Email(ADDRESS, True)])
        yield built


@pytest.fixture
async def client(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.program() as program:
        yield program


@pytest.fixture
async def root(home: House) -> Opened:
    return await home.opened("root")


async def turn_on_email(home: House, name: str = "root") -> None:
    user = await home.accounts.users.get(name)
    await home.accounts.second_factors.enable_email(proven(user, home.clock()), home.clock())


async def end(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    """404 once every check before the look-up has passed."""
    return await client.post(api("sessions/logout"), json={"sessionId": "x"}, headers=headers)


# A code by mail, at an endpoint that requires one


async def test_a_code_is_mailed_unless_one_is_still_valid(
    home: House, client: httpx.AsyncClient, root: Opened, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    required = {
        "success": False,
        "error": "TOTP Required [totp-required]",
        "errorType": "totp-required",
    }
    sent = {
        "method": "email",
        "codeGenerated": True,
        "emailOrUsername": ADDRESS,
        "availableMethods": ["email"],
    }
    assert is_answer(await end(client, pair(root)), 400, {**required, "details": sent})
    lives = {
        "method": "email",
        "codeGenerated": False,
        "emailOrUsername": ADDRESS,
        "codeCount": 1,
        "codeExpires": ["2027-01-15T09:00:00.250Z"],
        "availableMethods": ["email"],
    }
    assert is_answer(await end(client, pair(root)), 400, {**required, "details": lives})
    wrong = await end(client, pair(root, "000000"))
    assert is_failure(wrong, 400, "totp-invalid")
    del lives["availableMethods"]
    assert wrong.json()["details"] == lives
    ((address, mailed),) = ((mail[0], mail[1]) for mail in mailbox.sent)
    assert address == ADDRESS
    digits = "".join(c for c in mailed if c.isdecimal())
    dashed = f"{digits[:3]}-{digits[3:]}"
    assert (await end(client, pair(root, dashed, "email"))).status_code == 404
    with later(home, 400):
        assert is_failure(await end(client, pair(root, mailed)), 400, "totp-invalid"), "once"


async def test_the_order_of_methods_is_totp_then_email(
    home: House, client: httpx.AsyncClient, root: Opened, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    secret = await turn_on_totp(home, "root")
    details = (await end(client, pair(root))).json()["details"]
    assert (details["method"], details["availableMethods"]) == ("totp", ["totp", "email"])
    assert not mailbox.sent
    for method in ("password", "unheard-of"):
        details = (await end(client, pair(root, SHA256, method))).json()["details"]
        assert details["method"] == "totp", "the password is no way around a factor"
    details = (await end(client, pair(root, method="email"))).json()["details"]
    assert details["method"] == "email" and len(mailbox.sent) == 1
    assert (await end(client, pair(root, next_code(home, secret), "totp"))).status_code == 404


@pytest.mark.parametrize("method", ["email", "totp"])
async def test_a_disabled_method_accepts_no_code_and_sends_no_mail(
    home: House, client: httpx.AsyncClient, root: Opened, mailbox: Mailbox, method: str
) -> None:
    answer = await end(client, pair(root, SHA256, method))
    assert is_failure(answer, 400, "totp-invalid")
    assert answer.json()["details"]["method"] == method
    answer = await end(client, pair(root, method=method))
    assert is_failure(answer, 400, "totp-required")
    assert answer.json()["details"]["availableMethods"] == [] and not mailbox.sent


async def test_a_user_whose_factor_is_unusable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2026-54730: a stage counted as passed without the proof."""
    monkeypatch.setattr(wiring, "build_mailer", lambda settings: Mailbox())
    async with house(tmp_path, dialects=ON) as home:
        await home.add("root", roles=[ADMIN], emails=[Email(ADDRESS, True)])
        await turn_on_email(home)
    monkeypatch.setattr(wiring, "build_mailer", lambda settings: None)
    async with house(tmp_path, dialects=ON) as home, home.program() as client:
        root = await home.opened("root")
        for headers in (pair(root), pair(root, method="password"), pair(root, method="email")):
            answer = await end(client, headers)
            assert is_failure(answer, 400, "totp-required")
            assert answer.json()["details"]["availableMethods"] == []
        answer = await end(client, pair(root, SHA256, "password"))
        assert is_failure(answer, 400, "totp-invalid")
        answer = await client.post(api("login"), json=RIGHT | {"user": "root"})
        assert answer.status_code == 401 and answer.json()["error"] == "totp-required"


async def test_a_mail_server_that_fails_is_a_503(
    home: House, client: httpx.AsyncClient, root: Opened, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    mailbox.broken = True
    answer = await end(client, pair(root))
    assert is_failure(answer, 503, "error-email-send-failed")
    assert answer.headers["retry-after"] == "5"


# users.2fa.sendEmailCode


async def send(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.post(api("users.2fa.sendEmailCode"), json={"emailOrUsername": name})


async def test_a_code_can_be_mailed_before_login_without_revealing_users(
    home: House, client: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    for name in (ADDRESS, "root", "alice", "nobody", "nobody@example.com"):
        assert is_answer(await send(client, name), 200, DONE)
    assert [mail[0] for mail in mailbox.sent] == [ADDRESS], "the second lives already"
    login = RIGHT | {"user": "root", "code": mailbox.sent[0][1]}
    assert (await client.post(api("login"), json=login)).status_code == 200


async def test_a_name_is_required(client: httpx.AsyncClient) -> None:
    required = {
        "success": False,
        "error": "emailOrUsername is required [error-parameter-required]",
        "errorType": "error-parameter-required",
    }
    path = api("users.2fa.sendEmailCode")
    for body in ({}, {"emailOrUsername": ""}, {"other": "x"}):
        assert is_answer(await client.post(path, json=body), 400, required)
    answer = await client.post(path, json={"emailOrUsername": 1})
    assert is_failure(answer, 400, "invalid-params")


async def test_requests_for_mail_spend_the_budget_of_the_address(
    home: House, client: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    for _ in range(5):
        assert (await send(client, "nobody")).status_code == 200
    answer = await send(client, "nobody")
    assert answer.status_code == 429 and answer.json()["success"] is False


async def test_another_site_cannot_send_mail(client: httpx.AsyncClient, mailbox: Mailbox) -> None:
    headers = {"origin": "http://evil.test"}
    path, body = api("users.2fa.sendEmailCode"), {"emailOrUsername": "root"}
    answer = await client.post(path, json=body, headers=headers)
    assert is_failure(answer, 403, "error-foreign-origin") and not mailbox.sent


async def test_a_mail_that_cannot_be_sent_gets_the_same_answer(
    home: House, client: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    user = await home.accounts.users.get("root")
    for _ in range(5):  # locked: nothing is mailed
        with pytest.raises(Refusal):
            await home.accounts.second_factors.verify(user, "000000", None, now=home.clock())
    assert is_answer(await send(client, "root"), 200, DONE) and not mailbox.sent


# Logins with a mailed code


async def test_a_login_mails_a_code_and_returns_the_given_name(
    home: House, client: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    answer = await client.post(api("login"), json=RIGHT | {"user": "root"})
    said = answer.json()
    assert answer.status_code == 401 and said["error"] == "totp-required"
    assert list(said) == ["status", "error", "details", "message"]
    assert said["details"] == {
        "method": "email",
        "codeGenerated": True,
        "emailOrUsername": "root",
        "availableMethods": ["email"],
    }
    login = RIGHT | {"user": "root", "code": mailbox.sent[0][1]}
    assert (await client.post(api("login"), json=login)).status_code == 200


# The e-mail factor


async def test_turning_the_email_factor_on_ends_other_sessions(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    other = await home.opened("root")
    answer = await client.post(api("users.2fa.enableEmail"), headers=pair(root))
    assert is_answer(answer, 200, DONE)
    assert await home.found(other) is None and await home.found(root) is not None
    me = (await client.get(api("me"), headers=pair(root))).json()
    assert me["services"]["email2fa"] == {"enabled": True}


async def test_without_a_verified_address_it_is_refused(
    home: House, client: httpx.AsyncClient
) -> None:
    alice = await home.opened()
    answer = await client.post(api("users.2fa.enableEmail"), headers=pair(alice), json={})
    reason = "You need to verify your emails before setting up 2FA "
    assert is_failure(answer, 400, "error-invalid-user", reason)


async def test_turning_the_email_factor_off_asks_for_a_code_despite_trust(
    home: House, client: httpx.AsyncClient, root: Opened, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    await end(client, pair(root))
    assert (await end(client, pair(root, mailbox.sent[0][1]))).status_code == 404
    assert (await end(client, pair(root))).status_code == 404, "trusted"
    path = api("users.2fa.disableEmail")
    answer = await client.post(path, headers=pair(root))
    assert is_failure(answer, 400, "totp-required")
    answer = await client.post(path, headers=pair(root, mailbox.sent[1][1]))
    assert is_answer(answer, 200, DONE)
    user = await home.accounts.users.get("root")
    assert await home.accounts.second_factors.list_enabled(user) == ()


async def test_adding_the_email_factor_requires_a_totp_code(
    home: House, client: httpx.AsyncClient, root: Opened, mailbox: Mailbox
) -> None:
    """A thief of a session must not be able to add a factor."""
    secret = await turn_on_totp(home, "root")
    answer = await client.post(api("users.2fa.enableEmail"), headers=pair(root))
    assert is_failure(answer, 400, "totp-required")
    headers = pair(root, next_code(home, secret))
    assert is_answer(await client.post(api("users.2fa.enableEmail"), headers=headers), 200, DONE)


async def test_adding_totp_requires_a_mailed_code(
    home: House, client: httpx.AsyncClient, root: Opened, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    path = api("users.totp.enable")
    assert is_failure(await client.post(path, headers=pair(root)), 400, "totp-required")
    answer = await client.post(path, headers=pair(root, mailbox.sent[0][1]))
    assert answer.status_code == 200


# TOTP


async def test_totp_is_enabled_used_and_disabled(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    other = await home.opened("root")
    begun = await client.post(api("users.totp.enable"), headers=pair(root))
    secret = begun.json()["secret"]
    assert begun.json()["url"].startswith("otpauth://totp/Doorward:root?secret=" + secret)
    assert list(begun.json()) == ["secret", "url", "success"]
    path = api("users.totp.validate")
    answer = await client.post(path, json={"code": "000000"}, headers=pair(root))
    assert is_answer(answer, 400, INVALID)
    now = totp.code_at(secret, totp.step_at(home.clock()))
    answer = await client.post(path, json={"code": now}, headers=pair(root))
    codes = answer.json()["codes"]
    assert answer.status_code == 200 and list(answer.json()) == ["codes", "success"]
    assert len(set(codes)) == len(codes) >= 10
    assert await home.found(other) is None and await home.found(root) is not None

    remaining = await client.get(api("users.totp.codesRemaining"), headers=pair(root))
    assert is_answer(remaining, 200, {"remaining": len(codes), "success": True})
    assert (await end(client, pair(root, codes[0]))).status_code == 404
    remaining = await client.get(api("users.totp.codesRemaining"), headers=pair(root))
    assert remaining.json()["remaining"] == len(codes) - 1

    path = api("users.totp.regenerateCodes")
    assert is_answer(await client.post(path, json={"code": now}, headers=pair(root)), 400, INVALID)
    body = {"code": next_code(home, secret)}
    fresh = await client.post(path, json=body, headers=pair(root))
    assert fresh.status_code == 200 and not set(fresh.json()["codes"]) & set(codes)

    path = api("users.totp.disable")
    assert is_answer(
        await client.post(path, json={"code": codes[1]}, headers=pair(root)), 400, INVALID
    )
    body = {"code": next_code(home, secret)}
    answer = await client.post(path, json=body, headers=pair(root))
    assert is_answer(answer, 200, {"disabled": True, "success": True})
    assert is_failure(await end(client, pair(root)), 400, "totp-required"), "the password's turn"


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("POST", "users.totp.validate"),
        ("POST", "users.totp.disable"),
        ("POST", "users.totp.regenerateCodes"),
        ("GET", "users.totp.codesRemaining"),
    ],
)
async def test_without_totp_there_is_nothing_to_confirm_or_count(
    client: httpx.AsyncClient, root: Opened, method: str, name: str
) -> None:
    body = {"code": "000000"} if method == "POST" else None
    answer = await client.request(method, api(name), json=body, headers=pair(root))
    assert is_failure(answer, 400, "invalid-totp")


@pytest.mark.parametrize("name", ["validate", "disable", "regenerateCodes"])
async def test_a_code_must_be_a_string(client: httpx.AsyncClient, root: Opened, name: str) -> None:
    for body in ({}, {"code": 123456}, {"code": "1", "more": "2"}):
        answer = await client.post(api(f"users.totp.{name}"), json=body, headers=pair(root))
        assert is_failure(answer, 400, "invalid-params")


async def test_totp_is_never_replaced_silently(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    secret = await turn_on_totp(home, "root")
    answer = await client.post(api("users.totp.enable"), headers=pair(root))
    assert is_failure(answer, 400, "totp-required")
    answer = await client.post(
        api("users.totp.enable"), headers=pair(root, next_code(home, secret))
    )
    assert is_failure(answer, 400, "error-2fa-already-enabled")


async def test_codes_that_turn_totp_off_are_counted_too(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    secret = await turn_on_totp(home, "root")
    for _ in range(4):
        answer = await client.post(
            api("users.totp.disable"), json={"code": "000000"}, headers=pair(root)
        )
        assert is_answer(answer, 400, INVALID)
    assert is_failure(await end(client, pair(root, "000000")), 400, "totp-max-attempts")
    body = {"code": next_code(home, secret)}
    answer = await client.post(api("users.totp.disable"), json=body, headers=pair(root))
    assert is_failure(answer, 400, "totp-max-attempts")
