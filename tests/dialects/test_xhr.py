"""The `xhr` dialect: its document's examples, and its behaviour in cases that the document leaves
open."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.factors import totp
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import Refusal
from doorward.accounts.session import PENDING
from doorward.accounts.sessions.sessions import Lifetimes
from doorward.accounts.user import Email
from doorward.dialects import xhr
from doorward.dialects.context import Broken, RequestFault
from doorward.dialects.fields import parse_object

from tests.support.errors import list_errors
from tests.support.house import ORIGIN, PASSWORD, House, house, set_cookies
from tests.support.live import CHEAP_HASH
from tests.support.live import PASSWORD as FILE_PASSWORD
from tests.support.people import proven
from tests.support.second_factors import code_of

RIGHT = {"username": "alice", "password": PASSWORD}
JSON = {"content-type": "application/json"}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as built:
        await built.add("alice")
        yield built


@pytest.fixture
async def script(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.program() as client:
        yield client


def is_error(response: httpx.Response, status: int, code: str) -> bool:
    """Assert that an answer has the shape of errors."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in response.headers) == (status == 401)
    said = response.json()
    assert set(said) == {"error", "message"}
    assert said["message"].endswith(".")
    assert said["error"] == code
    return True


# The table


@pytest.mark.parametrize("leaf", list_errors())
def test_every_refusal_and_fault_has_a_row(leaf: type[Exception]) -> None:
    assert leaf in xhr.ERROR_TABLE


@pytest.mark.parametrize("kind", xhr.ERROR_TABLE)
def test_every_error_has_the_same_shape(kind: type[Refusal | RequestFault]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, kind.message)
    row = xhr.ERROR_TABLE[kind]
    rendered = xhr.ERROR_FORMAT.render(error)
    assert rendered.status_code == row.status
    said = json.loads(bytes(rendered.body))
    assert said["error"] == row.code and said["message"]
    assert rendered.headers["cache-control"] == "no-store"


def test_an_unknown_refusal_is_a_500_without_its_message() -> None:
    class Unheard(RequestFault):
        message = "inner matter"

    assert xhr.ERROR_FORMAT.render(Unheard()).status_code == xhr.ERROR_TABLE[Broken].status


# Login


async def test_too_many_wrong_passwords_are_a_429_with_retry_after(
    script: httpx.AsyncClient,
) -> None:
    for _ in range(5):
        await script.post("/xhr/login", json=RIGHT | {"password": "wrong"})
    answer = await script.post("/xhr/login", json=RIGHT)
    assert is_error(answer, 429, "locked_out")
    assert answer.headers["retry-after"] == "300"


async def test_a_login_returns_the_remaining_lifetime_and_a_cookie(
    script: httpx.AsyncClient,
) -> None:
    answer = await script.post("/xhr/login", json=RIGHT)
    assert answer.status_code == 200
    assert answer.json() == {"session": {"maxAge": 7_200_000, "totp": False}}
    assert answer.headers["cache-control"] == "no-store"
    (line,) = set_cookies(answer)
    assert line.startswith("doorward=") and "HttpOnly" in line and "Path=/" in line
    assert "Max-Age" not in line and "Secure" not in line
    assert (await script.get("/xhr/session")).status_code == 200


async def test_a_verified_address_logs_in_as_well(home: House, script: httpx.AsyncClient) -> None:
    await home.add("bob", emails=[Email("bob@example.com", True)])
    login = {"username": "Bob@Example.com", "password": PASSWORD}
    assert (await script.post("/xhr/login", json=login)).status_code == 200
    assert (await script.get("/xhr/session")).json()["user"]["username"] == "bob"


@pytest.mark.parametrize(
    "login", [{"username": "alice", "password": "wrong"}, {"username": "nobody", "password": "x"}]
)
async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(
    script: httpx.AsyncClient, login: dict[str, str]
) -> None:
    answer = await script.post("/xhr/login", json=login)
    assert is_error(answer, 401, "invalid_credentials")
    assert answer.json()["message"] == "The name or the password is not right."
    assert not set_cookies(answer)


async def test_a_banned_user_is_answered_like_a_wrong_password(
    home: House, script: httpx.AsyncClient
) -> None:
    wrong = await script.post("/xhr/login", json=RIGHT | {"password": "wrong"})
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    banned = await script.post("/xhr/login", json=RIGHT)
    assert (banned.status_code, banned.json()) == (401, wrong.json())


async def test_a_required_password_change_is_revealed_only_after_the_right_password(
    home: House, script: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    right = await script.post("/xhr/login", json={"username": "carol", "password": PASSWORD})
    assert is_error(right, 401, "password_change_required")
    wrong = await script.post("/xhr/login", json={"username": "carol", "password": "wrong"})
    assert is_error(wrong, 401, "invalid_credentials")


async def test_a_login_by_ldap_is_refused_without_a_directory(script: httpx.AsyncClient) -> None:
    assert is_error(await script.post("/xhr/login/ldap", json=RIGHT), 401, "unavailable")
    assert is_error(await script.post("/xhr/login/ldap", json={}), 400, "bad_request")


BAD_BODIES = {
    "empty": b"",
    "not JSON": b"username=alice",
    "an array": b'["alice"]',
    "a string": b'"alice"',
    "null": b"null",
    "a name twice": b'{"username":"alice","password":"a","password":"b"}',
    "NaN": b'{"username":"alice","password":"a","x":NaN}',
    "infinity": b'{"username":"alice","password":"a","x":-Infinity}',
    "a deep nest": b'{"x":' * 10_000 + b"1" + b"}" * 10_000,
    "a deep array": b'{"x":' + b"[" * 30_000,
    "a number of 5000 digits": b'{"username":"alice","password":"a","x":' + b"1" * 5000 + b"}",
    "not UTF-8": b'{"username":"\xff","password":"a"}',
    "UTF-16": '{"username":"alice","password":"a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"username":"alice","password":"a"}',
    "half a character": b'{"username":"\\ud800","password":"a"}',
    "half a character in the password": b'{"username":"alice","password":"\\udfff"}',
    "a number for a name": b'{"username":1,"password":"a"}',
    "a list for a password": b'{"username":"alice","password":["a"]}',
    "null for a password": b'{"username":"alice","password":null}',
    "no password": b'{"username":"alice"}',
    "no name": b'{"password":"a"}',
    "something behind it": b'{"username":"alice","password":"a"} x',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_body_that_is_no_login_is_a_400(script: httpx.AsyncClient, body: bytes) -> None:
    answer = await script.post("/xhr/login", content=body, headers=JSON)
    assert is_error(answer, 400, "bad_request")


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
async def test_json_with_another_content_type_is_a_400(
    script: httpx.AsyncClient, kind: str | None
) -> None:
    """CVE-2017-1000069: a form of another site can send this body as text, but not as JSON."""
    headers = {} if kind is None else {"content-type": kind}
    content = json.dumps(RIGHT).encode()
    assert is_error(
        await script.post("/xhr/login", content=content, headers=headers), 400, "bad_request"
    )


async def test_a_charset_in_the_content_type_is_accepted(script: httpx.AsyncClient) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    answer = await script.post("/xhr/login", content=json.dumps(RIGHT), headers=headers)
    assert answer.status_code == 200


async def test_a_body_over_its_bound_is_a_413(script: httpx.AsyncClient) -> None:
    answer = await script.post("/xhr/login", json=RIGHT | {"more": "x" * 66_000})
    assert is_error(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
    ],
)
async def test_another_site_cannot_log_its_visitor_in(
    script: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """CVE-2017-1000069: the login was not bound to the page that asked for it."""
    assert is_error(
        await script.post("/xhr/login", json=RIGHT, headers=headers), 403, "foreign_origin"
    )


async def test_a_login_ends_the_session_of_its_cookie(
    home: House, script: httpx.AsyncClient
) -> None:
    old = await home.opened()
    answer = await script.post("/xhr/login", json=RIGHT, headers={"cookie": home.cookie(old)})
    assert answer.status_code == 200
    assert await home.found(old) is None
    assert len(await home.sessions()) == 1


async def test_a_failed_login_leaves_the_old_session_alone(
    home: House, script: httpx.AsyncClient
) -> None:
    old = await home.opened()
    wrong = RIGHT | {"password": "wrong"}
    await script.post("/xhr/login", json=wrong, headers={"cookie": home.cookie(old)})
    assert await home.found(old) is not None


async def test_with_cookie_off_a_login_sets_no_cookie(tmp_path: Path) -> None:
    async with house(tmp_path, dialects={"xhr": {"cookie": False}}) as home:
        await home.add("alice")
        async with home.program() as script:
            answer = await script.post("/xhr/login", json=RIGHT)
    assert answer.status_code == 200 and not set_cookies(answer)


# Session


async def test_the_session_has_its_user_and_remaining_lifetime(
    home: House, script: httpx.AsyncClient
) -> None:
    await home.add("root", super_admin=True)
    await script.post("/xhr/login", json=RIGHT | {"username": "root"})
    home.clock.now += 60
    answer = await script.get("/xhr/session")
    assert answer.status_code == 200
    assert answer.json() == {
        "user": {"username": "root", "superAdmin": True},
        "session": {"maxAge": 7_200_000, "totp": False},
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_max_age_is_the_earlier_of_idle_and_absolute_expiry(
    home: House, script: httpx.AsyncClient
) -> None:
    opened = await home.opened(lifetimes=Lifetimes(7200.0, 7000.5, 7000.5, None))
    home.clock.now += 270.25
    answer = await script.get("/xhr/session", headers={"cookie": home.cookie(opened)})
    assert answer.json()["session"]["maxAge"] == 6_730_250
    assert type(answer.json()["session"]["maxAge"]) is int


async def test_a_session_without_idle_timeout_has_its_absolute_expiry(
    home: House, script: httpx.AsyncClient
) -> None:
    opened = await home.opened(lifetimes=Lifetimes(None, 86400.0, 86400.0, None))
    answer = await script.get("/xhr/session", headers={"cookie": home.cookie(opened)})
    assert answer.json()["session"]["maxAge"] == 86_400_000


async def test_a_bearer_token_is_accepted(home: House, script: httpx.AsyncClient) -> None:
    opened = await home.opened()
    headers = {"authorization": f"Bearer {opened.token}"}
    assert (await script.get("/xhr/session", headers=headers)).status_code == 200
    assert (await script.get("/xhr/logout", headers=headers)).status_code == 204
    assert is_error(await script.get("/xhr/session", headers=headers), 401, "unauthenticated")


CARRIERS_OF_NOBODY = [
    {},
    {"cookie": "doorward="},
    {"cookie": "doorward=" + "A" * 43 + "." + "B" * 43},
    {"cookie": "doorward=" + "A" * 43},
    {"cookie": "other=1; ; =; doorward"},
    {"authorization": "Bearer " + "A" * 43},
    {"authorization": "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="},
]


@pytest.mark.parametrize("headers", CARRIERS_OF_NOBODY)
@pytest.mark.parametrize("path", ["/xhr/session", "/xhr/logout"])
async def test_without_a_session_there_is_a_401(
    script: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    assert is_error(await script.get(path, headers=headers), 401, "unauthenticated")


async def test_an_expired_session_is_a_401(home: House, script: httpx.AsyncClient) -> None:
    await script.post("/xhr/login", json=RIGHT)
    home.clock.now += 7200
    assert is_error(await script.get("/xhr/session"), 401, "unauthenticated")


async def test_a_pending_session_can_only_log_out(home: House, script: httpx.AsyncClient) -> None:
    """CVE-2026-32246: a pending session was accepted by another endpoint."""
    pending = await home.opened(level=PENDING)
    headers = {"cookie": home.cookie(pending)}
    assert is_error(await script.get("/xhr/session", headers=headers), 401, "unauthenticated")
    assert (await script.get("/xhr/logout", headers=headers)).status_code == 204
    assert await home.found(pending) is None


async def test_a_duplicate_session_cookie_is_refused_and_expired(
    home: House, script: httpx.AsyncClient
) -> None:
    one, two = home.cookie(await home.opened()), home.cookie(await home.opened())
    answer = await script.get("/xhr/session", headers={"cookie": f"{one}; {two}"})
    assert is_error(answer, 401, "unauthenticated")
    assert all("Max-Age=0" in line for line in set_cookies(answer))
    assert any("Domain=wiki.test" in line for line in set_cookies(answer))


# Logout


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_logout_ends_the_session_everywhere(
    home: House, script: httpx.AsyncClient, method: str
) -> None:
    """CVE-2024-21492: a logout that left the token valid."""
    opened = await home.opened()
    headers = {"cookie": home.cookie(opened)}
    answer = await script.request(method, "/xhr/logout", headers=headers)
    assert answer.status_code == 204 and answer.content == b""
    assert set_cookies(answer) and all("Max-Age=0" in line for line in set_cookies(answer))
    assert await home.found(opened) is None
    assert is_error(await script.get("/xhr/session", headers=headers), 401, "unauthenticated")
    assert is_error(await script.get("/xhr/logout", headers=headers), 401, "unauthenticated")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"origin": ORIGIN},
        {"sec-fetch-site": "same-origin", "origin": ORIGIN},
    ],
)
async def test_logout_works_for_own_pages_and_programs(
    home: House, script: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    cookie = {"cookie": home.cookie(await home.opened())}
    assert (await script.get("/xhr/logout", headers=cookie | headers)).status_code == 204


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://wiki.test.evil.test"},
        {"origin": "http://wiki.test:81"},
    ],
)
async def test_another_site_cannot_log_its_visitor_out(
    home: House, script: httpx.AsyncClient, method: str, headers: dict[str, str]
) -> None:
    """CVE-2026-40110: the whole origin is compared."""
    opened = await home.opened()
    cookie = {"cookie": home.cookie(opened)}
    answer = await script.request(method, "/xhr/logout", headers=cookie | headers)
    assert is_error(answer, 403, "foreign_origin")
    assert await home.found(opened) is not None


async def test_a_head_request_to_logout_ends_nothing(
    home: House, script: httpx.AsyncClient
) -> None:
    opened = await home.opened()
    headers = {"cookie": home.cookie(opened)}
    answer = await script.head("/xhr/logout", headers=headers)
    assert answer.status_code == 204 and not set_cookies(answer)
    assert await home.found(opened) is not None
    assert (await script.head("/xhr/logout")).status_code == 401


# An authenticator app: generated, added, removed

GENERATE, APP = "/xhr/session/totp/generate", "/xhr/session/totp"


async def generated(script: httpx.AsyncClient) -> str:
    answer = await script.get(GENERATE)
    assert answer.status_code == 200 and set(answer.json()) == {"secret"}
    secret: str = answer.json()["secret"]
    return secret


async def with_app(home: House, script: httpx.AsyncClient) -> str:
    """The secret of a user who logged in and added an app."""
    await script.post("/xhr/login", json=RIGHT)
    secret = await generated(script)
    body = {"secret": secret, "token": code_of(home, secret)}
    assert (await script.post(APP, json=body)).status_code == 204
    return secret


async def remove(script: httpx.AsyncClient, **options: Any) -> httpx.Response:
    return await script.request("DELETE", APP, **options)


async def is_on(home: House) -> bool:
    user = await home.accounts.users.get("alice")
    return bool(await home.accounts.second_factors.list_enabled(user))


async def test_generating_a_secret_does_not_turn_totp_on(
    home: House, script: httpx.AsyncClient
) -> None:
    await script.post("/xhr/login", json=RIGHT)
    one, two = await generated(script), await generated(script)
    assert one != two and re.fullmatch(r"[A-Z2-7]{32}", one)
    assert not await is_on(home)
    assert (await script.get("/xhr/session")).json()["session"]["totp"] is False


async def test_an_app_is_added_used_and_removed(home: House, script: httpx.AsyncClient) -> None:
    """The document from its first endpoint to its last."""
    await script.post("/xhr/login", json=RIGHT)
    secret = await generated(script)
    added = await script.post(APP, json={"secret": secret, "token": code_of(home, secret)})
    assert (added.status_code, added.content) == (204, b"")
    assert added.headers["cache-control"] == "no-store"
    assert (await script.get("/xhr/session")).json()["session"]["totp"] is True
    assert (await script.get("/xhr/logout")).status_code == 204
    login = await script.post("/xhr/login", json=RIGHT)
    assert login.json()["session"]["totp"] is True
    home.clock.now += 60
    second = await script.post("/xhr/totp", json={"token": code_of(home, secret)})
    assert (second.status_code, second.content) == (204, b"")
    home.clock.now += 60
    removed = await remove(script, json={"token": code_of(home, secret)})
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await script.get("/xhr/session")).json()["session"]["totp"] is False
    login = await script.post("/xhr/login", json=RIGHT)
    assert login.json()["session"]["totp"] is False


async def test_enrolment_ends_no_other_session(home: House, script: httpx.AsyncClient) -> None:
    other = await home.opened()
    await with_app(home, script)
    assert await home.found(other) is not None


async def test_an_app_with_a_wrong_code_is_not_added(
    home: House, script: httpx.AsyncClient
) -> None:
    await script.post("/xhr/login", json=RIGHT)
    secret = await generated(script)
    stale = code_of(home, secret, later=-2)
    for token in ("000000", "", "12345", "abcdef", stale, "\uff11" * 6, "1" * 1000):
        answer = await script.post(APP, json={"secret": secret, "token": token})
        assert is_error(answer, 401, "totp_invalid")
    assert not await is_on(home)


async def test_only_the_secret_last_generated_in_this_session_is_added(
    home: House, script: httpx.AsyncClient
) -> None:
    """A secret that the server did not generate, or generated for another session, is refused."""
    await script.post("/xhr/login", json=RIGHT)
    own = totp.new_secret()
    body = {"secret": own, "token": code_of(home, own)}
    assert is_error(await script.post(APP, json=body), 401, "enrolment_expired")
    older, newer = await generated(script), await generated(script)
    elsewhere = {"cookie": home.cookie(await home.opened())}
    for secret, headers in ((older, {}), (own, {}), (newer, elsewhere), ("", {}), ("!", {})):
        code = code_of(home, secret) if len(secret) == 32 else "123456"
        answer = await script.post(APP, json={"secret": secret, "token": code}, headers=headers)
        assert is_error(answer, 401, "enrolment_expired")
    assert not await is_on(home)
    body = {"secret": newer, "token": code_of(home, newer)}
    assert (await script.post(APP, json=body)).status_code == 204


async def test_a_secret_expires_and_belongs_to_its_session(
    home: House, script: httpx.AsyncClient
) -> None:
    await script.post("/xhr/login", json=RIGHT)
    secret = await generated(script)
    home.clock.now += 600
    body = {"secret": secret, "token": code_of(home, secret)}
    assert is_error(await script.post(APP, json=body), 401, "proof_required")
    await script.post("/xhr/login", json=RIGHT)
    assert is_error(await script.post(APP, json=body), 401, "enrolment_expired")


async def test_an_app_is_never_replaced(home: House, script: httpx.AsyncClient) -> None:
    """A thief of the cookie must not replace the user's factor."""
    old = await with_app(home, script)
    new = await generated(script)
    for secret in (new, old):
        body = {"secret": secret, "token": code_of(home, secret, later=1)}
        assert is_error(await script.post(APP, json=body), 401, "totp_already_on")
    home.clock.now += 60
    assert (await remove(script, json={"token": code_of(home, old)})).status_code == 204


async def test_users_of_files_are_refused(tmp_path: Path) -> None:
    users = [{"username": "root", "password_hash": CHEAP_HASH, "super_admin": True}]
    async with house(tmp_path, users=users) as built, built.program() as script:
        login = {"username": "root", "password": FILE_PASSWORD}
        assert (await script.post("/xhr/login", json=login)).status_code == 200
        secret = await generated(script)
        body = {"secret": secret, "token": code_of(built, secret)}
        refused = await script.post(APP, json=body)
        assert is_error(refused, 401, "not_permitted")
        assert "database" in refused.json()["message"]
        assert (await script.get("/xhr/session")).json() == {
            "user": {"username": "root", "superAdmin": True},
            "session": {"maxAge": 7_200_000, "totp": False},
        }


async def test_an_app_is_removed_only_with_a_right_code(
    home: House, script: httpx.AsyncClient
) -> None:
    secret = await with_app(home, script)
    used = code_of(home, secret)
    for token in ("000000", "", used):
        answer = await remove(script, json={"token": token})
        assert is_error(answer, 401, "totp_invalid"), "a code works once"
    assert await is_on(home)


async def test_wrong_codes_for_a_removal_lock_the_user_out(
    home: House, script: httpx.AsyncClient
) -> None:
    """CVE-2024-21500: a lock of the second factor could be evaded through another entrance."""
    secret = await with_app(home, script)
    for _ in range(5):
        answer = await remove(script, json={"token": "000000"})
    assert is_error(answer, 429, "totp_max_attempts") and "retry-after" in answer.headers
    home.clock.now += 60
    right = {"token": code_of(home, secret)}
    assert is_error(await remove(script, json=right), 429, "totp_max_attempts")
    assert is_error(await script.post("/xhr/login", json=RIGHT), 429, "totp_max_attempts")


async def test_a_recovery_code_removes_the_app(home: House, script: httpx.AsyncClient) -> None:
    await with_app(home, script)
    user = await home.accounts.users.get("alice")
    codes = await home.accounts.second_factors.regenerate_recovery(
        proven(user, home.clock()), home.clock()
    )
    assert (await remove(script, json={"token": codes[0]})).status_code == 204
    assert not await is_on(home)


async def test_removing_a_factor_that_is_off_is_refused(script: httpx.AsyncClient) -> None:
    await script.post("/xhr/login", json=RIGHT)
    assert is_error(await remove(script, json={"token": "123456"}), 401, "totp_not_on")


async def test_deleting_without_a_body_removes_nothing(
    home: House, script: httpx.AsyncClient
) -> None:
    """The original client deletes without a body and a type."""
    await with_app(home, script)
    for options in ({}, {"headers": JSON}, {"headers": {"content-length": "0"}}):
        assert is_error(await remove(script, **options), 400, "bad_request")
    assert await is_on(home)


APP_BODIES = [
    b"{}",
    b"[]",
    b'{"secret":"ABC"}',
    b'{"token":123456,"secret":"ABC"}',
    b'{"token":"123456","secret":7}',
    b'{"token":null,"secret":null}',
    b'{"token":["123456"],"secret":"ABC"}',
    b'{"token":"1","token":"2","secret":"ABC"}',
    b'{"token":"\\ud800","secret":"ABC"}',
    b'{"token":"123456","secret":"ABC"',
]


@pytest.mark.parametrize("body", APP_BODIES)
async def test_a_body_without_its_fields_is_a_400(script: httpx.AsyncClient, body: bytes) -> None:
    await script.post("/xhr/login", json=RIGHT)
    answer = await script.post(APP, content=body, headers=JSON)
    assert is_error(answer, 400, "bad_request")
    if b"token" not in body or b"null" in body:
        assert is_error(await remove(script, content=body, headers=JSON), 400, "bad_request")


ENDPOINTS_OF_APPS = [("GET", GENERATE), ("HEAD", GENERATE), ("POST", APP), ("DELETE", APP)]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS_OF_APPS)
async def test_clients_without_a_complete_login_cannot_change_factors(
    home: House, script: httpx.AsyncClient, method: str, path: str
) -> None:
    """CVE-2026-32246: a pending session was accepted by another endpoint."""
    pending = await home.opened(level=PENDING)
    for headers in (
        {},
        {"cookie": home.cookie(pending)},
        {"authorization": f"Bearer {pending.token}"},
    ):
        answer = await script.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert method == "HEAD" or is_error(answer, 401, "unauthenticated")


@pytest.mark.parametrize(("method", "path"), ENDPOINTS_OF_APPS[::2] + ENDPOINTS_OF_APPS[3:])
@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://evil.test"}]
)
async def test_another_site_changes_no_factor_of_its_visitor(
    home: House, script: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    await script.post("/xhr/login", json=RIGHT)
    answer = await script.request(method, path, headers=headers)
    assert is_error(answer, 403, "foreign_origin")


async def test_a_head_request_generates_no_secret(home: House, script: httpx.AsyncClient) -> None:
    await script.post("/xhr/login", json=RIGHT)
    secret = await generated(script)
    assert (await script.head(GENERATE)).status_code == 200
    body = {"secret": secret, "token": code_of(home, secret)}
    assert (await script.post(APP, json=body)).status_code == 204


# Methods, paths, trouble

METHODS = [
    ("/xhr/login", "GET", "POST, OPTIONS"),
    ("/xhr/login", "DELETE", "POST, OPTIONS"),
    ("/xhr/session", "POST", "GET, HEAD, OPTIONS"),
    ("/xhr/logout", "DELETE", "GET, HEAD, POST, OPTIONS"),
    ("/xhr/session/totp/generate", "POST", "GET, HEAD, OPTIONS"),
    ("/xhr/session/totp", "GET", "POST, DELETE, OPTIONS"),
    ("/xhr/session", "FROB", "GET, HEAD, OPTIONS"),
]


@pytest.mark.parametrize(("path", "method", "allowed"), METHODS)
async def test_other_methods_are_refused_by_name(
    script: httpx.AsyncClient, path: str, method: str, allowed: str
) -> None:
    answer = await script.request(method, path)
    assert is_error(answer, 405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == set(allowed.split(", "))


async def test_options_is_a_204(script: httpx.AsyncClient) -> None:
    answer = await script.options("/xhr/session")
    assert answer.status_code == 204 and "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/xhr/session/", "/XHR/session", "/xhr", "/xhr/totp/"])
async def test_paths_match_exactly(script: httpx.AsyncClient, path: str) -> None:
    assert (await script.get(path)).status_code == 404  # by the router; there is no gate


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/xhr/session"),
        ("GET", "/xhr/logout"),
        ("POST", "/xhr/login"),
        ("GET", GENERATE),
        ("POST", APP),
        ("DELETE", APP),
    ],
)
async def test_a_database_that_does_not_answer_is_a_503(
    home: House, script: httpx.AsyncClient, method: str, path: str
) -> None:
    headers = {"cookie": home.cookie(await home.opened())}
    home.break_storage()
    body = RIGHT | {"secret": "ABC", "token": "123456"}
    answer = await script.request(method, path, headers=headers, json=body)
    assert is_error(answer, 503, "storage_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert not set_cookies(answer)


async def test_an_unexpected_error_is_a_500_in_the_same_shape(
    home: House, script: httpx.AsyncClient
) -> None:
    home.accounts.passwords.close()  # the pool raises its own error for every job
    answer = await script.post("/xhr/login", json=RIGHT)
    assert is_error(answer, 500, "internal_error")


def test_a_json_object_is_parsed() -> None:
    assert parse_object('{"a": [1, "ü", {"b": null}]}'.encode()) == {"a": [1, "ü", {"b": None}]}
