"""The `alekeagle` dialect: its login, the second step, and how requests are counted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from doorward.accounts.factors import totp
from doorward.accounts.permissions import OWNER
from doorward.accounts.session import PENDING
from doorward.accounts.user import Email

from tests.support.alekeagle import (
    MESSAGES,
    MONTH_S,
    ON,
    RIGHT,
    SESSION,
    SESSIONS,
    TEN_YEARS_S,
    bare,
    is_answer,
    is_error,
)
from tests.support.house import ORIGIN, PASSWORD, House, house, set_cookies
from tests.support.mailbox import Mailbox
from tests.support.second_factors import next_code, recovery_codes, turn_on_email, turn_on_totp

FORM = "application/x-www-form-urlencoded"
CHALLENGE = "SECOND_FACTOR_CHALLENGE_REQUIRED_ERROR"


@pytest.fixture
async def home(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[House]:
    async with house(tmp_path, dialects=ON) as built:
        await built.add("alice", emails=[Email("alice@example.com", True)])
        yield built


@pytest.fixture
async def script(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.program() as client:
        yield client


# Login


@pytest.mark.parametrize("path", [SESSION, "/api/session"])
async def test_the_documented_login_works(tmp_path: Path, path: str) -> None:
    """curl -d {"user":"joe","pass":"joe","rememberMe":true} https://alekeagle.me/api/session"""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("joe")
    joe = {"username": "joe", "password_hash": cheap}
    async with house(tmp_path, dialects=ON, users=[joe]) as home, home.program() as script:
        answer = await script.post(path, json={"user": "joe", "pass": "joe", "rememberMe": True})
        token = answer.json()["token"]
        assert is_answer(answer, 201, {"token": token, "exp": 1_800_000_000 + TEN_YEARS_S})
        assert len(token) == 43
        (line,) = set_cookies(answer)
        assert line.startswith("doorward=") and "HttpOnly" in line
        assert f"Max-Age={400 * 86_400}" in line  # the maximum that browsers keep
        assert (await script.get(SESSION)).status_code == 200  # by cookie
        script.cookies.clear()
        assert (await script.get(SESSION, headers=bare(token))).status_code == 200


REMEMBERED = [True, "true", 1, "1"]
NOT_REMEMBERED: list[Any] = [False, None, "false", 0, "0", "", "yes", 2, [], {}, ["true"], "TRUE"]


async def test_a_session_lasts_a_month_or_ten_years(home: House, script: httpx.AsyncClient) -> None:
    for remember in [*REMEMBERED, *NOT_REMEMBERED]:
        answer = await script.post(SESSION, json=RIGHT | {"rememberMe": remember})
        life = TEN_YEARS_S if remember in REMEMBERED and remember is not False else MONTH_S
        script.cookies.clear()
        own = await script.get(SESSION, headers=bare(answer.json()["token"]))
        assert own.json()["exp"] - own.json()["iat"] == life, remember
        assert answer.json()["exp"] == own.json()["exp"]
        assert ("Max-Age" in set_cookies(answer)[0]) == (life == TEN_YEARS_S)


@pytest.mark.parametrize("life", ["5d", "10d"])
async def test_both_lifetimes_can_be_shortened(tmp_path: Path, life: str) -> None:
    on = {"alekeagle": {"lifetime": "5d", "remember_lifetime": "20d"}}
    async with house(tmp_path, dialects=on, sessions={"max_lifetime": "10d"}) as home:
        await home.add("alice")
        async with home.program() as script:
            answer = await script.post(SESSION, json=RIGHT | {"rememberMe": life == "10d"})
    assert answer.json()["exp"] == 1_800_000_000 + int(life[:-1]) * 86_400


PARTS = (
    '--b\r\ncontent-disposition: form-data; name="user"\r\n\r\nalice\r\n'
    f'--b\r\ncontent-disposition: form-data; name="pass"\r\n\r\n{PASSWORD}\r\n'
    '--b\r\ncontent-disposition: form-data; name="rememberMe"\r\n\r\ntrue\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps(RIGHT | {"rememberMe": True})),
        ("application/json; charset=UTF-8", json.dumps(RIGHT | {"rememberMe": "1"})),
        (FORM, "user=alice&pass=correct+horse&rememberMe=true"),
        ("multipart/form-data; boundary=b", PARTS),
    ],
)
async def test_a_login_can_be_sent_in_three_encodings(
    script: httpx.AsyncClient, kind: str, body: str
) -> None:
    answer = await script.post(SESSION, content=body, headers={"content-type": kind})
    assert answer.status_code == 201
    assert answer.json()["exp"] == 1_800_000_000 + TEN_YEARS_S


@pytest.mark.parametrize("name", ["ALICE", "alice@example.com", "Alice@Example.com"])
async def test_a_name_in_any_case_or_an_address_logs_in(
    script: httpx.AsyncClient, name: str
) -> None:
    assert (await script.post(SESSION, json=RIGHT | {"user": name})).status_code == 201


async def test_a_wrong_password_and_an_unknown_user_have_different_answers(
    script: httpx.AsyncClient,
) -> None:
    wrong = await script.post(SESSION, json=RIGHT | {"pass": "wrong"})
    assert is_error(wrong, 401, "INVALID_PASSWORD_ERROR")
    for name in ("nobody", "", " ", "a\x00b", "x" * 5000, "alice .", "\u202e"):
        unknown = await script.post(SESSION, json=RIGHT | {"user": name})
        assert is_error(unknown, 404, "INVALID_USER_ERROR"), name
    empty = await script.post(SESSION, json=RIGHT | {"pass": ""})
    assert is_error(empty, 401, "INVALID_PASSWORD_ERROR")
    assert not any(map(set_cookies, (wrong, unknown, empty)))


async def test_an_unknown_user_can_be_answered_like_a_wrong_password(
    tmp_path: Path,
) -> None:
    on = {"alekeagle": {"conceal_unknown_users": True}}
    async with house(tmp_path, dialects=on) as home, home.program() as script:
        answer = await script.post(SESSION, json=RIGHT)
        assert is_error(answer, 401, "INVALID_PASSWORD_ERROR")


async def test_a_ban_is_revealed_to_a_client_that_knows_the_password(
    home: House, script: httpx.AsyncClient
) -> None:
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    wrong = await script.post(SESSION, json=RIGHT | {"pass": "wrong"})
    assert is_error(wrong, 401, "INVALID_PASSWORD_ERROR")
    assert is_error(await script.post(SESSION, json=RIGHT), 403, "BANNED_ERROR")


async def test_guessing_is_rate_limited(script: httpx.AsyncClient) -> None:
    for _ in range(5):
        await script.post(SESSION, json=RIGHT | {"pass": "wrong"})
    answer = await script.post(SESSION, json=RIGHT)
    assert is_error(answer, 429, "RATELIMITED_ERROR")
    assert answer.headers["retry-after"] == "300"


async def test_a_password_that_has_to_change_is_reported_in_a_sentence(
    home: House, script: httpx.AsyncClient
) -> None:
    await home.add("carol", must_change_password=True)
    answer = await script.post(SESSION, json=RIGHT | {"user": "carol"})
    sentence = "The password has to be changed before this user can log in."
    assert is_answer(answer, 403, {"code": "GENERIC_ERROR", "message": sentence})


async def test_a_login_ignores_a_token_and_replaces_the_cookie(
    home: House, script: httpx.AsyncClient
) -> None:
    old = await home.opened()
    headers = bare("A" * 43) | {"cookie": home.cookie(old)}
    assert (await script.post(SESSION, json=RIGHT, headers=headers)).status_code == 201
    assert await home.found(old) is None


async def test_with_cookie_off_a_login_sets_no_cookie(tmp_path: Path) -> None:
    async with house(tmp_path, dialects={"alekeagle": {"cookie": False}}) as home:
        await home.add("alice")
        async with home.program() as script:
            answer = await script.post(SESSION, json=RIGHT)
    assert answer.status_code == 201 and not set_cookies(answer)


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"user-agent": "curl/7.80.0"}, "curl/7.80.0"),
        ({"user-agent": ""}, ""),
        ({"user-agent": "curl/7.80.0", "x-token-name": "my laptop"}, "my laptop"),
        ({"x-token-name": "Zoë".encode()}, "Zoë"),
        ({"x-token-name": "x" * 300}, "x" * 190),
    ],
)
async def test_a_session_has_a_name(
    script: httpx.AsyncClient, headers: dict[str, str], name: str
) -> None:
    login = await script.post(SESSION, json=RIGHT, headers=headers)
    own = await script.get(SESSION, headers=bare(login.json()["token"]))
    assert own.json()["name"] == name


# Invalid logins

BAD_FIELDS: list[tuple[Any, list[str]]] = [
    ({}, ["user", "pass"]),
    ({"user": "alice"}, ["pass"]),
    ({"pass": "x"}, ["user"]),
    ({"user": None, "pass": None}, ["user", "pass"]),
    ({"user": 1, "pass": "x"}, ["user"]),
    ({"user": "alice", "pass": 12345678}, ["pass"]),
    ({"user": ["alice"], "pass": {"x": 1}}, ["user", "pass"]),
    ({"user": True, "pass": "x"}, ["user"]),
    ({"user": "\ud800", "pass": "\udfff"}, ["user", "pass"]),
    ({"username": "alice", "password": "x"}, ["user", "pass"]),
    ({"2fa": "x"}, ["2fa"]),
    ({"2fa": None}, ["2fa"]),
    ({"2fa": {}}, ["2fa.token", "2fa.type"]),
    ({"2fa": {"token": 1, "type": "totp", "code": "1"}}, ["2fa.token"]),
    ({"2fa": {"token": "x", "type": "webauthn", "code": "1"}}, ["2fa.type"]),
]


@pytest.mark.parametrize(("body", "fields"), BAD_FIELDS)
async def test_missing_and_mistyped_fields_are_listed_together(
    script: httpx.AsyncClient, body: Any, fields: list[str]
) -> None:
    answer = await script.post(
        SESSION, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert is_error(answer, 400, "MISSING_FIELDS_ERROR", *fields)


BAD_BODIES: dict[str, tuple[str, bytes]] = {
    "empty": ("application/json", b""),
    "truncated": ("application/json", b'{"user":"alice","pa'),
    "deeply nested": ("application/json", b'{"user":' + b"[" * 30_000),
    "an array": ("application/json", b'["alice"]'),
    "null": ("application/json", b"null"),
    "a name twice": ("application/json", b'{"user":"alice","user":"bob","pass":"x"}'),
    "NaN": ("application/json", b'{"user":"alice","pass":"x","y":NaN}'),
    "UTF-16": ("application/json; charset=utf-16", json.dumps(RIGHT).encode("utf-16")),
    "not UTF-8": ("application/json", b'{"user":"\xff","pass":"x"}'),
    "text": ("text/plain", json.dumps(RIGHT).encode()),
    "of no type": ("", json.dumps(RIGHT).encode()),
    "a form that is not UTF-8": (FORM, b"user=%FF&pass=x"),
    "a form of too many fields": (FORM, b"a=1&" * 2000),
    "multipart without its boundary": ("multipart/form-data", PARTS.encode()),
    "multipart cut short": ("multipart/form-data; boundary=b", PARTS[:60].encode()),
}


@pytest.mark.parametrize(("kind", "body"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_an_unreadable_body_lacks_both_fields(
    script: httpx.AsyncClient, kind: str, body: bytes
) -> None:
    answer = await script.post(SESSION, content=body, headers={"content-type": kind})
    assert is_error(answer, 400, "MISSING_FIELDS_ERROR", "user", "pass")


@pytest.mark.parametrize("kind", ["application/json", FORM, "multipart/form-data; boundary=b"])
async def test_a_body_of_ten_mebibytes_is_a_413(script: httpx.AsyncClient, kind: str) -> None:
    body = b"x" * (10 * 1024 * 1024)
    answer = await script.post(SESSION, content=body, headers={"content-type": kind})
    assert is_error(answer, 413, "BODY_TOO_LARGE_ERROR")


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
    """CVE-2017-1000069: a form of another site can send exactly this body."""
    answer = await script.post(
        SESSION,
        content="user=alice&pass=correct+horse",
        headers=headers | {"content-type": FORM},
    )
    assert is_error(answer, 403, "INSUFFICIENT_PERMISSIONS_ERROR")


# The second step


async def challenged(script: httpx.AsyncClient, *types: str, **more: Any) -> str:
    """The token of a challenge that accepts these methods."""
    answer = await script.post(SESSION, json=RIGHT | more)
    said = answer.json()
    content = {
        "code": CHALLENGE,
        "message": "Second Factor Challenge Required",
        "token": said["token"],
        "exp": said["exp"],
        "types": list(types),
    }
    assert is_answer(answer, 401, content)
    assert not set_cookies(answer)
    found: str = said["token"]
    return found


async def answer_with(
    script: httpx.AsyncClient, token: str, type: str, code: str | None, **more: Any
) -> httpx.Response:
    given = {"token": token, "type": type} | ({} if code is None else {"code": code})
    return await script.post(SESSION, json={"2fa": given} | more)


async def test_with_totp_a_second_request_sends_the_code(
    home: House, script: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    token = await challenged(script, "totp")
    answer = await answer_with(script, token, "totp", next_code(home, secret))
    assert answer.status_code == 201 and list(answer.json()) == ["token", "exp"]
    assert answer.json()["token"] != token
    assert set_cookies(answer)
    script.cookies.clear()
    own = await script.get(SESSION, headers=bare(answer.json()["token"]))
    assert own.status_code == 200 and own.json()["exp"] == answer.json()["exp"]


async def test_a_challenge_expires_at_its_stated_time(
    home: House, script: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    token = await challenged(script, "totp")
    (pending,) = await home.sessions()
    assert int(pending.ends_at()) == 1_800_000_300
    home.clock.now += 299.9 - totp.STEP_S
    assert (await answer_with(script, token, "totp", "000000")).status_code == 401
    home.clock.now += 0.2
    late = await answer_with(script, token, "totp", next_code(home, secret))
    assert is_error(late, 401, "INVALID_SESSION_ERROR")


async def test_only_the_first_request_decides_whether_to_remember(
    home: House, script: httpx.AsyncClient
) -> None:
    secret = await turn_on_totp(home)
    for first, second, life in [(True, False, TEN_YEARS_S), (False, True, MONTH_S)]:
        begun = int(home.clock.now)
        token = await challenged(script, "totp", rememberMe=first)
        answer = await answer_with(
            script, token, "totp", next_code(home, secret), rememberMe=second
        )
        assert answer.json()["exp"] == begun + life


async def test_five_wrong_codes_end_the_challenge(home: House, script: httpx.AsyncClient) -> None:
    secret = await turn_on_totp(home)
    token = await challenged(script, "totp")
    for _ in range(5):
        wrong = await answer_with(script, token, "totp", "000000")
        assert is_error(wrong, 401, "INVALID_PASSWORD_ERROR")
    dead = await answer_with(script, token, "totp", next_code(home, secret))
    assert is_error(dead, 401, "INVALID_SESSION_ERROR")
    assert not await home.sessions()
    locked = await script.post(SESSION, json=RIGHT)
    assert is_error(locked, 429, "RATELIMITED_ERROR")
    assert locked.headers["retry-after"] == "270"
    assert not await home.sessions()


async def test_a_larger_budget_of_codes_does_not_extend_a_challenge(tmp_path: Path) -> None:
    async with house(tmp_path, dialects=ON, second_factor={"attempts": 50}) as home:
        await home.add("alice")
        secret = await turn_on_totp(home)
        async with home.program() as script:
            token = await challenged(script, "totp")
            for _ in range(5):
                wrong = await answer_with(script, token, "totp", "000000")
                assert is_error(wrong, 401, "INVALID_PASSWORD_ERROR")
            dead = await answer_with(script, token, "totp", next_code(home, secret))
            assert is_error(dead, 401, "INVALID_SESSION_ERROR")
            token = await challenged(script, "totp")
            right = await answer_with(script, token, "totp", next_code(home, secret))
            assert right.status_code == 201


async def test_an_earlier_challenge_reports_the_lock_out(
    home: House, script: httpx.AsyncClient
) -> None:
    """CVE-2024-21500: all challenges share one budget."""
    secret = await turn_on_totp(home)
    one, two = await challenged(script, "totp"), await challenged(script, "totp")
    for _ in range(5):
        await answer_with(script, one, "totp", "000000")
    answer = await answer_with(script, two, "totp", next_code(home, secret))
    assert is_error(answer, 429, "RATELIMITED_ERROR")
    again = await answer_with(script, two, "totp", next_code(home, secret))
    assert is_error(again, 401, "INVALID_SESSION_ERROR")


async def test_a_challenge_works_once(home: House, script: httpx.AsyncClient) -> None:
    secret = await turn_on_totp(home)
    token = await challenged(script, "totp")
    assert (await answer_with(script, token, "totp", next_code(home, secret))).status_code == 201
    again = await answer_with(script, token, "totp", next_code(home, secret))
    assert is_error(again, 401, "INVALID_SESSION_ERROR")


async def test_a_challenge_is_refused_at_other_endpoints(
    home: House, script: httpx.AsyncClient
) -> None:
    """CVE-2026-32246: a pending session was accepted by another endpoint."""
    await turn_on_totp(home)
    token = await challenged(script, "totp")
    for method, path in [("GET", SESSION), ("GET", SESSIONS), ("DELETE", f"{SESSIONS}/all")]:
        answer = await script.request(method, path, headers=bare(token))
        assert is_error(answer, 401, "INVALID_SESSION_ERROR")


@pytest.mark.parametrize("kind", ["full", "of another entrance", "nobody's", "no token at all"])
async def test_only_a_challenge_of_this_dialect_is_accepted(
    home: House, script: httpx.AsyncClient, kind: str
) -> None:
    secret = await turn_on_totp(home)
    token = {
        "full": (await home.opened(kind="alekeagle")).token,
        "of another entrance": (await home.opened(level=PENDING)).token,
        "nobody's": "A" * 43,
        "no token at all": "ü\x00",
    }[kind]
    answer = await answer_with(script, token, "totp", next_code(home, secret))
    assert is_error(answer, 401, "INVALID_SESSION_ERROR")


async def test_a_ban_during_a_challenge_is_reported(home: House, script: httpx.AsyncClient) -> None:
    secret = await turn_on_totp(home)
    token = await challenged(script, "totp")
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    answer = await answer_with(script, token, "totp", next_code(home, secret))
    assert is_error(answer, 403, "BANNED_ERROR")


async def test_backup_codes_are_offered_while_any_are_left(
    home: House, script: httpx.AsyncClient
) -> None:
    await turn_on_totp(home)
    codes = await recovery_codes(home)
    token = await challenged(script, "totp", "backup")
    assert (await answer_with(script, token, "backup", codes[0])).status_code == 201
    token = await challenged(script, "totp", "backup")
    again = await answer_with(script, token, "backup", codes[0])
    assert is_error(again, 401, "INVALID_PASSWORD_ERROR")


async def test_with_the_email_factor_the_login_sends_a_mail(
    home: House, script: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    token = await challenged(script, "email")
    assert len(mailbox.sent) == 1
    answer = await answer_with(script, token, "email", mailbox.sent[0][1])
    assert answer.status_code == 201


async def test_with_totp_a_code_is_mailed_only_on_request(
    home: House, script: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_totp(home)
    await turn_on_email(home)
    token = await challenged(script, "totp", "email")
    assert not mailbox.sent
    asked = await answer_with(script, token, "email", None)
    assert asked.status_code == 401 and asked.json()["code"] == CHALLENGE
    assert asked.json()["token"] == token
    assert len(mailbox.sent) == 1
    answer = await answer_with(script, token, "email", mailbox.sent[0][1])
    assert answer.status_code == 201
    no_code = await answer_with(script, await challenged(script, "totp", "email"), "totp", None)
    assert is_error(no_code, 400, "MISSING_FIELDS_ERROR", "2fa.code")


async def test_backup_codes_work_if_a_mail_cannot_be_sent(
    home: House, script: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    await turn_on_email(home)
    mailbox.broken = True
    failed = await script.post(SESSION, json=RIGHT)
    assert is_error(failed, 500, "INTERNAL_SERVER_ERROR")
    codes = await recovery_codes(home)
    token = await challenged(script, "backup")
    assert (await answer_with(script, token, "backup", codes[0])).status_code == 201


async def test_a_form_can_send_the_second_step(home: House, script: httpx.AsyncClient) -> None:
    secret = await turn_on_totp(home)
    token = await challenged(script, "totp")
    form = {"2fa[token]": token, "2fa[type]": "totp", "2fa[code]": next_code(home, secret)}
    assert (await script.post(SESSION, data=form)).status_code == 201


# Counting


def counts(answer: httpx.Response) -> tuple[int, int, int]:
    limit, remaining, reset = (
        answer.headers.get_list(f"x-ratelimit-{name}") for name in ("limit", "remaining", "reset")
    )
    assert len(limit) == len(remaining) == len(reset) == 1, answer.headers
    return int(limit[0]), int(remaining[0]), int(reset[0])


def limited(tmp_path: Path, **settings: Any) -> Any:
    return house(tmp_path, dialects={"alekeagle": settings})


async def test_every_answer_says_how_many_requests_are_left(tmp_path: Path) -> None:
    async with limited(tmp_path) as home, home.program() as script:
        await home.add("alice")
        one = await home.opened()
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", SESSION, {}),
            ("PUT", SESSION, {}),
            ("GET", f"{SESSION}/1", {}),
            ("DELETE", SESSIONS, {"json": {}}),
            ("DELETE", SESSIONS, {"content": b"x" * 70_000}),
            ("POST", SESSION, {"json": RIGHT}),
        ]
        for left, (method, path, more) in enumerate(requests):
            answer = await script.request(method, path, headers=bare(one), **more)
            assert counts(answer) == (100, 99 - left, 1_800_000_301)
        stranger = await script.get(SESSION, headers={"cookie": ""})
        assert counts(stranger)[:2] == (100, 99)  # without a session: counted per network


async def test_one_request_more_than_allowed_is_a_429(tmp_path: Path) -> None:
    rate = {"requests": 3, "per": "5m"}
    async with limited(tmp_path, rate_limit=rate) as home, home.program() as script:
        for left in (2, 1, 0):
            assert counts(await script.get(SESSION)) == (3, left, 1_800_000_301)
        home.clock.now += 100
        answer = await script.get(SESSION)
        assert is_error(answer, 429, "RATELIMITED_ERROR")
        assert counts(answer) == (3, 0, 1_800_000_301)
        assert answer.headers["retry-after"] == "300"
        assert (await script.options(SESSION)).status_code == 204
        home.clock.now += 200
        assert counts(await script.get(SESSION)) == (3, 2, 1_800_000_601)


async def test_a_user_is_counted_by_the_session_and_not_by_the_network(tmp_path: Path) -> None:
    rate = {"requests": 2, "per": "5m"}
    async with limited(tmp_path, rate_limit=rate) as home, home.program() as script:
        await home.add("alice")
        await home.add("bob")
        alice, again, bob = await home.opened(), await home.opened(), await home.opened("bob")
        statuses = [
            (await script.get(SESSION, headers=headers)).status_code
            for headers in (bare(alice), bare(again), bare(alice), bare(bob), {}, {}, {})
        ]
        assert statuses == [200, 200, 429, 200, 401, 401, 429]


async def test_logins_can_have_their_own_limit(tmp_path: Path) -> None:
    async with limited(tmp_path, login_limit={"requests": 1, "per": "1m"}) as home:
        await home.add("alice")
        async with home.program() as script:
            wrong = await script.post(SESSION, json=RIGHT | {"pass": "wrong"})
            assert is_error(wrong, 401, "INVALID_PASSWORD_ERROR")
            assert counts(wrong) == (1, 0, 1_800_000_061)
            answer = await script.post(SESSION, json=RIGHT)
            assert is_error(answer, 429, "RATELIMITED_ERROR")
            assert counts(answer) == (1, 0, 1_800_000_061)
            assert answer.headers["retry-after"] == "60"
            assert counts(await script.get(SESSION))[0] == 100
            home.clock.now += 60
            secret = await turn_on_totp(home)
            token = await challenged(script, "totp")
            answer = await answer_with(script, token, "totp", next_code(home, secret))
            assert answer.status_code == 201  # the second step does not count as a second login


async def test_requests_are_counted_without_a_database(tmp_path: Path) -> None:
    async with limited(tmp_path) as home, home.program() as script:
        await home.add("alice")
        one = await home.opened()
        home.break_storage()
        answer = await script.get(SESSION, headers=bare(one))
        assert is_error(answer, 500, "INTERNAL_SERVER_ERROR")
        assert counts(answer)[0] == 100


async def test_without_limits_there_are_no_headers(script: httpx.AsyncClient) -> None:
    assert "x-ratelimit-limit" not in (await script.get(SESSION)).headers


async def test_scripts_of_an_allowed_origin_can_call_it(tmp_path: Path) -> None:
    app = "https://app.example.com"
    async with limited(tmp_path, cors={"origins": [app]}) as home, home.program() as script:
        await home.add("alice")
        asked = await script.options(
            SESSION, headers={"origin": app, "access-control-request-method": "DELETE"}
        )
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == app
        answer = await script.post(SESSION, json=RIGHT, headers={"origin": app})
        assert answer.status_code == 201
        assert "X-RateLimit-Limit" in answer.headers["access-control-expose-headers"]
        own = await script.post(SESSION, json=RIGHT, headers={"origin": ORIGIN})
        assert own.status_code == 201 and "access-control-allow-origin" not in own.headers


def test_the_messages_are_the_documented_ones() -> None:
    from doorward.dialects.alekeagle import error_table

    assert MESSAGES.items() <= error_table.MESSAGES.items()
