"""The `datepoll` dialect: its document's examples, the needs of its clients, and one test per
error."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import Refusal
from doorward.accounts.session import PENDING
from doorward.dialects import datepoll
from doorward.dialects.context import RequestFault

from tests.support.errors import list_errors
from tests.support.house import ORIGIN, PASSWORD, House, house, set_cookies
from tests.support.second_factors import code_of, turn_on_totp

DIALECTS: dict[str, dict[str, Any]] = {"xhr": {}, "datepoll": {}}
SESSIONS = "/api/v1/user/myself/session"
CURRENT = f"{SESSIONS}/logoutCurrentSession"
SIGN_IN, REFRESH = "/api/auth/signin", "/api/auth/IamLoggedIn"
CHANGE = "/api/auth/changePasswordAfterSignin"
INFORMATION = "Firefox - 69; OS: Linux; Phone: false"
ALICE = {"username": "alice", "password": PASSWORD}
STAYING = ALICE | {"session_information": INFORMATION, "stay_logged_in": True}
HOUR = 3600
DAY = 86_400

Json = dict[str, Any]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, dialects=DIALECTS) as built:
        await built.add("alice")
        yield built


@pytest.fixture
async def client(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.program(accept="application/json") as client:
        yield client


async def signed_in(client: httpx.AsyncClient, **more: Any) -> Json:
    """Both tokens of a login that stays logged in; without the cookie, which would also log in."""
    answer = await client.post(SIGN_IN, json=STAYING | more)
    assert answer.status_code == 200, answer.text
    client.cookies.clear()
    found: Json = answer.json()
    return found


async def listed(client: httpx.AsyncClient, token: str) -> list[Json]:
    answer = await client.get(SESSIONS, params={"token": token})
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["sessions"]
    return found


def is_error(answer: httpx.Response, status: int, code: str, sentence: str | None = None) -> bool:
    """Assert the shape of errors; `sentence` is exact if the document has it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert set(said) == {"msg", "error_code"} and said["error_code"] == code
    assert sentence is None or said["msg"] == sentence
    return True


def is_invalid(answer: httpx.Response, **sentences: str) -> bool:
    """Assert a flat map from fields to sentences."""
    assert answer.status_code == 422, answer.text
    assert answer.json() == {name: [sentence] for name, sentence in sentences.items()}
    return True


def is_logged_out(answer: httpx.Response) -> bool:
    sentence = "You have been logged out of this session or this session token is incorrect"
    return is_error(answer, 400, "session_token_incorrect", sentence)


def is_wrong(answer: httpx.Response) -> bool:
    sentence = "Username or password is wrong"
    return is_error(answer, 400, "username_or_password_incorrect", sentence)


# The tables


@pytest.mark.parametrize("leaf", list_errors())
def test_every_refusal_and_fault_has_a_row(leaf: type[Exception]) -> None:
    assert leaf in datepoll.ERROR_TABLE


TONGUES = (
    datepoll.ERROR_FORMAT,
    datepoll.SIGN_IN,
    datepoll.REFRESH,
    datepoll.DELETE,
    datepoll.LOG_OUT,
)


@pytest.mark.parametrize("kind", datepoll.ERROR_TABLE)
@pytest.mark.parametrize("error_format", TONGUES)
def test_every_error_has_its_documented_shape(
    error_format: Any, kind: type[Refusal | RequestFault]
) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, kind.message)
    if kind.__name__ == "Malformed":
        error.sentences = None  # type: ignore[union-attr]
    rendered = error_format.render(error)
    assert rendered.status_code == error_format.table[kind].status
    assert rendered.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in rendered.headers) == (rendered.status_code == 401)
    assert all(json.loads(bytes(rendered.body)).values())


# The document's examples, literally


async def test_the_document_s_list(home: House, client: httpx.AsyncClient) -> None:
    """Ids come from the database; everything else is the document's text."""
    home.clock.now = 1_569_432_996.0
    first = await signed_in(client)
    home.clock.now = 1_571_672_567.0
    info = "Chrome - 77; OS: Linux; Phone: false"
    second = await signed_in(client, session_information=info)
    answer = await client.get(SESSIONS, params={"token": second["token"]})
    assert answer.status_code == 200
    one, two = [session["id"] for session in answer.json()["sessions"]]
    assert type(one) is int and type(two) is int and one != two
    assert answer.json() == {
        "msg": "List of all sessions",
        "sessions": [
            {
                "id": one,
                "information": "Firefox - 69; OS: Linux; Phone: false",
                "last_used": "2019-09-25T17:36:36.000000Z",
                "delete_session": {"href": f"api/v1/user/myself/session/{one}", "method": "DELETE"},
            },
            {
                "id": two,
                "information": "Chrome - 77; OS: Linux; Phone: false",
                "last_used": "2019-10-21T15:42:47.000000Z",
                "delete_session": {"href": f"api/v1/user/myself/session/{two}", "method": "DELETE"},
            },
        ],
    }
    assert list(answer.json()) == ["msg", "sessions"]
    assert first["session_token"] != second["session_token"]


async def test_the_document_s_delete(client: httpx.AsyncClient) -> None:
    tokens = await signed_in(client)
    await signed_in(client)
    (one, _) = await listed(client, tokens["token"])
    path, token = "/" + one["delete_session"]["href"], {"token": tokens["token"]}
    other = next(s for s in await listed(client, tokens["token"]) if s["id"] != one["id"])
    target = f"{SESSIONS}/{min(one['id'], other['id']) + 1}"
    answer = await client.delete(target, params=token)
    assert answer.status_code == 200 and path.startswith(SESSIONS)
    assert answer.json() == {"msg": "Successfully deleted session"}
    again = await client.delete(target, params=token)
    assert again.status_code == 404
    assert again.json() == {
        "msg": "Session token does not exist!",
        "error_code": "session_token_not_found",
    }


async def test_the_document_s_logout(client: httpx.AsyncClient) -> None:
    tokens, other = await signed_in(client), await signed_in(client)
    token, body = {"token": other["token"]}, {"session_token": tokens["session_token"]}
    answer = await client.post(CURRENT, params=token, json=body)
    assert answer.status_code == 200
    assert answer.json() == {"msg": "Successfully logged out and deleted session"}
    again = await client.post(CURRENT, params=token, json=body)
    assert again.status_code == 404
    assert again.json() == {
        "msg": "Session token is incorrect",
        "error_code": "session_token_incorrect",
    }
    sample = {"session_token": "ajchjw83fcvnc93bfpvnso305"}
    assert (await client.post(CURRENT, params=token, json=sample)).json() == again.json()


async def test_the_sequence_of_the_original_clients_works(
    home: House, client: httpx.AsyncClient
) -> None:
    """Sign in, list, expire, refresh, list with both tokens, delete, log out, and no more
    refresh."""
    old = await signed_in(client)
    ids = [session["id"] for session in await listed(client, old["token"])]
    home.clock.now += HOUR
    stale = await client.get(SESSIONS, params={"token": old["token"]})
    assert is_error(stale, 401, "token_expired", "Provided token is expired.")
    secret = {"session_token": old["session_token"], "session_information": INFORMATION}
    fresh = await client.post(REFRESH, json=secret)
    assert fresh.status_code == 202
    assert set(fresh.json()) == {"msg", "token"}
    assert fresh.json()["msg"] == "Session token is good"
    query = f"?token={old['token']}&token={fresh.json()['token']}"
    again = await client.get(SESSIONS + query)
    assert [session["id"] for session in again.json()["sessions"]] == ids
    extra = await signed_in(client)
    newest = max(session["id"] for session in await listed(client, extra["token"]))
    assert (await client.delete(f"{SESSIONS}/{newest}{query}")).status_code == 200
    assert (await client.post(CURRENT + query, json=secret)).status_code == 200
    assert is_logged_out(await client.post(REFRESH, json=secret))
    gone = await client.get(SESSIONS + query)
    assert is_error(gone, 401, "token_incorrect", "Your token is incorrect!")


# Signing in


async def test_a_token_is_the_documented_jwt(home: House, client: httpx.AsyncClient) -> None:
    tokens = await signed_in(client)
    assert list(tokens) == ["token", "session_token"]
    secret = tokens["session_token"]
    assert len(secret) == 64 and secret.isascii() and secret.isalnum()
    assert jwt.get_unverified_header(tokens["token"]) == {"typ": "JWT", "alg": "HS256"}
    packed = tokens["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    user = await home.accounts.users.get("alice")
    assert list(claims)[:4] == ["iss", "sub", "iat", "exp"]
    assert claims["iss"] == "lumen-jwt" and claims["sub"] == user.number
    assert claims["exp"] - claims["iat"] == HOUR


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"stay_logged_in": True},
        {"stay_logged_in": True, "session_information": ""},
        {"stay_logged_in": True, "session_information": "   "},
        {"stay_logged_in": False, "session_information": INFORMATION},
        {"stay_logged_in": "0", "session_information": INFORMATION},
        {"session_information": INFORMATION},
    ],
)
async def test_a_login_that_is_not_remembered_lasts_an_hour(
    home: House, client: httpx.AsyncClient, more: Json
) -> None:
    answer = await client.post(SIGN_IN, json=ALICE | more)
    assert answer.status_code == 200 and list(answer.json()) == ["token"]
    (session,) = await home.sessions()
    assert session.expires_at - session.created_at == HOUR and not session.remember
    home.clock.now += HOUR
    assert (await client.get("/xhr/session")).status_code == 401


@pytest.mark.parametrize("word", [True, 1, "1"])
async def test_a_remembered_login_lasts_four_hundred_days(
    home: House, client: httpx.AsyncClient, word: object
) -> None:
    await signed_in(client, stay_logged_in=word)
    (session,) = await home.sessions()
    assert session.expires_at - session.created_at == 400 * DAY and session.remember
    assert session.kind == "datepoll" and session.information == INFORMATION


async def test_forms_are_read_as_well_as_json(client: httpx.AsyncClient) -> None:
    form = {k: "1" if v is True else str(v) for k, v in STAYING.items()}
    plain = await client.post(SIGN_IN, data=form)
    assert set(plain.json()) == {"token", "session_token"}
    parts = {name: (None, value) for name, value in form.items()}
    multipart = await client.post(SIGN_IN, files=parts)
    assert set(multipart.json()) == {"token", "session_token"}


async def test_a_sign_in_sets_the_cookie_too(home: House, client: httpx.AsyncClient) -> None:
    answer = await client.post(SIGN_IN, json=STAYING)
    assert any("Max-Age=34560000" in line for line in set_cookies(answer))
    assert (await client.get("/xhr/session")).json()["user"]["username"] == "alice"


async def test_with_cookie_off_a_login_sets_no_cookie(tmp_path: Path) -> None:
    async with house(tmp_path, dialects={"datepoll": {"cookie": False}}) as built:
        await built.add("alice")
        async with built.program() as client:
            answer = await client.post(SIGN_IN, json=STAYING)
    assert answer.status_code == 200 and not set_cookies(answer)


async def test_max_lifetime_shortens_both(tmp_path: Path) -> None:
    async with house(tmp_path, dialects=DIALECTS, sessions={"max_lifetime": "1d"}) as built:
        await built.add("alice")
        async with built.program() as client:
            tokens = await signed_in(client)
            (session,) = await built.sessions()
            assert session.expires_at == session.created_at + DAY
            built.clock.now += DAY / 2
            secret = {"session_token": tokens["session_token"]}
            assert (await client.post(REFRESH, json=secret)).status_code == 202
            (renewed,) = await built.sessions()
            assert renewed.expires_at == session.expires_at
            built.clock.now += DAY / 2
            assert is_logged_out(await client.post(REFRESH, json=secret))


# Refused sign-ins


@pytest.mark.parametrize(
    "login", [{"username": "alice", "password": "wrong"}, {"username": "nobody", "password": "x"}]
)
async def test_wrong_passwords_and_unknown_users_get_the_same_answer(
    client: httpx.AsyncClient, login: Json
) -> None:
    answer = await client.post(SIGN_IN, json=login)
    assert is_wrong(answer) and not set_cookies(answer)


async def test_a_disabled_account_is_revealed_only_after_the_right_password(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.accounts.users.disable("alice", home.clock(), actor=OWNER)
    assert is_wrong(await client.post(SIGN_IN, json=ALICE | {"password": "wrong"}))
    answer = await client.post(SIGN_IN, json=ALICE)
    assert is_error(answer, 400, "not_activated", "Account is not activated")


async def test_a_required_password_change_is_reported(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    answer = await client.post(SIGN_IN, json=STAYING | {"username": "carol"})
    sentence = "You have to change your password"
    assert is_error(answer, 400, "change_password", sentence)
    assert not await home.sessions("carol")


async def test_a_banned_user_is_answered_like_a_wrong_password(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    assert is_wrong(await client.post(SIGN_IN, json=STAYING))


async def test_a_lock_out_looks_like_a_wrong_password(client: httpx.AsyncClient) -> None:
    for _ in range(5):
        assert is_wrong(await client.post(SIGN_IN, json=ALICE | {"password": "wrong"}))
    locked = await client.post(SIGN_IN, json=STAYING)
    assert is_wrong(locked) and "retry-after" not in locked.headers


LONG = "x" * 191
INVALID: list[tuple[str, Json, Json]] = [
    (
        SIGN_IN,
        {},
        {
            "username": "The username field is required.",
            "password": "The password field is required.",
        },
    ),
    (SIGN_IN, {"username": "alice"}, {"password": "The password field is required."}),
    (SIGN_IN, ALICE | {"username": " \t"}, {"username": "The username field is required."}),
    (SIGN_IN, ALICE | {"username": None}, {"username": "The username field is required."}),
    (SIGN_IN, ALICE | {"username": 1}, {"username": "The username must be a string."}),
    (SIGN_IN, ALICE | {"username": "a\0"}, {"username": "The username must be a string."}),
    (SIGN_IN, ALICE | {"password": ["x"]}, {"password": "The password must be a string."}),
    (SIGN_IN, ALICE | {"password": "\ud800"}, {"password": "The password must be a string."}),
    (
        SIGN_IN,
        ALICE | {"username": LONG},
        {"username": "The username may not be greater than 190 characters."},
    ),
    (
        SIGN_IN,
        ALICE | {"session_information": LONG},
        {"session_information": "The session information may not be greater than 190 characters."},
    ),
    (
        SIGN_IN,
        ALICE | {"stay_logged_in": "maybe"},
        {"stay_logged_in": "The stay logged in field must be true or false."},
    ),
    (
        SIGN_IN,
        ALICE | {"stay_logged_in": 2},
        {"stay_logged_in": "The stay logged in field must be true or false."},
    ),
    (
        SIGN_IN,
        ALICE | {"stay_logged_in": [True]},
        {"stay_logged_in": "The stay logged in field must be true or false."},
    ),
    (SIGN_IN, ALICE | {"code": 123456}, {"code": "The code must be a string."}),
    (REFRESH, {}, {"session_token": "The session token field is required."}),
    (REFRESH, {"session_token": " "}, {"session_token": "The session token field is required."}),
    (REFRESH, {"session_token": 7}, {"session_token": "The session token must be a string."}),
    (
        REFRESH,
        {"session_token": "x", "session_information": LONG},
        {"session_information": "The session information may not be greater than 190 characters."},
    ),
    (
        CHANGE,
        {},
        {
            "username": "The username field is required.",
            "old_password": "The old password field is required.",
            "new_password": "The new password field is required.",
        },
    ),
    (
        CHANGE,
        {"username": "alice", "old_password": PASSWORD, "new_password": "short"},
        {"new_password": "The new password must be at least 8 characters."},
    ),
]


@pytest.mark.parametrize(("path", "body", "sentences"), INVALID)
async def test_fields_are_reported_by_name(
    client: httpx.AsyncClient, path: str, body: Json, sentences: Json
) -> None:
    assert is_invalid(await client.post(path, content=json.dumps(body), headers=JSON), **sentences)


async def test_the_length_of_a_description_is_counted_in_characters(
    client: httpx.AsyncClient,
) -> None:
    tokens = await signed_in(client, session_information="ü" * 190)
    (session,) = await listed(client, tokens["token"])
    assert session["information"] == "ü" * 190


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
    ],
)
async def test_another_site_cannot_sign_its_visitor_in(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """CVE-2017-1000069: the login was not bound to the page that asked for it."""
    for body in ({"json": STAYING}, {"data": {k: str(v) for k, v in ALICE.items()}}):
        answer = await client.post(SIGN_IN, headers=headers, **body)
        assert is_error(answer, 403, "foreign_origin") and not set_cookies(answer)


# The second factor


async def test_a_code_is_asked_for_and_accepted(home: House, client: httpx.AsyncClient) -> None:
    secret = await turn_on_totp(home)
    asked = await client.post(SIGN_IN, json=STAYING)
    assert is_error(asked, 400, "totp_required", "Two factor code required")
    assert not set_cookies(asked) and not await home.sessions()
    wrong = await client.post(SIGN_IN, json=STAYING | {"code": "000000"})
    assert is_error(wrong, 400, "totp_invalid")
    code = code_of(home, secret)
    await signed_in(client, code=code)
    (session,) = await home.sessions()
    assert session.level == "full" and session.second_factor_at is not None
    used = await client.post(SIGN_IN, json=STAYING | {"code": code})
    assert is_error(used, 400, "totp_invalid"), "a code works once"


async def test_a_wrong_password_is_refused_before_a_code_is_requested(
    home: House, client: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    wrong = ALICE | {"password": "wrong", "code": code_of(home, secret)}
    assert is_wrong(await client.post(SIGN_IN, json=wrong))
    assert (await client.post(SIGN_IN, json=ALICE | {"code": wrong["code"]})).status_code == 200


async def test_wrong_codes_are_counted(home: House, client: httpx.AsyncClient) -> None:
    secret = await turn_on_totp(home)
    for tried in range(5):
        answer = await client.post(SIGN_IN, json=STAYING | {"code": "000000"})
        assert is_error(answer, 400, "totp_invalid" if tried < 4 else "totp_max_attempts")
    right = STAYING | {"code": code_of(home, secret)}
    locked = await client.post(SIGN_IN, json=right)
    assert is_error(locked, 400, "totp_max_attempts") and "retry-after" in locked.headers


# Changing the password after a sign-in

NEW = "another horse battery"
CHANGING = {"username": "carol", "old_password": PASSWORD, "new_password": NEW}


async def test_a_password_is_changed_with_the_sign_in(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    more = {"session_information": INFORMATION, "stay_logged_in": True}
    answer = await client.post(CHANGE, json=CHANGING | more)
    assert answer.status_code == 200 and list(answer.json()) == ["token", "session_token"]
    client.cookies.clear()
    (session,) = await listed(client, answer.json()["token"])
    assert session["information"] == INFORMATION
    assert is_wrong(await client.post(SIGN_IN, json={"username": "carol", "password": PASSWORD}))
    new = {"username": "carol", "password": NEW}
    assert (await client.post(SIGN_IN, json=new)).status_code == 200


async def test_without_the_session_fields_only_the_token_is_returned(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    assert list((await client.post(CHANGE, json=CHANGING)).json()) == ["token"]


async def test_a_refused_password_change_has_its_documented_error(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    wrong = CHANGING | {"old_password": "wrong"}
    assert is_wrong(await client.post(CHANGE, json=wrong))
    assert is_wrong(await client.post(CHANGE, json=CHANGING | {"username": "nobody"}))
    needless = await client.post(CHANGE, json=CHANGING | {"username": "alice"})
    sentence = "User does not need to change his password"
    assert is_error(needless, 400, "no_password_change_needed_for_user", sentence)
    await home.accounts.users.disable("carol", home.clock(), actor=OWNER)
    sentence = "Account is not activated"
    assert is_error(await client.post(CHANGE, json=CHANGING), 400, "not_activated", sentence)


async def test_a_new_password_that_is_too_long_is_a_field_error(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    answer = await client.post(CHANGE, json=CHANGING | {"new_password": "x" * 5000})
    assert answer.status_code == 422 and list(answer.json()) == ["new_password"]


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        (PASSWORD, "This is your current password."),
        ("password1", "This password is too easy to guess. Choose another one."),
        ("carolcarol", "This password is too easy to guess. Choose another one."),
    ],
)
async def test_a_forced_change_refuses_the_old_and_guessable_passwords(
    home: House, client: httpx.AsyncClient, new: str, sentence: str
) -> None:
    await home.add("carol", must_change_password=True)
    answer = await client.post(CHANGE, json=CHANGING | {"new_password": new})
    assert answer.status_code == 422 and answer.json() == {"new_password": [sentence]}
    assert (await home.accounts.users.get("carol")).must_change_password
    assert not await home.sessions("carol")


async def test_a_password_change_requires_the_second_factor(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    secret = await turn_on_totp(home, "carol")
    sentence = "Two factor code required"
    assert is_error(await client.post(CHANGE, json=CHANGING), 400, "totp_required", sentence)
    wrong = await client.post(CHANGE, json=CHANGING | {"code": "000000"})
    assert is_error(wrong, 400, "totp_invalid")
    user = await home.accounts.users.get("carol")
    assert user.must_change_password, "nothing was changed"
    right = CHANGING | {"code": code_of(home, secret)}
    assert (await client.post(CHANGE, json=right)).status_code == 200


# The refresh


async def test_a_refresh_renews_lifetime_and_description(
    home: House, client: httpx.AsyncClient
) -> None:
    tokens = await signed_in(client)
    home.clock.now += 399 * DAY
    body = {"session_token": tokens["session_token"], "session_information": "Android smartphone"}
    for _ in range(2):  # the secret does not change
        answer = await client.post(REFRESH, json=body)
        assert answer.status_code == 202
    (session,) = await listed(client, answer.json()["token"])
    assert session["information"] == "Android smartphone"
    (kept,) = await home.sessions()
    assert kept.expires_at == pytest.approx(home.clock() + 400 * DAY)
    assert not set_cookies(answer)


async def test_a_refresh_without_a_description_keeps_the_old_one(
    client: httpx.AsyncClient,
) -> None:
    tokens = await signed_in(client)
    answer = await client.post(REFRESH, json={"session_token": tokens["session_token"]})
    (session,) = await listed(client, answer.json()["token"])
    assert session["information"] == INFORMATION


async def test_a_session_that_has_ended_is_not_refreshed(
    home: House, client: httpx.AsyncClient
) -> None:
    """It is never a 401, which the original web client does not handle here."""
    tokens = await signed_in(client)
    secret = {"session_token": tokens["session_token"]}
    assert is_logged_out(await client.post(REFRESH, json={"session_token": "x" * 64}))
    assert is_logged_out(await client.post(REFRESH, json={"session_token": "x" * 10_000}))
    assert is_logged_out(await client.post(REFRESH, json={"session_token": tokens["token"]}))
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    assert is_logged_out(await client.post(REFRESH, json=secret))
    await home.accounts.users.unban("alice", home.clock(), actor=OWNER)
    assert (await client.post(REFRESH, json=secret)).status_code == 202
    home.clock.now += 400 * DAY
    assert is_logged_out(await client.post(REFRESH, json=secret))


async def test_the_token_of_a_session_is_no_refresh_secret(
    home: House, client: httpx.AsyncClient
) -> None:
    """CVE-2024-47616: a token made for one purpose was accepted for another."""
    opened = await home.opened()
    assert is_logged_out(await client.post(REFRESH, json={"session_token": opened.token}))


# The caller

GUARDED = [("GET", SESSIONS), ("DELETE", f"{SESSIONS}/1"), ("POST", CURRENT)]


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("query", ["", "?token", "?token=", "?token=0", "?token=x&token=", "?t=x"])
async def test_without_a_token_there_is_a_401(
    client: httpx.AsyncClient, method: str, path: str, query: str
) -> None:
    answer = await client.request(method, path + query)
    assert is_error(answer, 401, "token_not_provided", "Token not provided.")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def forged(token: str, **more: object) -> dict[str, str]:
    """A token as changed by somebody without the key."""
    claims = jwt.decode(token, options={"verify_signature": False}) | more
    packed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"none"}').rstrip(b"=").decode()
    return {
        "another key": jwt.encode(claims, "another key of thirty-two bytes!", "HS256"),
        "no algorithm": f"{none}.{packed}.",
        "other claims": ".".join((token.split(".")[0], packed, token.split(".")[2])),
        "cut": token[:-1],
        "garbage": "garbage",
        "a row of dots": "...",
        "not ASCII": "tökén",
        "half a character": "%ED%A0%80",
        "a NUL": "\0",
    }


FORGERIES = list(forged(jwt.encode({"sub": 1}, "k" * 32, "HS256")))


@pytest.mark.parametrize("kind", FORGERIES)
async def test_a_foreign_token_is_a_401(client: httpx.AsyncClient, kind: str) -> None:
    token = forged((await signed_in(client))["token"], sub=2, exp=2_000_000_000)[kind]
    for method, path in GUARDED:
        answer = await client.request(method, path, params={"token": token})
        assert is_error(answer, 401, "token_incorrect", "Your token is incorrect!")


async def test_a_token_issued_in_the_future_is_a_401(
    home: House, client: httpx.AsyncClient
) -> None:
    home.clock.now += DAY
    tokens = await signed_in(client)
    home.clock.now -= DAY
    answer = await client.get(SESSIONS, params={"token": tokens["token"]})
    assert is_error(answer, 401, "token_incorrect")


async def test_the_last_token_in_the_query_is_used(client: httpx.AsyncClient) -> None:
    token = (await signed_in(client))["token"]
    assert (await client.get(f"{SESSIONS}?token=garbage&token={token}")).status_code == 200
    wrong = await client.get(f"{SESSIONS}?token={token}&token=garbage")
    assert is_error(wrong, 401, "token_incorrect")


async def test_a_session_token_is_read_only_from_the_body(
    client: httpx.AsyncClient,
) -> None:
    """The document has it there. It is good for months, and queries are in logs."""
    tokens = await signed_in(client)
    told = "The session token field is required."
    assert is_invalid(await client.post(CURRENT, params=tokens), session_token=told)
    query = {"session_token": tokens["session_token"]}
    assert is_invalid(await client.post(REFRESH, params=query), session_token=told)
    assert (await client.post(REFRESH, json=query)).status_code == 202


async def test_a_token_in_the_body_is_used_if_the_query_has_none(
    client: httpx.AsyncClient,
) -> None:
    tokens = await signed_in(client)
    body = {"session_token": "x", "token": tokens["token"]}
    assert is_error(await client.post(CURRENT, json=body), 404, "session_token_incorrect")
    assert is_error(await client.post(CURRENT, data=body), 404, "session_token_incorrect")
    other = await client.post(CURRENT, json=body, params={"token": "garbage"})
    assert is_error(other, 401, "token_incorrect")
    mine = {"token": tokens["token"]}
    assert (await client.request("GET", SESSIONS, json=mine)).status_code == 200
    gone = await client.request("DELETE", f"{SESSIONS}/999", data=mine)
    assert is_error(gone, 404, "session_token_not_found")


async def test_the_cookie_and_bearer_tokens_are_accepted(
    home: House, client: httpx.AsyncClient
) -> None:
    opened = await home.opened()
    for headers in (
        {"cookie": home.cookie(opened)},
        {"authorization": f"Bearer {opened.token}"},
    ):
        answer = await client.get(SESSIONS, headers=headers)
        assert answer.status_code == 200 and len(answer.json()["sessions"]) == 1


async def test_a_token_takes_precedence_over_the_cookie(
    home: House, client: httpx.AsyncClient
) -> None:
    """An invalid one ends the search."""
    await home.add("bob")
    tokens = await signed_in(client)
    cookie = {"cookie": home.cookie(await home.opened("bob"))}
    (session,) = (
        await client.get(SESSIONS, params={"token": tokens["token"]}, headers=cookie)
    ).json()["sessions"]
    assert session["information"] == INFORMATION
    wrong = await client.get(SESSIONS, params={"token": "garbage"}, headers=cookie)
    assert is_error(wrong, 401, "token_incorrect")


async def test_another_site_cannot_use_the_cookie(home: House, client: httpx.AsyncClient) -> None:
    opened = await home.opened()
    headers = {"cookie": home.cookie(opened), "sec-fetch-site": "cross-site"}
    path = f"{SESSIONS}/{opened.session.number}"
    assert is_error(await client.delete(path, headers=headers), 403, "foreign_origin")
    body = {"session_token": opened.token}
    posted = await client.post(CURRENT, headers=headers, data=body)
    assert is_error(posted, 403, "foreign_origin")
    assert await home.found(opened) is not None


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_pending_session_is_refused_at_every_endpoint(
    home: House, client: httpx.AsyncClient, method: str
) -> None:
    """CVE-2026-32246: a pending session was accepted by another endpoint."""
    pending = await home.opened(level=PENDING)
    path = {"GET": SESSIONS, "DELETE": f"{SESSIONS}/{pending.session.number}", "POST": CURRENT}
    for headers in (
        {"cookie": home.cookie(pending)},
        {"authorization": f"Bearer {pending.token}"},
    ):
        answer = await client.request(method, path[method], headers=headers)
        assert is_error(answer, 401, "token_not_provided")
    token = home.accounts.access.tokens.issue(pending.session, 3600.0, home.clock())
    answer = await client.request(method, path[method], params={"token": token})
    assert is_error(answer, 401, "token_incorrect")


@pytest.mark.parametrize("how", ["ended", "banned", "disabled", "deleted", "password"])
async def test_a_token_ends_with_its_session(
    home: House, client: httpx.AsyncClient, how: str
) -> None:
    tokens = await signed_in(client)
    await listed(client, tokens["token"])  # from here on, it is in memory
    users, now = home.accounts.users, home.clock()
    if how == "ended":
        (session,) = await home.sessions()
        await home.accounts.sessions.end(session, now)
    elif how == "password":
        await users.set_password("alice", NEW, now=now, actor=OWNER)
    else:
        change = {"banned": users.ban, "disabled": users.disable, "deleted": users.delete}[how]
        await change("alice", now, actor=OWNER)
    answer = await client.get(SESSIONS, params={"token": tokens["token"]})
    assert is_error(answer, 401, "token_incorrect")


# The list


async def test_every_live_session_is_listed_however_it_was_opened(
    home: House, client: httpx.AsyncClient
) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:69.0) Gecko/20100101 Firefox/69.0"
    await home.add("bob")
    await home.opened("bob")
    await client.post("/xhr/login", json=ALICE, headers={"user-agent": agent})
    client.cookies.clear()
    home.clock.now += 1
    tokens = await signed_in(client)
    sessions = await listed(client, tokens["token"])
    assert [session["information"] for session in sessions] == [INFORMATION, INFORMATION]
    ended = await home.opened()
    await home.accounts.sessions.end(ended.session, home.clock())
    assert len(await listed(client, tokens["token"])) == 2


async def test_sessions_are_sorted_by_last_use(home: House, client: httpx.AsyncClient) -> None:
    one = await signed_in(client, session_information="one")
    home.clock.now += 1.5
    two = await signed_in(client, session_information="two")
    home.clock.now += 0.125
    for tokens, order in ((one, ["two", "one"]), (two, ["one", "two"])):
        home.clock.now += 1
        sessions = await listed(client, tokens["token"])
        assert [session["information"] for session in sessions] == order
    assert sessions[-1]["last_used"] == "2027-01-15T08:00:03.875000Z"


async def test_a_description_is_returned_unchanged(client: httpx.AsyncClient) -> None:
    told = ' <b>"Zoë\'s"</b>\n\u202e phone & more '
    tokens = await signed_in(client, session_information=told)
    (session,) = await listed(client, tokens["token"])
    assert session["information"] == told


async def test_head_works_like_get(client: httpx.AsyncClient) -> None:
    tokens = await signed_in(client)
    answer = await client.head(SESSIONS, params={"token": tokens["token"]})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"


# Ending


@pytest.mark.parametrize(
    "id",
    [
        "0",
        "999999",
        "-1",
        "1e3",
        "01",
        "abc",
        "logoutCurrentSession",
        "9" * 400,
        "\uff11",
        "%00",
        "1%20",
        "' OR 1=1 --",
        "null",
    ],
)
async def test_an_unknown_or_invalid_id_is_a_404(client: httpx.AsyncClient, id: str) -> None:
    tokens = await signed_in(client)
    answer = await client.delete(f"{SESSIONS}/{id}", params={"token": tokens["token"]})
    assert is_error(answer, 404, "session_token_not_found", "Session token does not exist!")


async def test_a_user_cannot_end_another_user_s_session(
    home: House, client: httpx.AsyncClient
) -> None:
    await home.add("bob")
    his = await home.opened("bob")
    his_secret = await home.accounts.access.make_secret(his.session, home.clock())
    tokens = await signed_in(client)
    mine = {"token": tokens["token"]}
    answer = await client.delete(f"{SESSIONS}/{his.session.number}", params=mine)
    assert is_error(answer, 404, "session_token_not_found")
    for secret in (his.token, his_secret):
        answer = await client.post(CURRENT, params=mine, json={"session_token": secret})
        assert is_error(answer, 404, "session_token_incorrect", "Session token is incorrect")
    assert await home.found(his) is not None


async def test_a_session_of_another_entrance_is_ended_by_its_token(
    home: House, client: httpx.AsyncClient
) -> None:
    opened, tokens = await home.opened(), await signed_in(client)
    body = {"session_token": opened.token}
    answer = await client.post(CURRENT, params={"token": tokens["token"]}, json=body)
    assert answer.status_code == 200
    assert await home.found(opened) is None


async def test_a_session_that_is_ended_here_is_ended_everywhere(
    home: House, client: httpx.AsyncClient
) -> None:
    opened, tokens = await home.opened(), await signed_in(client)
    headers = {"cookie": home.cookie(opened)}
    assert (await client.get("/xhr/session", headers=headers)).status_code == 200
    path = f"{SESSIONS}/{opened.session.number}"
    assert (await client.delete(path, params={"token": tokens["token"]})).status_code == 200
    assert (await client.get("/xhr/session", headers=headers)).status_code == 401


async def test_a_logout_checks_the_token_before_its_field(client: httpx.AsyncClient) -> None:
    tokens = await signed_in(client)
    mine = {"token": tokens["token"]}
    told = "The session token field is required."
    assert is_invalid(await client.post(CURRENT, params=mine, json={}), session_token=told)
    assert is_invalid(await client.post(CURRENT, params=mine), session_token=told)
    wrong = await client.post(CURRENT, params={"token": "garbage"}, json={})
    assert is_error(wrong, 401, "token_incorrect")


# Bad input

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
UNREADABLE = {
    "empty": (JSON, b""),
    "not JSON": (JSON, b"username=alice"),
    "cut": (JSON, b'{"session_token":"x'),
    "an array": (JSON, b'["alice"]'),
    "a name twice": (JSON, b'{"session_token":"a","session_token":"b"}'),
    "NaN": (JSON, b'{"session_token":NaN}'),
    "a deep nest": (JSON, b'{"x":' * 10_000 + b"1" + b"}" * 10_000),
    "not UTF-8": (JSON, b'{"session_token":"\xff"}'),
    "UTF-16": (JSON, '{"session_token":"a"}'.encode("utf-16")),
    "a number of 5000 digits": (JSON, b'{"session_token":' + b"1" * 5000 + b"}"),
    "JSON as text": ({"content-type": "text/plain"}, b'{"session_token":"a"}'),
    "JSON without a type": ({}, b'{"session_token":"a"}'),
    "a form that is not UTF-8": (FORM, b"session_token=%ff"),
    "a form of too many fields": (FORM, b"&".join(b"a%d=1" % n for n in range(5000))),
    "a multipart without an end": (
        {"content-type": "multipart/form-data; boundary=x"},
        b'--x\r\nContent-Disposition: form-data; name="session_token"\r\n\r\na',
    ),
    "a multipart without a boundary": ({"content-type": "multipart/form-data"}, b"--x"),
}


@pytest.mark.parametrize(("headers", "body"), UNREADABLE.values(), ids=UNREADABLE)
async def test_a_body_that_cannot_be_read_has_no_fields(
    client: httpx.AsyncClient, headers: dict[str, str], body: bytes
) -> None:
    told = "The session token field is required."
    assert is_invalid(await client.post(REFRESH, content=body, headers=headers), session_token=told)
    signing = await client.post(SIGN_IN, content=body, headers=headers)
    assert signing.status_code == 422 and set(signing.json()) == {"username", "password"}


@pytest.mark.parametrize("headers", [JSON, FORM])
async def test_a_repeated_form_field_counts_as_missing(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    twice = await client.post(REFRESH, content=b"session_token=a&session_token=b", headers=headers)
    assert twice.status_code == 422 and list(twice.json()) == ["session_token"]


@pytest.mark.parametrize("path", [SIGN_IN, REFRESH, CHANGE, CURRENT])
async def test_a_body_over_its_bound_is_a_413(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, content=b"x" * 70_000, headers=JSON)
    assert is_error(answer, 413, "body_too_large")


# Methods, paths, trouble

METHODS = [
    (SIGN_IN, "GET", {"POST"}),
    (REFRESH, "PUT", {"POST"}),
    (CHANGE, "GET", {"POST"}),
    (SESSIONS, "POST", {"GET", "HEAD"}),
    (SESSIONS, "DELETE", {"GET", "HEAD"}),
    (CURRENT, "GET", {"POST", "DELETE"}),
    (f"{SESSIONS}/1", "GET", {"DELETE"}),
    (f"{SESSIONS}/1", "FROB", {"DELETE"}),
]


@pytest.mark.parametrize(("path", "method", "allowed"), METHODS)
async def test_other_methods_are_refused_by_name(
    client: httpx.AsyncClient, path: str, method: str, allowed: set[str]
) -> None:
    answer = await client.request(method, path)
    assert is_error(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed | {"OPTIONS"}
    assert (await client.options(path)).status_code == 204


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/user/myself",
        "/api/v1/user/myself/session/",
        "/api/v1/user/myself/Session",
        "/api/v1/user/myself/session/1/more",
        "/api/v1/user/myself/token/calendar",
        "/api/auth/iamloggedin",
        "/api/auth/forgotPassword/sendEmail",
        "/api",
    ],
)
async def test_other_paths_belong_to_the_application(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404  # by the router; there is no gate


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("POST", SIGN_IN, "An error occurred during session token saving.."),
        ("POST", CHANGE, "An error occurred during session token saving.."),
        ("DELETE", f"{SESSIONS}/1", "Could not delete session"),
        ("DELETE", CURRENT, "Could not delete session"),
        ("POST", CURRENT, "Could not delete session"),
    ],
)
async def test_a_database_that_does_not_answer_is_the_documented_500(
    home: House, client: httpx.AsyncClient, method: str, path: str, sentence: str
) -> None:
    tokens = await signed_in(client)
    home.break_storage()
    body = CHANGING | STAYING | {"session_token": tokens["session_token"]}
    given = {"content": json.dumps(body), "headers": JSON, "params": {"token": tokens["token"]}}
    answer = await client.request(method, path, **given)  # type: ignore[arg-type]
    assert answer.status_code == 500 and answer.json() == {"msg": sentence}
    assert not set_cookies(answer)


async def test_without_a_database_other_endpoints_answer_503(
    home: House, client: httpx.AsyncClient
) -> None:
    tokens = await signed_in(client)
    home.break_storage()
    answer = await client.get(SESSIONS, params={"token": tokens["token"]})
    assert is_error(answer, 503, "storage_unavailable") and answer.headers["retry-after"] == "5"
    body = {"session_token": tokens["session_token"]}
    refreshed = await client.post(REFRESH, json=body)
    assert is_error(refreshed, 503, "storage_unavailable"), "the session is not called ended"


async def test_an_unexpected_error_is_a_500_in_the_same_shape(
    home: House, client: httpx.AsyncClient
) -> None:
    home.accounts.passwords.close()
    assert is_error(await client.post(SIGN_IN, json=ALICE), 500, "internal_error")


async def test_every_origin_can_be_allowed(tmp_path: Path) -> None:
    """The original's own setting: every site, without cookies."""
    dialects = {"datepoll": {"cors": {"origins": ["*"]}}}
    async with house(tmp_path, dialects=dialects) as built:
        await built.add("alice")
        headers = {"origin": "https://any.test", "sec-fetch-site": "cross-site"}
        async with built.program(**{k.replace("-", "_"): v for k, v in headers.items()}) as client:
            answer = await client.post(SIGN_IN, json=STAYING)
            assert answer.status_code == 200 and not set_cookies(answer)
            token = {"token": answer.json()["token"]}
            listing = await client.get(SESSIONS, params=token)
            assert listing.headers["access-control-allow-origin"] == "*"
            (session,) = listing.json()["sessions"]
            gone = await client.delete(f"{SESSIONS}/{session['id']}", params=token)
            assert gone.status_code == 200
            refused = await client.get(SESSIONS, params=token)
            assert refused.status_code == 401
            assert refused.headers["access-control-allow-origin"] == "*", "or no script refreshes"
    assert ORIGIN not in headers.values()
