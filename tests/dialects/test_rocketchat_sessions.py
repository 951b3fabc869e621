"""The `sessions/…` endpoints of `rocketchat`: the document's examples, then the rest."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.permissions import ADMIN
from doorward.accounts.session import PENDING
from doorward.accounts.sessions.sessions import Opened

from tests.support.house import HOST, House, house
from tests.support.rocketchat import (
    LOGGED_OUT,
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

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML,"
    " like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
JSON = {"content-type": "application/json"}
NOT_FOUND = {"success": False, "error": "Session not found"}
FORBIDDEN = {
    "success": False,
    "error": "User does not have the permissions required for this action [error-unauthorized]",
}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """alice is an ordinary user, root is an admin."""
    async with house(tmp_path, dialects=ON) as built:
        await built.add("alice")
        await built.add("root", roles=[ADMIN])
        yield built


@pytest.fixture
async def client(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.program() as program:
        yield program


@pytest.fixture
async def root(home: House) -> Opened:
    return await home.opened("root")


@pytest.fixture
async def alice(home: House) -> Opened:
    return await home.opened()


async def end(client: httpx.AsyncClient, id: Any, headers: dict[str, str]) -> httpx.Response:
    return await client.post(api("sessions/logout"), json={"sessionId": id}, headers=headers)


# sessions/logout: the document's examples


async def test_success(home: House, client: httpx.AsyncClient, root: Opened, alice: Opened) -> None:
    """The documented call: the pair, a code, no method."""
    secret = await turn_on_totp(home, "root")
    content = '{\n    "sessionId":"' + alice.session.id + '"\n}'
    headers = JSON | pair(root, next_code(home, secret))
    answer = await client.post(api("sessions/logout"), content=content, headers=headers)
    assert is_answer(answer, 200, {"sessionId": alice.session.id, "success": True})
    assert await home.found(alice) is None
    assert is_answer(await client.get(api("me"), headers=pair(alice)), 401, LOGGED_OUT)
    ended = await home.accounts.sessions.get(alice.session.id)
    assert ended.ended_by == root.session.user.id


async def test_authorization(client: httpx.AsyncClient, alice: Opened) -> None:
    assert is_answer(await end(client, alice.session.id, {}), 401, LOGGED_OUT)


async def test_no_permission(client: httpx.AsyncClient, root: Opened, alice: Opened) -> None:
    assert is_answer(await end(client, root.session.id, pair(alice, SHA256)), 403, FORBIDDEN)


async def test_session_not_found(client: httpx.AsyncClient, root: Opened) -> None:
    answer = await end(client, "tTouumJMrHMjnedWf", pair(root, SHA256))
    assert is_answer(answer, 404, NOT_FOUND)


async def test_totp_required(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    await turn_on_totp(home, "root")
    required = {
        "success": False,
        "error": "TOTP Required [totp-required]",
        "errorType": "totp-required",
        "details": {"method": "totp", "codeGenerated": False, "availableMethods": ["totp"]},
    }
    for headers in (pair(root), pair(root, ""), pair(root, method="totp")):
        assert is_answer(await end(client, alice.session.id, headers), 400, required)
    assert await home.found(alice) is not None


async def test_invalid_totp(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    await turn_on_totp(home, "root")
    invalid = {
        "success": False,
        "error": "TOTP Invalid [totp-invalid]",
        "errorType": "totp-invalid",
        "details": {"method": "totp", "codeGenerated": False},
    }
    answer = await end(client, alice.session.id, pair(root, "505403"))
    assert is_answer(answer, 400, invalid)
    assert await home.found(alice) is not None


async def test_the_password_replaces_the_factor_of_a_user_without_one(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    """The hosted page's example, and its `encrypt it as SHA256`."""
    required = {
        "success": False,
        "error": "TOTP Required [totp-required]",
        "errorType": "totp-required",
        "details": {"method": "password", "codeGenerated": False, "availableMethods": []},
    }
    assert is_answer(await end(client, alice.session.id, pair(root)), 400, required)
    wrong = await end(client, alice.session.id, pair(root, "0" * 64, "password"))
    assert is_failure(wrong, 400, "totp-invalid", "TOTP Invalid ")
    assert wrong.json()["details"] == {"method": "password", "codeGenerated": False}
    done = await end(client, alice.session.id, pair(root, SHA256.upper(), "password"))
    assert done.status_code == 200 and await home.found(alice) is None


# sessions/logout: the order


async def test_checks_run_in_the_documented_order(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    await turn_on_totp(home, "root")
    path, nothing = api("sessions/logout"), {"no": "session"}
    assert (await client.post(path, json=nothing)).status_code == 401
    assert (await client.post(path, json=nothing, headers=pair(alice))).status_code == 403
    bad = await client.post(path, json=nothing, headers=pair(root))
    assert is_failure(bad, 400, "invalid-params")
    due = await end(client, "nobody's", pair(root))
    assert is_failure(due, 400, "totp-required")


BAD_PARAMETERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "must have required property 'sessionId'"),
    "an empty object": (b"{}", "must have required property 'sessionId'"),
    "another name": (b'{"id":"x"}', "must have required property 'sessionId'"),
    "more": (b'{"sessionId":"x","userId":"y"}', "must NOT have additional properties"),
    "a number": (b'{"sessionId":1}', "must be string"),
    "null": (b'{"sessionId":null}', "must be string"),
    "a list": (b'{"sessionId":["x"]}', "must be string"),
    "an object": (b'{"sessionId":{"$ne":""}}', "must be string"),
    "NUL": (b'{"sessionId":"\\u0000"}', "must be text"),
    "half a character": (b'{"sessionId":"\\ud800"}', ""),
    "ten thousand": (b'{"sessionId":"' + b"x" * 10_000 + b'"}', "must be text"),
    "twice": (b'{"sessionId":"x","sessionId":"y"}', ""),
    "cut": (b'{"sessionId":"x', ""),
    "an array": (b'["x"]', ""),
    "a deep nest": (b"[" * 20_000, ""),
    "not UTF-8": (b'{"sessionId":"\xff"}', ""),
}


@pytest.mark.parametrize("name", ["sessions/logout", "sessions/logout.me"])
@pytest.mark.parametrize(("content", "error"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
async def test_invalid_parameters_are_a_400(
    client: httpx.AsyncClient, root: Opened, name: str, content: bytes, error: str
) -> None:
    answer = await client.post(api(name), content=content, headers=JSON | pair(root))
    assert is_failure(answer, 400, "invalid-params", error)
    assert set(answer.json()) == {"success", "error", "errorType"}


async def test_a_body_that_is_not_json_or_too_large_is_refused(
    client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    form = await client.post(
        api("sessions/logout"), data={"sessionId": alice.session.id}, headers=pair(root)
    )
    assert is_failure(form, 400, "invalid-params")
    huge = await client.post(
        api("sessions/logout"), content=b"x" * (10 << 20), headers=JSON | pair(root)
    )
    assert is_failure(huge, 413, "error-too-large")


# sessions/logout: what happens


async def test_ending_a_session_twice_succeeds_twice(
    client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    for _ in range(2):
        answer = await end(client, alice.session.id, pair(root, SHA256))
        assert is_answer(answer, 200, {"sessionId": alice.session.id, "success": True})


async def test_an_admin_can_end_the_session_in_use(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    assert (await end(client, root.session.id, pair(root, SHA256))).status_code == 200
    assert is_answer(await end(client, root.session.id, pair(root, SHA256)), 401, LOGGED_OUT)


async def test_a_pending_session_is_not_found(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    pending = await home.opened(level=PENDING)
    answer = await end(client, pending.session.id, pair(root, SHA256))
    assert is_answer(answer, 404, NOT_FOUND)


async def test_another_site_cannot_use_an_admins_cookie(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    headers = {"cookie": home.cookie(root), "sec-fetch-site": "cross-site", "x-2fa-code": SHA256}
    assert is_failure(await end(client, alice.session.id, headers), 403, "error-foreign-origin")


# sessions/logout: trust


async def test_a_code_gives_trust_for_five_minutes_in_its_session_only(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    other = await home.opened("root")
    secret = await turn_on_totp(home, "root")
    assert (await end(client, "x", pair(root, next_code(home, secret)))).status_code == 404
    with later(home, 299):
        assert (await end(client, "x", pair(root))).status_code == 404
        assert (await client.get(api("sessions/list.all"), headers=pair(root))).status_code == 200
    assert is_failure(await end(client, "x", pair(other)), 400, "totp-required")
    moved = pair(root) | {"user-agent": "another"}
    assert is_failure(await end(client, "x", moved), 400, "totp-required")
    with later(home, 300):
        assert is_failure(await end(client, "x", pair(root)), 400, "totp-required")


async def test_without_a_trust_period_every_request_needs_a_code(tmp_path: Path) -> None:
    async with house(tmp_path, dialects=ON, second_factor={"trust_period": "0s"}) as home:
        await home.add("root", super_admin=True)
        root, secret = await home.opened("root"), await turn_on_totp(home, "root")
        async with home.program() as client:
            assert (await end(client, "x", pair(root, next_code(home, secret)))).status_code == 404
            assert is_failure(await end(client, "x", pair(root)), 400, "totp-required")


async def test_a_code_works_once_over_all_entrances(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    found = next_code(home, await turn_on_totp(home, "root"))
    login = await client.post(api("login"), json=RIGHT | {"user": "root", "code": found})
    assert login.status_code == 200
    client.cookies.clear()
    assert is_failure(await end(client, "x", pair(root, found)), 400, "totp-invalid")


async def test_after_too_many_wrong_codes_right_ones_are_refused(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    secret = await turn_on_totp(home, "root")
    for _ in range(4):
        assert is_failure(await end(client, "x", pair(root, "000000")), 400, "totp-invalid")
    reached = "TOTP Maximun Failed Attempts Reached "
    fifth = await end(client, "x", pair(root, "000000"))
    assert is_failure(fifth, 400, "totp-max-attempts", reached)
    assert fifth.headers["retry-after"] == "300"
    assert fifth.json()["details"]["method"] == "totp"
    right = await end(client, "x", pair(root, next_code(home, secret)))
    assert is_failure(right, 400, "totp-max-attempts", reached)
    home.clock.now += 300
    assert (await end(client, "x", pair(root, next_code(home, secret)))).status_code == 404


async def test_wrong_passwords_as_a_factor_are_counted_as_well(
    home: House, client: httpx.AsyncClient, root: Opened
) -> None:
    for _ in range(5):
        answer = await end(client, "x", pair(root, "0" * 64))
    assert is_failure(answer, 400, "totp-max-attempts")
    assert is_failure(await end(client, "x", pair(root, SHA256)), 400, "totp-max-attempts")


# sessions/logout.me


async def test_an_own_session_is_ended_without_a_code(
    home: House, client: httpx.AsyncClient, alice: Opened
) -> None:
    other = await home.opened()
    body = {"sessionId": other.session.id}
    answer = await client.post(api("sessions/logout.me"), json=body, headers=pair(alice))
    assert is_answer(answer, 200, {"sessionId": other.session.id, "success": True})
    assert await home.found(other) is None and await home.found(alice) is not None
    body = {"sessionId": alice.session.id}
    await client.post(api("sessions/logout.me"), json=body, headers=pair(alice))
    assert await home.found(alice) is None


async def test_sessions_of_other_users_look_unknown(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    for id in (alice.session.id, "tTouumJMrHMjnedWf", "", "x" * 4096, "../me", "' OR 1=1 --"):
        answer = await client.post(
            api("sessions/logout.me"), json={"sessionId": id}, headers=pair(root)
        )
        assert is_answer(answer, 404, NOT_FOUND)
        query = {"sessionId": id}
        answer = await client.get(api("sessions/info"), params=query, headers=pair(root))
        assert is_answer(answer, 404, NOT_FOUND)
    assert await home.found(alice) is not None


# sessions/list


async def logged_in(client: httpx.AsyncClient, agent: str, name: str = "alice") -> dict[str, str]:
    answer = await client.post(
        api("login"), json=RIGHT | {"user": name}, headers={"user-agent": agent}
    )
    client.cookies.clear()
    data = answer.json()["data"]
    return {"X-User-Id": data["userId"], "X-Auth-Token": data["authToken"]}


async def test_a_list_has_every_documented_field(home: House, client: httpx.AsyncClient) -> None:
    await home.opened()
    home.clock.now += 60
    headers = await logged_in(client, FIREFOX)
    answer = await client.get(api("sessions/list"), headers=headers)
    newest, oldest = await home.sessions()
    device = {
        "type": "browser",
        "name": "Firefox",
        "longVersion": "128.0",
        "os": {"name": "Linux", "version": ""},
        "version": "128.0",
    }
    unknown = {
        "type": "other",
        "name": "",
        "longVersion": "",
        "os": {"name": "", "version": ""},
        "version": "",
    }
    shared = {"userId": newest.user.id}
    sessions = [
        {
            "sessionId": newest.id,
            **shared,
            "device": device,
            "host": HOST,
            "ip": "192.0.2.1",
            "loginAt": "2027-01-15T08:01:00.250Z",
            "_id": newest.id,
            "current": True,
        },
        {
            "sessionId": oldest.id,
            **shared,
            "device": unknown,
            "host": HOST,
            "ip": "192.0.2.7",
            "loginAt": "2027-01-15T08:00:00.250Z",
            "_id": oldest.id,
            "current": False,
        },
    ]
    whole = {"sessions": sessions, "total": 2, "count": 50, "offset": 0, "success": True}
    assert is_answer(answer, 200, whole)


async def test_a_list_has_the_users_sessions_of_every_entrance(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    ended, gone = await home.opened(), await home.opened(level=PENDING)
    await home.accounts.sessions.end(ended.session, home.clock())
    xhr = await home.opened(kind="xhr")
    answer = await client.get(api("sessions/list"), headers=pair(alice))
    ids = {each["sessionId"] for each in answer.json()["sessions"]}
    assert ids == {alice.session.id, xhr.session.id}
    assert gone.session.id not in answer.text and root.session.id not in answer.text


async def listed(client: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> Any:
    answer = await client.get(api("sessions/list"), params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_pages_are_limited_and_report_their_size(
    home: House, client: httpx.AsyncClient, alice: Opened
) -> None:
    for _ in range(4):
        home.clock.now += 1
        await home.opened()
    order = [each.id for each in await home.sessions()]
    page = await listed(client, pair(alice), offset=1, count=2)
    assert [each["_id"] for each in page["sessions"]] == order[1:3]
    assert (page["total"], page["count"], page["offset"]) == (5, 2, 1)
    page = await listed(client, pair(alice), offset=9, count=1000)
    assert (page["sessions"], page["total"], page["count"]) == ([], 5, 100)
    assert (await listed(client, pair(alice), count=0, offset=""))["count"] == 50


async def test_a_filter_matches_device_and_id_without_case(
    home: House, client: httpx.AsyncClient
) -> None:
    headers = await logged_in(client, FIREFOX)
    other = await home.opened()
    assert (await listed(client, headers, filter="FIREfox"))["total"] == 1
    assert (await listed(client, headers, filter=other.session.id[:9].lower()))["total"] == 1
    assert (await listed(client, headers, filter="fire.*"))["total"] == 0, "no pattern"
    assert (await listed(client, headers, filter=""))["total"] == 2


@pytest.mark.parametrize(
    "key", ["loginAt", "device.name", "device.os.name", "device.os.version", "_user.name"]
)
async def test_lists_are_sorted_by_any_documented_key_both_ways(
    home: House, client: httpx.AsyncClient, key: str
) -> None:
    headers = await logged_in(client, PHONE)
    home.clock.now += 1
    await home.opened()
    up = await listed(client, headers, sort=json.dumps({key: 1}))
    down = await listed(client, headers, sort=json.dumps({key: -1, "_user.username": 1}))
    first, last = ([each["_id"] for each in page["sessions"]] for page in (up, down))
    assert len(first) == 2 and (first == last[::-1] or key == "_user.name")


async def test_an_unknown_sort_key_is_a_400(client: httpx.AsyncClient, alice: Opened) -> None:
    query = {"sort": '{"loginToken":1}'}
    answer = await client.get(api("sessions/list"), params=query, headers=pair(alice))
    assert is_answer(answer, 400, {"success": False, "error": "error-invalid-sort-keys"})


BAD_QUERIES = [
    "count=x",
    "count=-1",
    "count=1e3",
    "offset=9999999999",
    "count=%F0%9D%9F%99",
    "count=1&count=2",
    "fields=x",
    "sort=x",
    "sort=[]",
    "sort=1",
    'sort={"loginAt":2}',
    'sort={"loginAt":true}',
    'sort={"loginAt":NaN}',
    'sort={"loginAt":"-1"}',
    "sort=" + "[" * 4000,
    "sort=" + "1" * 4000,
    "filter=%00",
    "filter=" + "x" * 5000,
]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=[query[:24] for query in BAD_QUERIES])
async def test_a_query_of_another_form_is_a_400(
    client: httpx.AsyncClient, alice: Opened, query: str
) -> None:
    answer = await client.get(api("sessions/list") + "?" + query, headers=pair(alice))
    assert is_failure(answer, 400, "invalid-params")


# sessions/info


async def info(client: httpx.AsyncClient, id: str, headers: dict[str, str]) -> httpx.Response:
    return await client.get(api("sessions/info"), params={"sessionId": id}, headers=headers)


async def test_info_returns_every_field_of_an_own_session(
    home: House, client: httpx.AsyncClient
) -> None:
    headers = await logged_in(client, FIREFOX)
    (session,) = await home.sessions()
    record = (await info(client, session.id, headers)).json()
    assert list(record)[-1] == "success" and record["success"] is True
    mark = record["loginToken"]
    assert len(base64.b64decode(mark)) == 32, "the form of a hash, and not the token's"
    at = "2027-01-15T08:00:00.250Z"
    assert {key: record[key] for key in record if key not in ("device", "loginToken")} == {
        "_id": session.id,
        "type": "session",
        "sessionId": session.id,
        "instanceId": HOST,
        "ip": "192.0.2.1",
        "host": HOST,
        "userId": session.user.id,
        "roles": ["user"],
        "mostImportantRole": "user",
        "loginAt": at,
        "day": 15,
        "month": 1,
        "year": 2027,
        "searchTerm": f"FirefoxbrowserLinux{session.id}{session.user.id}",
        "createdAt": at,
        "_updatedAt": at,
        "closedAt": at,
        "lastActivityAt": at,
        "success": True,
    }


async def test_no_stored_part_of_a_token_is_revealed(
    home: House, client: httpx.AsyncClient, alice: Opened
) -> None:
    """CVE-2026-40166: read-only endpoints revealed secrets."""
    digest = home.accounts.tokens.digest(alice.token)
    told = (await info(client, alice.session.id, pair(alice))).text
    for secret in (digest.hex(), base64.b64encode(digest).decode(), alice.token):
        assert secret not in told


async def test_an_ended_session_shows_when_and_by_whom(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    one, two = await home.opened(), await home.opened()
    await home.accounts.sessions.revoke(two.session.id, actor=root.session.user, now=home.clock())
    await home.accounts.sessions.end(one.session, home.clock())
    by_root = (await info(client, two.session.id, pair(alice))).json()
    assert by_root["logoutAt"] == "2027-01-15T08:00:00.250Z"
    assert by_root["logoutBy"] == root.session.user.id
    by_self = (await info(client, one.session.id, pair(alice))).json()
    assert by_self["logoutBy"] == alice.session.user.id


@pytest.mark.parametrize("query", ["", "sessionId=a&sessionId=b", "sessionId=a&more=1"])
@pytest.mark.parametrize("name", ["sessions/info", "sessions/info.admin"])
async def test_info_requires_exactly_one_id(
    client: httpx.AsyncClient, root: Opened, name: str, query: str
) -> None:
    answer = await client.get(f"{api(name)}?{query}", headers=pair(root))
    assert is_failure(answer, 400, "invalid-params")


# sessions/list.all and sessions/info.admin


@pytest.mark.parametrize("name", ["sessions/list.all", "sessions/info.admin?sessionId=x"])
async def test_listing_all_sessions_requires_permission_and_a_factor(
    client: httpx.AsyncClient, root: Opened, alice: Opened, name: str
) -> None:
    assert is_answer(await client.get(api(name)), 401, LOGGED_OUT)
    assert is_answer(await client.get(api(name), headers=pair(alice, SHA256)), 403, FORBIDDEN)
    assert is_failure(await client.get(api(name), headers=pair(root)), 400, "totp-required")
    answer = await client.get(api(name), headers=pair(root, "wrong"))
    assert is_failure(answer, 400, "totp-invalid")


async def test_all_sessions_are_listed_with_their_users(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    answer = await client.get(api("sessions/list.all"), headers=pair(root, SHA256))
    assert answer.status_code == 200
    page = answer.json()
    assert page["total"] == 2 and page["success"] is True
    users = {each["_id"]: each["_user"] for each in page["sessions"]}
    id = alice.session.user.id
    assert users[alice.session.id] == {"_id": id, "username": "alice", "name": "alice"}
    for word, number in (("ALICE", 1), ("elsewhere", 0), ("", 2)):
        query = {"filter": word, "sort": '{"_user.username":-1}'}
        answer = await client.get(api("sessions/list.all"), params=query, headers=pair(root))
        assert answer.json()["total"] == number
    first = [each["_user"]["username"] for each in answer.json()["sessions"]]
    assert first == ["root", "alice"]
    query = {"sort": '{"ip":1}'}
    answer = await client.get(api("sessions/list.all"), params=query, headers=pair(root))
    assert is_answer(answer, 400, {"success": False, "error": "error-invalid-sort-keys"})


async def test_any_live_session_is_shown_by_its_exact_id(
    home: House, client: httpx.AsyncClient, root: Opened, alice: Opened
) -> None:
    async def ask(id: str) -> httpx.Response:
        query = {"sessionId": id}
        headers = pair(root, SHA256)
        return await client.get(api("sessions/info.admin"), params=query, headers=headers)

    shown = await ask(alice.session.id)
    assert shown.json()["_user"]["username"] == "alice" and shown.json()["success"] is True
    assert is_answer(await ask(alice.session.id[:-1]), 404, NOT_FOUND)
    await home.accounts.sessions.end(alice.session, home.clock())
    assert is_answer(await ask(alice.session.id), 404, NOT_FOUND)


async def test_a_super_admin_is_an_admin(home: House, client: httpx.AsyncClient) -> None:
    await home.add("boss", super_admin=True)
    boss = await home.opened("boss")
    answer = await client.get(api("sessions/list.all"), headers=pair(boss, SHA256))
    assert answer.status_code == 200
    assert (await client.get(api("me"), headers=pair(boss))).json()["roles"] == ["user", "admin"]
