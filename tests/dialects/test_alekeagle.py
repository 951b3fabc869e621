"""The `alekeagle` dialect: its document's examples, and reading, listing and ending one's own
sessions."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import Refusal
from doorward.accounts.session import PENDING
from doorward.accounts.sessions.sessions import Opened
from doorward.dialects import alekeagle
from doorward.dialects import context as contexts
from doorward.dialects.context import RequestFault

from tests.support.alekeagle import ALL, ON, RIGHT, SESSION, SESSIONS, bare, is_answer, is_error
from tests.support.errors import list_errors
from tests.support.house import House, house, set_cookies

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:95.0) Gecko/20100101 Firefox/95.0"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, dialects=ON) as built:
        await built.add("alice")
        yield built


@pytest.fixture
async def script(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.program(user_agent=AGENT) as client:
        yield client


@pytest.fixture
async def token(script: httpx.AsyncClient) -> str:
    answer = await script.post(SESSION, json=RIGHT)
    script.cookies.clear()
    found: str = answer.json()["token"]
    return found


async def several(home: House, number: int = 3) -> list[Opened]:
    """Several sessions of alice, the oldest first."""
    found = []
    for _ in range(number):
        home.clock.now += 10
        found.append(await home.opened())
    return found


def ids(answer: httpx.Response) -> list[int]:
    return [each["iat"] for each in answer.json()["items"]]


# The table


@pytest.mark.parametrize("leaf", list_errors())
def test_every_refusal_and_fault_has_a_row(leaf: type[Exception]) -> None:
    assert leaf in alekeagle.ERROR_TABLE


@pytest.mark.parametrize(
    "kind", sorted(set(alekeagle.ERROR_TABLE) - {contexts.RateLimited}, key=repr)
)
def test_every_error_has_the_same_shape(kind: type[Refusal | RequestFault]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, kind.message)
    vars(error).update(fields=())
    rendered = alekeagle.ERROR_FORMAT.render(error)
    said = json.loads(bytes(rendered.body))
    assert rendered.status_code == alekeagle.ERROR_TABLE[kind].status
    assert list(said)[:2] == ["code", "message"] and said["message"]
    assert set(said) - {"fields"} == {"code", "message"}
    assert rendered.headers["content-type"] == "application/json; charset=utf-8"


# The document's examples, also with the paths in its samples


@pytest.mark.parametrize("path", [SESSION, "/api/session"])
async def test_the_current_session_is_returned(
    home: House, script: httpx.AsyncClient, path: str
) -> None:
    """curl -X GET -H "Authorization: token" https://alekeagle.me/api/session"""
    login = (await script.post(SESSION, json=RIGHT)).json()
    script.cookies.clear()
    (session,) = await home.sessions()
    assert is_answer(
        await script.get(path, headers={"Authorization": login["token"]}),
        200,
        {
            "iat": 1_800_000_000,
            "exp": login["exp"],
            "name": "Firefox v95.0 on Linux x86_64 amd64",
            "sub": session.user.id,
        },
    )
    unknown = await script.get(path, headers={"Authorization": "token"})
    assert is_error(unknown, 401, "INVALID_SESSION_ERROR")


@pytest.mark.parametrize("path", [SESSION, "/api/session"])
async def test_a_specific_session(home: House, script: httpx.AsyncClient, path: str) -> None:
    """curl -X GET -H "Authorization: token" https://alekeagle.me/api/session/1234567890"""
    one, two, _ = await several(home)
    answer = await script.get(f"{path}/{two.session.iat}", headers=bare(one))
    assert answer.status_code == 200
    assert answer.json()["iat"] == two.session.iat and answer.json()["name"] == "elsewhere"
    missing = await script.get(f"{path}/1234567890", headers=bare(one))
    assert is_error(missing, 404, "INVALID_SESSION_ERROR")


@pytest.mark.parametrize("path", [SESSIONS, "/api/sessions"])
async def test_all_sessions_in_the_order_of_their_logins(
    home: House, script: httpx.AsyncClient, path: str
) -> None:
    """curl -X GET -H "Authorization: token" https://alekeagle.me/api/sessions"""
    opened = await several(home)
    answer = await script.get(path, headers=bare(opened[0]))
    assert answer.status_code == 200 and list(answer.json()) == ["count", "items"]
    assert answer.json()["count"] == 3
    assert ids(answer) == [each.session.iat for each in opened]
    assert list(answer.json()["items"][0]) == ["iat", "exp", "name", "sub"]


@pytest.mark.parametrize("path", [SESSION, "/api/session"])
async def test_a_session_is_deleted(home: House, script: httpx.AsyncClient, path: str) -> None:
    """curl -X DELETE -H "Authorization: token" https://alekeagle.me/api/session/sid"""
    one, two, _ = await several(home)
    done = {"code": "GENERIC_SUCCESS", "message": "Session Deleted"}
    answer = await script.delete(f"{path}/{two.session.iat}", headers=bare(one))
    assert is_answer(answer, 200, done)
    assert await home.found(two) is None and await home.found(one) is not None
    again = await script.delete(f"{path}/{two.session.iat}", headers=bare(one))
    assert is_error(again, 404, "SESSION_NOT_FOUND_ERROR")
    sid = await script.delete(f"{path}/sid", headers=bare(one))
    assert is_error(sid, 404, "SESSION_NOT_FOUND_ERROR")


@pytest.mark.parametrize("path", [SESSIONS, "/api/sessions"])
async def test_many_sessions_are_deleted(home: House, script: httpx.AsyncClient, path: str) -> None:
    """curl -X DELETE -d {"sessions":["sid1","sid2"]} https://alekeagle.me/api/sessions"""
    one, two, three = await several(home)
    headers = bare(one) | {"content-type": "application/json"}
    body = '{"sessions":["sid1","sid2"]}'
    nothing = await script.request("DELETE", path, content=body, headers=headers)
    assert is_answer(nothing, 200, {"count": 0, "type": "session"})
    wanted = [str(two.session.iat), str(two.session.iat), three.session.iat, "sid1", None, {}]
    body = json.dumps({"sessions": wanted})
    answer = await script.request("DELETE", path, content=body, headers=headers)
    assert is_answer(answer, 200, {"count": 2, "type": "session"})
    assert [s.iat for s in await home.sessions()] == [one.session.iat]


@pytest.mark.parametrize("path", [ALL, "/api/sessions/all"])
async def test_all_sessions_except_the_current_one_are_deleted(
    home: House, script: httpx.AsyncClient, path: str
) -> None:
    """curl -X DELETE -H "Authorization: token" …/sessions/all?allButSelf=true; its other sample
    misspells the parameter, and also keeps the caller's session."""
    one, *_ = await several(home)
    answer = await script.delete(f"{path}?allButSelf=true", headers=bare(one))
    assert is_answer(answer, 200, {"count": 2, "type": "session"})
    await several(home)
    answer = await script.delete(f"{path}?allbutSelf=true", headers=bare(one))
    assert is_answer(answer, 200, {"count": 3, "type": "session"})
    assert [s.iat for s in await home.sessions()] == [one.session.iat]
    answer = await script.delete(path, headers=bare(one))
    assert is_answer(answer, 200, {"count": 1, "type": "session"})
    assert is_error(await script.get(SESSION, headers=bare(one)), 401, "INVALID_SESSION_ERROR")


# The document's common rows


ENDPOINTS = [
    ("GET", SESSION),
    ("GET", f"{SESSION}/1800000010"),
    ("GET", SESSIONS),
    ("DELETE", f"{SESSION}/1800000010"),
    ("DELETE", SESSIONS),
    ("DELETE", ALL),
]
NOBODY: list[dict[str, str]] = [
    {},
    {"authorization": "token"},
    {"authorization": "A" * 43},
    {"authorization": "Bearer " + "A" * 43},
    {"authorization": "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="},
    {"cookie": "doorward=" + "A" * 43},
]


@pytest.mark.parametrize("headers", NOBODY)
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_without_a_session_there_is_a_401(
    script: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await script.request(method, path, headers=headers)
    assert is_error(answer, 401, "INVALID_SESSION_ERROR")


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_a_banned_user_gets_a_message_and_keeps_everything(
    home: House, script: httpx.AsyncClient, method: str, path: str
) -> None:
    one, *_ = await several(home)
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    answer = await script.request(method, path, headers=bare(one))
    assert is_error(answer, 403, "BANNED_ERROR")
    await home.accounts.users.unban("alice", home.clock(), actor=OWNER)
    assert len(await home.sessions()) == 3


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_a_database_that_does_not_answer_is_a_500(
    home: House, script: httpx.AsyncClient, method: str, path: str
) -> None:
    one, *_ = await several(home)
    home.break_storage()
    answer = await script.request(method, path, headers=bare(one), json={"sessions": ["1"]})
    assert is_error(answer, 500, "INTERNAL_SERVER_ERROR")
    assert answer.headers["retry-after"] == "5" and not set_cookies(answer)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_a_pending_session_is_refused_at_every_endpoint(
    home: House, script: httpx.AsyncClient, method: str, path: str
) -> None:
    """CVE-2026-32246: a half-logged-in session accepted by another endpoint."""
    await several(home)
    pending = await home.opened(level=PENDING)
    for headers in (bare(pending), {"cookie": home.cookie(pending)}):
        answer = await script.request(method, path, headers=headers)
        assert is_error(answer, 401, "INVALID_SESSION_ERROR")
    listed = await script.get(SESSIONS, headers=bare(await home.opened()))
    assert pending.session.iat not in ids(listed)


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_a_session_past_its_end_is_a_401(
    home: House, script: httpx.AsyncClient, method: str, path: str
) -> None:
    one, *_ = await several(home)
    home.clock.now += 86_400
    answer = await script.request(method, path, headers=bare(one))
    assert is_error(answer, 401, "INVALID_SESSION_ERROR")


@pytest.mark.parametrize("headers", ["bare", "Bearer", "bearer", "cookie"])
async def test_a_token_is_accepted_in_every_documented_place(
    home: House, script: httpx.AsyncClient, headers: str
) -> None:
    one = await home.opened()
    carrier = {
        "bare": bare(one),
        "cookie": {"cookie": home.cookie(one)},
    }.get(headers, {"authorization": f"{headers} {one.token}"})
    assert (await script.get(SESSION, headers=carrier)).json()["iat"] == one.session.iat
    answer = await script.delete(f"{SESSION}/{one.session.iat}", headers=carrier)
    assert answer.status_code == 200
    assert bool(set_cookies(answer)) == (headers == "cookie")


# Other users' sessions


async def test_sessions_of_other_users_look_unknown(home: House, script: httpx.AsyncClient) -> None:
    await home.add("bob")
    bob = await home.opened("bob")
    home.clock.now += 100
    alice = bare(await home.opened())
    at = f"{SESSION}/{bob.session.iat}"
    assert is_error(await script.get(at, headers=alice), 404, "INVALID_SESSION_ERROR")
    assert is_error(await script.delete(at, headers=alice), 404, "SESSION_NOT_FOUND_ERROR")
    many = {"sessions": [str(bob.session.iat)]}
    answer = await script.request("DELETE", SESSIONS, json=many, headers=alice)
    assert answer.json()["count"] == 0
    assert (await script.delete(ALL, headers=alice)).json()["count"] == 1
    assert await home.found(bob) is not None


@pytest.mark.parametrize(
    "id", ["", "x", "-1", "1e9", "1800000010.0", "01800000010", "9" * 5000, "٣"]
)
async def test_an_invalid_id_finds_nothing(home: House, script: httpx.AsyncClient, id: str) -> None:
    one, *_ = await several(home)
    answer = await script.get(f"{SESSION}/{id}", headers=bare(one))
    assert answer.status_code == 404
    assert len(await home.sessions()) == 3


# Pages of lists

PARTS = [
    ("limit=2", 0, 2),
    ("limit=2&offset=1", 1, 3),
    ("offset=2", 2, 52),
    ("limit=50&offset=0", 0, 50),
    ("limit=51", 0, 50),
    ("limit=0", 0, 50),
    ("limit=", 0, 50),
    ("limit=-1&offset=-1", 0, 50),
    ("limit=x&offset=x", 0, 50),
    ("limit=1.5", 0, 50),
    ("offset=", 0, 50),
    ("offset=54", 54, 55),
    ("offset=55", 55, 55),
    ("offset=999999999", 55, 55),
    ("limit=" + "9" * 5000, 0, 50),
    ("limit=%D9%A3", 0, 50),
    ("other=1", 0, 55),
    ("", 0, 55),
]


async def test_a_list_is_returned_whole_or_in_part(home: House, script: httpx.AsyncClient) -> None:
    opened = await several(home, 55)
    everything = [each.session.iat for each in opened]
    for query, first, end in PARTS:
        answer = await script.get(f"{SESSIONS}?{query}", headers=bare(opened[0]))
        assert answer.json()["count"] == 55, query
        assert ids(answer) == everything[first:end], query


async def test_a_list_is_as_long_as_a_user_may_have_sessions(tmp_path: Path) -> None:
    """The document knows no other limit: without paging, all sessions are listed."""
    for most, listed in (("none", 600), (20, 20)):
        directory = tmp_path / str(most)
        async with house(directory, dialects=ON, sessions={"max_per_user": most}) as home:
            await home.add("alice")
            opened = await several(home, listed + 5 * (most != "none"))
            async with home.program() as client:
                answer = await client.get(SESSIONS, headers=bare(opened[-1]))
                assert answer.json()["count"] == len(ids(answer)) == listed


# Ids


async def test_logins_within_one_second_have_ids_of_their_own(
    home: House, script: httpx.AsyncClient
) -> None:
    opened = [await home.opened() for _ in range(3)]
    answer = await script.get(SESSIONS, headers=bare(opened[0]))
    assert ids(answer) == [1_800_000_000, 1_800_000_001, 1_800_000_002]
    assert {each["exp"] - each["iat"] for each in answer.json()["items"]} == {86_400}
    await script.delete(f"{SESSION}/1800000001", headers=bare(opened[0]))
    assert ids(await script.get(SESSIONS, headers=bare(opened[0]))) == [
        1_800_000_000,
        1_800_000_002,
    ]


# Ending


SPARED = ["allButSelf", "allButSelf=1", "allButSelf=yes", "ALLBUTSELF=true", "x=1&allButSelf=true"]
NOT_SPARED = ["", "allButSelf=false", "allButSelf=0", "allButSelf=", "but=true", "allButSel%66=0"]


@pytest.mark.parametrize("query", SPARED + NOT_SPARED)
async def test_the_query_decides_which_session_is_kept(
    home: House, script: httpx.AsyncClient, query: str
) -> None:
    one, *_ = await several(home)
    answer = await script.delete(f"{ALL}?{query}", headers=bare(one))
    spared = query in SPARED
    assert answer.json() == {"count": 2 if spared else 3, "type": "session"}
    assert (await home.found(one) is not None) == spared


async def test_ending_ones_own_session_by_cookie_expires_the_cookie(
    home: House, script: httpx.AsyncClient
) -> None:
    for path, body in [(ALL, None), (SESSIONS, "own"), (SESSION, None)]:
        one, two = await home.opened(), await home.opened()
        headers = {"cookie": home.cookie(one)}
        at = f"{path}/{one.session.iat}" if path == SESSION else path
        content = {"sessions": [str(one.session.iat)]} if body else None
        answer = await script.request("DELETE", at, json=content, headers=headers)
        assert answer.status_code == 200
        assert all("Max-Age=0" in line for line in set_cookies(answer)) and set_cookies(answer)
        assert await home.found(one) is None and (await home.found(two) is None) == (path == ALL)


async def test_ending_another_session_keeps_the_cookie(
    home: House, script: httpx.AsyncClient
) -> None:
    one, two, three = await several(home)
    headers = {"cookie": home.cookie(one)}
    many = {"sessions": [str(three.session.iat)]}
    answers = [
        await script.delete(f"{SESSION}/{two.session.iat}", headers=headers),
        await script.request("DELETE", SESSIONS, json=many, headers=headers),
    ]
    assert not any(map(set_cookies, answers))
    assert await home.found(one) is not None
    spared = await script.delete(f"{ALL}?allButSelf", headers=headers)
    (line,) = set_cookies(spared)
    fresh = {"cookie": line.partition(";")[0]}
    assert (await script.get(SESSION, headers=fresh)).status_code == 200, "under a new token"
    assert (await script.get(SESSION, headers=headers)).status_code == 401


async def test_a_delete_with_a_json_type_and_no_body_is_accepted(
    home: House, script: httpx.AsyncClient
) -> None:
    """Version 2 of the original client sends this header with every request."""
    one, two, _ = await several(home)
    headers = bare(one) | {"content-type": "application/json"}
    assert (await script.delete(f"{SESSION}/{two.session.iat}", headers=headers)).status_code == 200
    assert (await script.delete(f"{ALL}?allButSelf", headers=headers)).json()["count"] == 1
    answer = await script.delete(SESSIONS, headers=headers)
    assert is_error(answer, 400, "MISSING_FIELDS_ERROR", "sessions")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("sessions[]=1800000020&sessions[]=1800000030", "application/x-www-form-urlencoded"),
        ("sessions=1800000020&sessions=1800000030", "application/x-www-form-urlencoded"),
        (
            '--b\r\ncontent-disposition: form-data; name="sessions[]"\r\n\r\n1800000020\r\n'
            '--b\r\ncontent-disposition: form-data; name="sessions[]"\r\n\r\n1800000030\r\n--b--',
            "multipart/form-data; boundary=b",
        ),
    ],
)
async def test_a_form_lists_ids_as_well(
    home: House, script: httpx.AsyncClient, body: str, kind: str
) -> None:
    one, *_ = await several(home)
    headers = bare(one) | {"content-type": kind}
    answer = await script.request("DELETE", SESSIONS, content=body, headers=headers)
    assert answer.json() == {"count": 2, "type": "session"}


BAD_LISTS: dict[str, Any] = {
    "none": {},
    "null": {"sessions": None},
    "a text": {"sessions": "1800000020"},
    "a number": {"sessions": 1_800_000_020},
    "an object": {"sessions": {"0": "1800000020"}},
    "true": {"sessions": True},
}


@pytest.mark.parametrize("body", BAD_LISTS.values(), ids=BAD_LISTS.keys())
async def test_an_invalid_list_of_ids_is_a_400(
    home: House, script: httpx.AsyncClient, body: Any
) -> None:
    one, *_ = await several(home)
    answer = await script.request("DELETE", SESSIONS, json=body, headers=bare(one))
    assert is_error(answer, 400, "MISSING_FIELDS_ERROR", "sessions")
    assert len(await home.sessions()) == 3


async def test_ten_thousand_ids_are_looked_up_unless_the_body_is_too_large(
    home: House, script: httpx.AsyncClient
) -> None:
    one, *_ = await several(home)
    short = {"sessions": ["1"] * 10_000}
    answer = await script.request("DELETE", SESSIONS, json=short, headers=bare(one))
    assert answer.json() == {"count": 0, "type": "session"}
    long = {"sessions": [str(1_800_000_000 + number) for number in range(10_000)]}
    answer = await script.request("DELETE", SESSIONS, json=long, headers=bare(one))
    assert is_error(answer, 413, "BODY_TOO_LARGE_ERROR")


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "null"}])
@pytest.mark.parametrize(("method", "path"), [e for e in ENDPOINTS if e[0] == "DELETE"])
async def test_another_site_cannot_end_sessions_with_a_users_cookie(
    home: House, script: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]
) -> None:
    one, *_ = await several(home)
    cookie = {"cookie": home.cookie(one)}
    answer = await script.request(method, path, headers=cookie | headers)
    assert is_error(answer, 403, "INSUFFICIENT_PERMISSIONS_ERROR")
    assert len(await home.sessions()) == 3


# Methods and paths


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", SESSION, "GET HEAD POST OPTIONS"),
        ("DELETE", SESSION, "GET HEAD POST OPTIONS"),
        ("POST", f"{SESSION}/1", "GET HEAD DELETE OPTIONS"),
        ("POST", SESSIONS, "GET HEAD DELETE OPTIONS"),
        ("GET", ALL, "DELETE OPTIONS"),
        ("FROB", "/api/sessions/all", "DELETE OPTIONS"),
    ],
)
async def test_other_methods_are_a_404_with_the_allowed_ones(
    script: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await script.request(method, path)
    assert is_error(answer, 404, "ENDPOINT_NOT_FOUND_ERROR")
    assert set(answer.headers["allow"].split(", ")) == set(allowed.split())


async def test_head_works_like_get_and_options_everywhere(
    home: House, script: httpx.AsyncClient
) -> None:
    one = await home.opened()
    for path in (SESSION, SESSIONS, f"{SESSION}/{one.session.iat}"):
        assert (await script.head(path, headers=bare(one))).status_code == 200
    for path in (SESSION, SESSIONS, ALL, f"{SESSION}/1"):
        assert (await script.options(path)).status_code == 204


async def test_the_prefix_can_change_and_sample_paths_can_be_off(tmp_path: Path) -> None:
    on = {"alekeagle": {"prefix": "/door", "sample_paths": False}}
    async with house(tmp_path, dialects=on) as home, home.program() as script:
        assert (await script.get("/door/user/session")).status_code == 401
        for path in ("/door/session", "/api/user/session", "/api/session", "/door/user/session/"):
            answer = await script.get(path)
            assert answer.status_code == 404 and "code" not in answer.text  # by the router


async def test_an_unexpected_error_is_a_500_in_the_same_shape(
    home: House, script: httpx.AsyncClient
) -> None:
    home.accounts.passwords.close()  # the pool raises its own error for every job
    answer = await script.post(SESSION, json=RIGHT)
    assert is_error(answer, 500, "INTERNAL_SERVER_ERROR")
    assert re.search("Traceback|passwords", answer.text) is None
