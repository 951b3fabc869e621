"""The `rocketchat` dialect: its tables row by row, login, logout and other requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.challenge import Challenge
from doorward.accounts.permissions import ADMIN, OWNER
from doorward.accounts.refusals import LockedOut, Refusal
from doorward.accounts.session import FULL, PENDING
from doorward.accounts.user import Email
from doorward.dialects import rocketchat
from doorward.dialects.context import RequestFault
from doorward.dialects.rocketchat import error_table

from tests.support.errors import list_errors
from tests.support.house import ORIGIN, PASSWORD, House, house, set_cookies
from tests.support.rocketchat import (
    LOGGED_OUT,
    ON,
    RIGHT,
    SHA256,
    UNAUTHORIZED,
    api,
    is_answer,
    is_failure,
    pair,
)
from tests.support.second_factors import next_code, turn_on_totp

FORM = "application/x-www-form-urlencoded"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, dialects=ON) as built:
        await built.add("alice", emails=[Email("alice@example.com", True)])
        yield built


@pytest.fixture
async def client(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.program() as program:
        yield program


# The tables


every_leaf = pytest.mark.parametrize("leaf", list_errors())


@every_leaf
def test_every_refusal_and_fault_has_a_row(leaf: type[Exception]) -> None:
    assert leaf in rocketchat.ERROR_TABLE and leaf in rocketchat.LOGIN_ERROR_TABLE


def trouble_of(kind: type[Refusal | RequestFault]) -> Refusal | RequestFault:
    if kind is LockedOut:
        return LockedOut(60.0, "user")
    error = kind.__new__(kind)
    Exception.__init__(error, kind.message)
    for name, value in (("challenge", Challenge("totp", ("totp",))), ("reason", "password")):
        if name in kind.__init__.__code__.co_varnames:
            setattr(error, name, value)
    return error


@pytest.mark.parametrize("kind", rocketchat.ERROR_TABLE)
def test_every_error_is_json_with_its_status(kind: type[Refusal | RequestFault]) -> None:
    row = rocketchat.ERROR_TABLE[kind]
    rendered = error_table.ERROR_FORMAT.render(trouble_of(kind))
    said = json.loads(bytes(rendered.body))
    assert rendered.status_code == row.status
    assert rendered.headers["content-type"] == "application/json"
    assert rendered.headers["cache-control"] == "no-store"
    assert said.get("success") is False or said == LOGGED_OUT
    assert ("retry-after" in rendered.headers) == (row.status == 503 or kind is LockedOut)


@pytest.mark.parametrize("kind", rocketchat.LOGIN_ERROR_TABLE)
def test_at_login_every_401_has_the_older_shape(kind: type[Refusal | RequestFault]) -> None:
    rendered = error_table.LOGIN_ERROR_FORMAT.render(trouble_of(kind))
    said = json.loads(bytes(rendered.body))
    assert rendered.status_code == rocketchat.LOGIN_ERROR_TABLE[kind].status
    if rendered.status_code == 401:
        assert said["status"] == "error" and said["message"] and "success" not in said
    else:
        assert said["success"] is False


# Login: 200


async def test_a_login_returns_token_user_id_and_user(
    home: House, client: httpx.AsyncClient
) -> None:
    answer = await client.post(api("login"), json=RIGHT)
    (session,) = await home.sessions()
    assert session.kind == "rocketchat" and session.expires_at == home.clock() + 90 * 86400
    token = answer.json()["data"]["authToken"]
    assert len(token) == 43 and len(session.user.id) == 17
    me = {
        "_id": session.user.id,
        "name": "alice",
        "emails": [{"address": "alice@example.com", "verified": True}],
        "status": "online",
        "statusConnection": "online",
        "username": "alice",
        "utcOffset": 0,
        "active": True,
        "roles": ["user"],
        "settings": {"preferences": {}},
        "avatarUrl": f"{ORIGIN}/avatar/alice",
        "email": "alice@example.com",
        "services": {
            "password": {"exists": True},
            "totp": {"enabled": False},
            "email2fa": {"enabled": False},
        },
        "isOAuthUser": False,
    }
    data = {"authToken": token, "userId": session.user.id, "me": me}
    assert is_answer(answer, 200, {"status": "success", "data": data})
    headers = {"X-User-Id": session.user.id, "X-Auth-Token": token}
    client.cookies.clear()
    assert is_answer(await client.get(api("me"), headers=headers), 200, {**me, "success": True})
    assert PASSWORD not in answer.text and "argon2" not in answer.text


FORMS: dict[str, dict[str, Any]] = {
    "user": {"user": "alice"},
    "username": {"username": "alice"},
    "email": {"email": "alice@example.com"},
    "user with an address": {"user": "Alice@example.com"},
    "user.username": {"user": {"username": "alice"}},
    "user.email": {"user": {"email": "alice@example.com"}},
    "something else beside it": {"user": "alice", "ldap": True},
}


@pytest.mark.parametrize("who", FORMS.values(), ids=FORMS)
async def test_every_documented_form_of_a_name_logs_in(
    client: httpx.AsyncClient, who: dict[str, Any]
) -> None:
    answer = await client.post(api("login"), json={**who, "password": PASSWORD})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("digest", [SHA256, SHA256.upper()])
async def test_the_sha256_of_the_password_logs_in(client: httpx.AsyncClient, digest: str) -> None:
    password = {"digest": digest, "algorithm": "sha-256"}
    answer = await client.post(api("login"), json={"user": "alice", "password": password})
    assert answer.status_code == 200


async def test_a_wrong_digest_is_answered_like_a_wrong_password(client: httpx.AsyncClient) -> None:
    for digest in ("0" * 64, PASSWORD, ""):
        password = {"digest": digest, "algorithm": "sha-256"}
        answer = await client.post(api("login"), json={"user": "alice", "password": password})
        assert is_answer(answer, 401, UNAUTHORIZED)


async def test_a_login_sets_the_cookie_too_unless_that_is_off(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    (line,) = set_cookies(await client.post(api("login"), json=RIGHT))
    assert line.startswith("doorward=") and "HttpOnly" in line
    off = {"rocketchat": {"cookie": False}}
    async with house(tmp_path / "off", dialects=off) as other, other.program() as script:
        await other.add("alice")
        assert not set_cookies(await script.post(api("login"), json=RIGHT))


async def test_resume_answers_with_the_same_token(home: House, client: httpx.AsyncClient) -> None:
    await turn_on_totp(home)
    opened = await home.opened()
    answer = await client.post(api("login"), json={"resume": opened.token})
    assert answer.status_code == 200 and answer.json()["data"]["authToken"] == opened.token
    assert len(await home.sessions()) == 1
    await home.accounts.sessions.end(opened.session, home.clock())
    answer = await client.post(api("login"), json={"resume": opened.token})
    assert is_answer(answer, 401, UNAUTHORIZED)


async def test_resume_does_not_bypass_the_second_factor(
    home: House, client: httpx.AsyncClient
) -> None:
    """CVE-2026-32246: a pending session was accepted by another endpoint."""
    pending = await home.opened(level=PENDING)
    answer = await client.post(api("login"), json={"resume": pending.token})
    assert is_answer(answer, 401, UNAUTHORIZED)


# Login: 401


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(
    client: httpx.AsyncClient,
) -> None:
    for wrong in (RIGHT | {"password": "wrong"}, RIGHT | {"user": "nobody"}):
        answer = await client.post(api("login"), json=wrong)
        assert is_answer(answer, 401, UNAUTHORIZED) and not set_cookies(answer)


async def test_a_banned_user_is_answered_like_a_wrong_password(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    assert is_answer(await client.post(api("login"), json=RIGHT), 401, UNAUTHORIZED)


async def test_a_disabled_user_gets_a_message_only_after_the_right_password(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.accounts.users.disable("alice", home.clock(), actor=OWNER)
    inactive = {
        "status": "error",
        "error": "error-user-is-not-activated",
        "message": "User is not activated",
    }
    assert is_answer(await client.post(api("login"), json=RIGHT), 401, inactive)
    wrong = RIGHT | {"password": "wrong"}
    assert is_answer(await client.post(api("login"), json=wrong), 401, UNAUTHORIZED)


async def test_a_required_password_change_is_reported(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    answer = await client.post(api("login"), json=RIGHT | {"user": "carol"})
    said = answer.json()
    assert answer.status_code == 401 and said["error"] == "error-password-change-required"


async def test_a_missing_code_is_a_401_and_opens_nothing(
    home: House, client: httpx.AsyncClient
) -> None:
    await turn_on_totp(home)
    details = {"method": "totp", "codeGenerated": False, "availableMethods": ["totp"]}
    required = {
        "status": "error",
        "error": "totp-required",
        "details": details,
        "message": "TOTP Required",
    }
    answer = await client.post(api("login"), json=RIGHT)
    assert is_answer(answer, 401, required) and not set_cookies(answer)
    assert await home.sessions() == ()


async def test_a_wrong_code_is_a_401(home: House, client: httpx.AsyncClient) -> None:
    await turn_on_totp(home)
    invalid = {
        "status": "error",
        "error": "totp-invalid",
        "details": {"method": "totp", "codeGenerated": False},
        "message": "TOTP Invalid",
    }
    answer = await client.post(api("login"), json=RIGHT | {"code": "000000"})
    assert is_answer(answer, 401, invalid)


async def test_too_many_wrong_codes_have_their_own_error(
    home: House, client: httpx.AsyncClient
) -> None:
    """CVE-2024-21500: starting the login again does not give a new budget."""
    secret = await turn_on_totp(home)
    for _ in range(5):
        answer = await client.post(api("login"), json=RIGHT | {"code": "000000"})
    refused = await client.post(api("login"), json=RIGHT | {"code": next_code(home, secret)})
    for each in (answer, refused):
        assert each.status_code == 401 and each.json()["error"] == "totp-max-attempts"
        assert each.json()["message"] == "TOTP Maximun Failed Attempts Reached"


@pytest.mark.parametrize("place", ["body", "header"])
async def test_a_code_in_body_or_header_logs_in_once(
    home: House, client: httpx.AsyncClient, place: str
) -> None:
    found = next_code(home, await turn_on_totp(home))
    body = RIGHT | {"code": found} if place == "body" else RIGHT
    headers = {"X-2FA-Code": found, "x-2fa-method": "email"} if place == "header" else {}
    assert (await client.post(api("login"), json=body, headers=headers)).status_code == 200
    again = await client.post(api("login"), json=body, headers=headers)
    assert again.json()["error"] == "totp-invalid"


async def test_guessing_one_users_password_blocks_that_user(client: httpx.AsyncClient) -> None:
    for _ in range(5):
        await client.post(api("login"), json=RIGHT | {"password": "wrong"})
    blocked = {
        "status": "error",
        "error": "error-login-blocked-for-user",
        "details": {"function": "Accounts.validateLoginAttempt"},
        "message": "Login has been temporarily blocked For User",
    }
    answer = await client.post(api("login"), json=RIGHT)
    assert is_answer(answer, 401, blocked) and answer.headers["retry-after"] == "300"


async def test_guessing_many_users_passwords_blocks_the_address(tmp_path: Path) -> None:
    regulation = {"network_attempts": 3}
    async with house(tmp_path, dialects=ON, regulation=regulation) as home:
        await home.add("alice")
        async with home.program() as client:
            for number in range(3):
                await client.post(api("login"), json={"user": f"u{number}", "password": "wrong"})
            answer = await client.post(api("login"), json=RIGHT)
    assert answer.status_code == 401
    assert answer.json()["error"] == "error-login-blocked-for-ip"
    assert answer.json()["message"] == "Login has been temporarily blocked For IP"


# Login: invalid requests

BAD_BODIES = {
    "nothing": b"",
    "not JSON": b"user=alice",
    "cut": b'{"user":"alice","password":"corr',
    "an array": b'["alice"]',
    "null": b"null",
    "a name twice": b'{"user":"alice","password":"a","password":"b"}',
    "NaN": b'{"user":"alice","password":"a","x":NaN}',
    "a deep nest": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    "a number of 5000 digits": b'{"user":"alice","password":"a","x":' + b"1" * 5000 + b"}",
    "not UTF-8": b'{"user":"\xff","password":"a"}',
    "UTF-16": '{"user":"alice","password":"a"}'.encode("utf-16"),
    "half a character": b'{"user":"\\ud800","password":"a"}',
    "NUL in the name": b'{"user":"al\\u0000ice","password":"a"}',
    "a number for a name": b'{"user":1,"password":"a"}',
    "an empty object for a name": b'{"user":{},"password":"a"}',
    "a list in the object": b'{"user":{"username":["alice"]},"password":"a"}',
    "a number for a password": b'{"user":"alice","password":1}',
    "null for a password": b'{"user":"alice","password":null}',
    "a digest without a kind": b'{"user":"alice","password":{"digest":"00"}}',
    "a digest of another kind": b'{"user":"alice","password":{"digest":"0","algorithm":"md5"}}',
    "a number for a code": b'{"user":"alice","password":"a","code":123456}',
    "null for a token": b'{"resume":null}',
    "no password": b'{"user":"alice"}',
    "no name": b'{"password":"a"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_body_that_is_no_login_is_a_400(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(api("login"), content=body, headers=JSON)
    assert is_failure(answer, 400, "invalid-params")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", FORM, "multipart/form-data", "application/jsonp"]
)
async def test_a_body_of_another_type_is_a_400(client: httpx.AsyncClient, kind: str | None) -> None:
    """A form of another site can send these types, but not JSON."""
    headers = {} if kind is None else {"content-type": kind}
    answer = await client.post(api("login"), content=json.dumps(RIGHT), headers=headers)
    assert is_failure(answer, 400, "invalid-params")


async def test_a_body_of_ten_mebibytes_is_a_413(client: httpx.AsyncClient) -> None:
    answer = await client.post(api("login"), content=b"x" * (10 << 20), headers=JSON)
    assert is_failure(answer, 413, "error-too-large")


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "null"}])
async def test_another_site_cannot_log_its_visitor_in(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """CVE-2017-1000069: another site could log its visitors in."""
    answer = await client.post(api("login"), headers=headers, json=RIGHT)
    assert is_failure(answer, 403, "error-foreign-origin")


# The caller


async def test_a_missing_or_mismatched_pair_is_a_401(
    home: House, client: httpx.AsyncClient
) -> None:
    opened = await home.opened()
    good = pair(opened)
    dead = await home.opened()
    await home.accounts.sessions.end(dead.session, home.clock())
    for headers in (
        {},
        {"X-User-Id": good["X-User-Id"]},
        {"X-Auth-Token": good["X-Auth-Token"]},
        good | {"X-User-Id": "A" * 17},
        good | {"X-Auth-Token": "A" * 43},
        good | {"X-Auth-Token": ""},
        pair(dead),
        pair(dead) | {"cookie": home.cookie(opened)},
    ):
        assert is_answer(await client.get(api("me"), headers=headers), 401, LOGGED_OUT)
    assert (await client.get(api("me"), headers=good)).status_code == 200


async def test_bearer_tokens_and_cookies_are_accepted(
    home: House, client: httpx.AsyncClient
) -> None:
    opened = await home.opened()
    for headers in (
        {"authorization": f"Bearer {opened.token}"},
        {"cookie": home.cookie(opened)},
        {"x-auth-token": opened.token, "X-USER-ID": opened.session.user.id},
    ):
        answer = await client.get(api("me"), headers=headers)
        assert answer.json()["username"] == "alice"


@pytest.mark.parametrize("end", ["expired", "banned", "pending"])
async def test_an_invalid_session_is_a_401_everywhere(
    home: House, client: httpx.AsyncClient, end: str
) -> None:
    """Including pending sessions (CVE-2026-32246)."""
    opened = await home.opened(level=PENDING if end == "pending" else FULL)
    if end == "expired":
        home.clock.now += 7200
    if end == "banned":
        await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    for name, (method, *_) in EVERYTHING.items():
        if name in ("login", "users.2fa.sendEmailCode", "logout"):
            continue
        answer = await client.request(method, api(name), headers=pair(opened), json={})
        assert is_answer(answer, 401, LOGGED_OUT), name


# Logout


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("level", [FULL, PENDING])
async def test_logout_ends_the_session_presented_and_no_other(
    home: House, client: httpx.AsyncClient, method: str, level: str
) -> None:
    """CVE-2024-21492: a logout that left the token valid."""
    opened, other = await home.opened(level=level), await home.opened()
    answer = await client.request(method, api("logout"), headers=pair(opened))
    data = {"message": "You've been logged out!"}
    assert is_answer(answer, 200, {"status": "success", "data": data})
    assert await home.found(opened) is None and await home.found(other) is not None
    again = await client.request(method, api("logout"), headers=pair(opened))
    assert is_answer(again, 401, LOGGED_OUT)


async def test_a_logout_by_cookie_expires_it(home: House, client: httpx.AsyncClient) -> None:
    headers = {"cookie": home.cookie(await home.opened())}
    answer = await client.post(api("logout"), headers=headers)
    assert set_cookies(answer) and all("Max-Age=0" in line for line in set_cookies(answer))


async def test_a_head_request_ends_no_session(home: House, client: httpx.AsyncClient) -> None:
    opened = await home.opened()
    assert (await client.head(api("logout"), headers=pair(opened))).status_code == 200
    assert await home.found(opened) is not None


@pytest.mark.parametrize("name", ["logout", "users.logout", "users.logoutOtherClients"])
async def test_another_site_cannot_use_a_cookie(
    home: House, client: httpx.AsyncClient, name: str
) -> None:
    opened = await home.opened()
    headers = {"cookie": home.cookie(opened), "origin": "http://evil.test"}
    answer = await client.post(api(name), headers=headers, json={})
    assert is_failure(answer, 403, "error-foreign-origin")
    assert await home.found(opened) is not None


async def test_logging_out_the_others_keeps_this_one(
    home: House, client: httpx.AsyncClient
) -> None:
    here, there = await home.opened(), await home.opened()
    answer = await client.post(api("users.logoutOtherClients"), headers=pair(here))
    expires = "2027-01-16T08:00:00.250Z"
    assert is_answer(answer, 200, {"token": here.token, "tokenExpires": expires, "success": True})
    assert await home.found(here) is not None and await home.found(there) is None


async def test_a_token_from_a_cookie_is_not_in_the_answer(
    home: House, client: httpx.AsyncClient
) -> None:
    """HttpOnly means that no script must see it."""
    here = await home.opened()
    headers = {"cookie": home.cookie(here)}
    answer = await client.post(api("users.logoutOtherClients"), headers=headers)
    assert answer.status_code == 200 and here.token not in answer.text


async def test_users_logout_ends_all_sessions_of_a_user(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("root", roles=[ADMIN])
    alice, root = await home.opened(), await home.opened("root")
    number = alice.session.user.id
    refused = await client.post(
        api("users.logout"), headers=pair(alice), json={"userId": root.session.user.id}
    )
    assert is_answer(refused, 403, {"success": False, "error": "unauthorized"})
    done = await client.post(api("users.logout"), headers=pair(root), json={"userId": number})
    said = {"message": f"User {number} has been logged out!", "success": True}
    assert is_answer(done, 200, said)
    assert await home.found(alice) is None and await home.found(root) is not None
    nobody = await client.post(api("users.logout"), headers=pair(root), json={"userId": "A" * 17})
    assert is_failure(nobody, 400, "error-invalid-user", "The required ")
    own = await client.post(api("users.logout"), headers=pair(root), json={})
    assert own.status_code == 200 and await home.found(root) is None


# Paths, methods, limits, trouble

EVERYTHING = {
    "login": ("POST", "POST"),
    "logout": ("POST", "GET, HEAD, POST"),
    "me": ("GET", "GET, HEAD"),
    "sessions/list": ("GET", "GET, HEAD"),
    "sessions/info": ("GET", "GET, HEAD"),
    "sessions/logout.me": ("POST", "POST"),
    "sessions/logout": ("POST", "POST"),
    "sessions/list.all": ("GET", "GET, HEAD"),
    "sessions/info.admin": ("GET", "GET, HEAD"),
    "users.logoutOtherClients": ("POST", "POST"),
    "users.logout": ("POST", "POST"),
    "users.2fa.sendEmailCode": ("POST", "POST"),
    "users.2fa.enableEmail": ("POST", "POST"),
    "users.2fa.disableEmail": ("POST", "POST"),
    "users.totp.enable": ("POST", "POST"),
    "users.totp.validate": ("POST", "POST"),
    "users.totp.disable": ("POST", "POST"),
    "users.totp.regenerateCodes": ("POST", "POST"),
    "users.totp.codesRemaining": ("GET", "GET, HEAD"),
}


@pytest.mark.parametrize("name", EVERYTHING)
async def test_other_methods_are_refused_by_name(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.delete(api(name))
    assert is_failure(answer, 405, "method-not-allowed")
    allowed = {*EVERYTHING[name][1].split(", "), "OPTIONS"}
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert (await client.options(api(name))).status_code == 204


@pytest.mark.parametrize(
    "path", ["/api/v1/me/", "/api/v1/ME", "/api/v1/users.list", "/api/v1", "/api/me"]
)
async def test_paths_match_exactly(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404  # by the router; there is no gate


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, dialects={"rocketchat": {}}) as built:
        await built.add("alice")
        await built.add("root", super_admin=True)
        yield built


async def test_the_eleventh_request_within_a_minute_is_a_429(limited: House) -> None:
    """No client is exempt."""
    opened = await limited.opened("root")
    async with limited.program(**pair(opened)) as client:
        for left in range(9, -1, -1):
            answer = await client.get(api("me"))
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit"] == "10"
            assert answer.headers["x-ratelimit-remaining"] == str(left)
            assert answer.headers["x-ratelimit-reset"] == "1800000060250"
        limited.clock.now += 20
        answer = await client.get(api("me"))
        error = (
            "Error, too many requests. Please slow down. You must wait 40 seconds before trying"
            " this endpoint again. [error-too-many-requests]"
        )
        assert is_answer(answer, 429, {"success": False, "error": error})
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert answer.headers["retry-after"] == "40"
        assert (await client.get(api("sessions/list"))).status_code == 200, "another route"
        limited.clock.now += 40
        assert (await client.get(api("me"))).status_code == 200


async def test_credentials_are_checked_before_the_rate_limit(limited: House) -> None:
    async with limited.program() as client:
        for _ in range(11):
            answer = await client.get(api("me"))
        assert is_answer(answer, 401, LOGGED_OUT) and "x-ratelimit-limit" not in answer.headers


async def test_an_unknown_method_shares_the_count_of_known_ones(limited: House) -> None:
    """Otherwise each would have its own count, and push out another client's."""
    async with limited.program(**pair(await limited.opened("root"))) as client:
        left = [
            (await client.request(method, api("me"))).headers["x-ratelimit-remaining"]
            for method in ("GET", "HEAD", "BREW", "PROPFIND", "get")
        ]
    assert left == ["9", "8", "7", "6", "5"]


async def test_logins_are_limited_by_address(limited: House) -> None:
    async with limited.program() as client:
        for _ in range(10):
            answer = await client.post(api("login"), json=RIGHT)
            assert answer.status_code == 200
        answer = await client.post(api("login"), json=RIGHT)
    assert answer.status_code == 429 and answer.json()["success"] is False


@pytest.mark.parametrize("name", EVERYTHING)
async def test_a_database_that_does_not_answer_is_a_503(
    home: House, client: httpx.AsyncClient, name: str
) -> None:
    opened = await home.opened()
    home.break_storage()
    body = RIGHT | {"emailOrUsername": "alice"}
    answer = await client.request(EVERYTHING[name][0], api(name), headers=pair(opened), json=body)
    assert is_failure(answer, 503, "error-storage-unavailable")
    assert answer.headers["retry-after"] == "5" and not set_cookies(answer)


async def test_an_unexpected_error_is_a_500(home: House, client: httpx.AsyncClient) -> None:
    home.accounts.passwords.close()  # the pool raises its own error for every job
    answer = await client.post(api("login"), json=RIGHT)
    assert is_answer(answer, 500, {"success": False, "error": "Internal server error"})
