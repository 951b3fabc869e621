"""The administration API: only tokens of administrators, no sessions, and the core's ranks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.factors import totp
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import InvalidToken
from doorward.accounts.session import TokenScope
from doorward.accounts.token import NewToken
from doorward.dialects.api.error_table import ERROR_TABLE

from tests.support.asgi import scope as asgi_scope
from tests.support.errors import list_errors
from tests.support.front import Build
from tests.support.house import House, house
from tests.support.waiting import PATIENCE_S

API = "/.doorward/api/v1"
Explained = Callable[[str], Awaitable[tuple[int, Any]]]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, api={"enabled": True}) as built:
        await built.add("alice")
        await built.add("boss", super_admin=True)
        await built.add("helper", roles=["admin"])
        yield built


async def token_of(home: House, name: str, admin: str | None = "write", **more: Any) -> str:
    user = await home.accounts.users.get(name)
    new = NewToken("script", TokenScope(admin=admin, **more))
    made = await home.accounts.api_tokens.add_token(user, new, actor=OWNER, now=home.clock())
    return made.text


async def client_of(home: House, name: str = "boss", **more: Any) -> httpx.AsyncClient:
    return home.program(authorization=f"Bearer {await token_of(home, name, **more)}")


@pytest.fixture
async def boss(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with await client_of(home) as client:
        yield client


async def id_of(home: House, name: str) -> str:
    return (await home.accounts.users.get(name)).id


def is_error(response: httpx.Response, status: int, code: str) -> bool:
    assert response.status_code == status, response.text
    assert response.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert response.json()["error"] == code, response.text
    return True


def test_every_error_has_a_row() -> None:
    assert set(ERROR_TABLE) == set(list_errors())


# Access

PATHS = {
    "users": ("GET", "POST"),
    "users/x": ("GET", "PATCH", "DELETE"),
    **{
        f"users/x/{act}": ("POST",)
        for act in ("ban", "unban", "disable", "enable", "unlock", "reset-factors", "password")
    },
    "users/x/sessions": ("GET", "DELETE"),
    "users/x/tokens": ("GET", "DELETE"),
    "sessions": ("GET",),
    "sessions/x": ("DELETE",),
    "tokens": ("GET",),
    "tokens/x": ("GET", "DELETE"),
    "lockouts": ("GET",),
    "lockouts/unlock": ("POST",),
    "audit": ("GET",),
    "audit/events": ("GET",),
}
EVERY = [(method, path) for path, methods in PATHS.items() for method in methods]


async def test_the_table_has_every_endpoint(home: House) -> None:
    told = json.loads(json.dumps(home.description._told))["paths"]
    mine = {path.removeprefix(f"{API}/").replace("{id}", "x"): path for path in told if API in path}
    assert {path: tuple(m.upper() for m in told[full]) for path, full in mine.items()} == PATHS


@pytest.mark.parametrize(("method", "path"), EVERY)
async def test_only_an_admin_token_gives_access(home: House, method: str, path: str) -> None:
    """Neither a fresh session nor an administrator's token for applications gives access, so no
    page of another site can use a cookie here."""
    opened = await home.opened("boss", second_factor_at=home.clock())
    plain = await token_of(home, "boss", None)
    async with home.program() as client:
        for headers in (
            {},
            {"cookie": home.cookie(opened)},
            {"authorization": f"Bearer {opened.token}"},
            {"authorization": "Bearer dw_" + "x" * 55},
            {"authorization": "Bearer"},
        ):
            answer = await client.request(method, f"{API}/{path}", headers=headers)
            assert is_error(answer, 401, "unauthenticated"), headers
        answer = await client.request(
            method, f"{API}/{path}", headers={"authorization": f"Bearer {plain}"}
        )
        assert is_error(answer, 403, "not_permitted")


@pytest.mark.parametrize(("method", "path"), EVERY)
async def test_a_read_only_token_cannot_change_anything(
    home: House, method: str, path: str
) -> None:
    if path == "audit/events":
        return  # a stream, which is read below
    async with await client_of(home, admin="read") as client:
        answer = await client.request(method, f"{API}/{path}")
    if method == "GET":
        assert answer.status_code in (200, 404)
    else:
        assert is_error(answer, 403, "not_permitted")


async def test_the_api_is_off_by_default(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.program() as client:
        assert (await client.get(f"{API}/users")).status_code == 404


async def test_a_token_loses_access_with_its_users_role(
    home: House, boss: httpx.AsyncClient
) -> None:
    """CVE-2024-41942, and GHSA-x883-2vmg-xwf7: a revoked role that still counted."""
    async with await client_of(home, "helper") as helper:
        assert (await helper.get(f"{API}/users")).status_code == 200
        done = await boss.patch(f"{API}/users/{await id_of(home, 'helper')}", json={"roles": []})
        assert done.status_code == 204
        assert is_error(await helper.get(f"{API}/users"), 403, "not_permitted")
        await boss.post(f"{API}/users/{await id_of(home, 'helper')}/ban")
        assert is_error(await helper.get(f"{API}/users"), 401, "unauthenticated")


async def test_a_token_is_limited_to_its_networks_and_methods(home: House) -> None:
    async with await client_of(home, networks=("198.51.100.0/24",)) as elsewhere:
        assert is_error(await elsewhere.get(f"{API}/users"), 403, "not_permitted")
    async with await client_of(home, networks=("192.0.2.0/24",), methods=("GET",)) as here:
        assert (await here.get(f"{API}/users")).status_code == 200
        assert is_error(await here.post(f"{API}/users", json={}), 403, "not_permitted")
    user = await home.accounts.users.get("boss")
    with pytest.raises(InvalidToken):
        scope = TokenScope(routes=("/x",), admin="read")
        await home.accounts.api_tokens.add_token(
            user, NewToken("x", scope), actor=OWNER, now=home.clock()
        )


async def test_wrong_tokens_lock_their_network(tmp_path: Path) -> None:
    limits = {"network_attempts": 3}
    async with house(tmp_path, api={"enabled": True}, regulation=limits) as home:
        await home.add("boss", super_admin=True)
        text = await token_of(home, "boss")
        async with home.program() as client:
            for number in range(5):
                wrong = {"authorization": f"Bearer {text[:-1]}{number}"}
                answer = await client.get(f"{API}/users", headers=wrong)
                if answer.status_code != 200:
                    code = "unauthenticated" if number < 4 else "locked_out"
                    assert answer.json()["error"] in (code, "locked_out")
            right = {"authorization": f"Bearer {text}"}
            assert (await client.get(f"{API}/users", headers=right)).status_code == 200


async def test_the_use_of_a_token_is_listed(home: House, boss: httpx.AsyncClient) -> None:
    await boss.get(f"{API}/users")
    await home.accounts.token_uses.flush()
    listed = (await boss.get(f"{API}/tokens")).json()["tokens"]
    assert listed[0]["last_used_at"] is not None and listed[0]["address"] == "192.0.2.1"


# Users


async def test_users_are_listed_in_pages_and_searched(home: House, boss: httpx.AsyncClient) -> None:
    for number in range(7):
        await home.add(f"user{number}")
    names, cursor = [], None
    while True:
        query = {"limit": "3"} | ({} if cursor is None else {"cursor": cursor})
        page = (await boss.get(f"{API}/users", params=query)).json()
        names += [user["username"] for user in page["users"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == sorted(["alice", "boss", "helper", *(f"user{n}" for n in range(7))])
    found = (await boss.get(f"{API}/users", params={"q": "USER3"})).json()
    assert [user["username"] for user in found["users"]] == ["user3"] and found["next"] is None
    assert (await boss.get(f"{API}/users", params={"banned": "true"})).json()["users"] == []


async def test_a_user_is_added_edited_and_banned(home: House, boss: httpx.AsyncClient) -> None:
    given = {"username": "Carol", "name": "Carol C.", "email": "c@example.com", "groups": ["wiki"]}
    added = await boss.post(f"{API}/users", json=given)
    assert added.status_code == 201
    user = added.json()["user"]
    assert (user["username"], user["groups"]) == ("Carol", ["wiki"])
    assert user["must_change_password"]
    assert len(added.json()["password"]) >= 16
    one = f"{API}/users/{user['id']}"
    assert (await boss.patch(one, json={"groups": ["ops"]})).status_code == 204
    shown = (await boss.get(one)).json()
    assert shown["user"]["groups"] == ["ops"] and shown["user"]["name"] == "Carol C."
    assert shown["second_factors"] == []
    for act, key, value in (
        ("ban", "banned", True),
        ("unban", "banned", False),
        ("disable", "active", False),
        ("enable", "active", True),
    ):
        assert (await boss.post(f"{one}/{act}")).status_code == 204
        assert (await boss.get(one)).json()["user"][key] is value
    assert (await boss.post(f"{one}/unlock", json={})).status_code == 204
    assert is_error(await boss.post(f"{one}/reset-factors"), 409, "totp_not_on")
    again = await boss.post(f"{API}/users", json={"username": "carol"})
    assert is_error(again, 409, "name_taken")
    records = await home.accounts.audit_log.latest(RecordFilter(kind=Kind.USER_BANNED), 1)
    assert (records[0].event.actor, records[0].event.subject) == ("boss", "Carol")


async def test_a_user_is_added_with_a_password(home: House, boss: httpx.AsyncClient) -> None:
    """The user already knows it, so the first login does not require another."""
    given = {"username": "dora", "password": "violet tractor under seven moons"}
    added = await boss.post(f"{API}/users", json=given | {"roles": ["editor"]})
    assert added.status_code == 201 and added.json()["password"] is None
    user = added.json()["user"]
    assert user["roles"] == ["editor"] and not user["must_change_password"]
    async with home.program() as client:
        login = {"username": "dora", "password": given["password"]}
        assert (await client.post("/xhr/login", json=login)).status_code == 200
    weak = await boss.post(f"{API}/users", json={"username": "emil", "password": "short"})
    assert is_error(weak, 400, "weak_password")
    left = await boss.post(f"{API}/users", json={"username": "f", "must_change_password": False})
    assert is_error(left, 400, "bad_request"), "a generated one was seen by two"


async def test_an_address_and_roles_are_replaced(home: House, boss: httpx.AsyncClient) -> None:
    await home.accounts.users.add(
        "gina", "violet tractor under seven moons", now=home.clock(), roles=["editor", "author"]
    )
    one = f"{API}/users/{await id_of(home, 'gina')}"
    for address, emails in (
        ("g@example.com", [("g@example.com", True)]),
        ("gina@example.com", [("gina@example.com", True)]),
        ("", []),
    ):
        assert (await boss.patch(one, json={"email": address})).status_code == 204
        user = (await boss.get(one)).json()["user"]
        assert [(email["address"], email["verified"]) for email in user["emails"]] == emails
        assert set(user["roles"]) == {"author", "editor"}
    body = {"roles": ["author"], "must_change_password": True}
    assert (await boss.patch(one, json=body)).status_code == 204
    user = (await boss.get(one)).json()["user"]
    assert user["roles"] == ["author"] and user["must_change_password"]
    taken = await boss.patch(one, json={"email": "alice"})
    assert is_error(taken, 400, "invalid_email")
    await boss.patch(f"{API}/users/{await id_of(home, 'alice')}", json={"email": "a@example.com"})
    assert is_error(await boss.patch(one, json={"email": "A@example.com"}), 409, "name_taken")


async def test_a_deleted_user_is_gone_with_all_sessions(
    home: House, boss: httpx.AsyncClient
) -> None:
    opened = await home.opened("alice")
    one = f"{API}/users/{await id_of(home, 'alice')}"
    assert (await boss.delete(one)).status_code == 204
    assert await home.found(opened) is None
    assert is_error(await boss.get(one), 404, "user_not_found")
    assert is_error(await boss.delete(one), 404, "user_not_found")
    records = await home.accounts.audit_log.latest(RecordFilter(kind=Kind.USER_DELETED), 1)
    assert (records[0].event.actor, records[0].event.subject) == ("boss", "alice")


async def test_a_password_is_set_or_generated(home: House, boss: httpx.AsyncClient) -> None:
    one = f"{API}/users/{await id_of(home, 'alice')}/password"
    opened = await home.opened()
    done = await boss.post(one, json={"password": "violet tractor under seven moons"})
    assert done.json() == {"password": None}
    assert await home.found(opened) is None, "sessions end"
    assert not (await home.accounts.users.get("alice")).must_change_password
    made = await boss.post(one)
    assert len(made.json()["password"]) >= 16
    assert (await home.accounts.users.get("alice")).must_change_password
    assert is_error(await boss.post(one, json={"password": "short"}), 400, "weak_password")
    assert is_error(await boss.post(one, json={"must_change_password": False}), 400, "bad_request")


async def test_second_factors_are_reset(home: House, boss: httpx.AsyncClient) -> None:
    user = await home.accounts.users.get("alice")
    await home.accounts.second_factors.adopt_totp(user, totp.new_secret(), home.clock())
    one = f"{API}/users/{user.id}"
    assert (await boss.get(one)).json()["second_factors"] == ["totp"]
    assert (await boss.post(f"{one}/reset-factors")).status_code == 204
    assert (await boss.get(one)).json()["second_factors"] == []


CHANGES = [
    ("PATCH", "", {"name": "Else"}),
    *(("POST", f"/{act}", None) for act in ("ban", "disable", "unlock", "reset-factors")),
    ("POST", "/password", None),
    ("DELETE", "", None),
    ("DELETE", "/sessions", None),
    ("DELETE", "/tokens", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize("subject", ["boss", "helper"])
async def test_rank_is_enforced(
    home: House, method: str, path: str, body: Any, subject: str
) -> None:
    """An administrator cannot act on other administrators, or on the owner of the token."""
    async with await client_of(home, "helper") as helper:
        one = f"{API}/users/{await id_of(home, subject)}{path}"
        answer = await helper.request(method, one, json=body)
    if subject == "helper" and path in ("/sessions", "/tokens"):
        assert answer.status_code == 200, "one's own end"
    else:
        assert is_error(answer, 403, "not_permitted")


async def test_only_super_admins_make_administrators(home: House) -> None:
    async with await client_of(home, "helper") as helper:
        made = await helper.post(f"{API}/users", json={"username": "eve", "roles": ["admin"]})
        assert is_error(made, 403, "not_permitted")
        one = f"{API}/users/{await id_of(home, 'alice')}"
        assert is_error(await helper.patch(one, json={"roles": ["admin"]}), 403, "not_permitted")
        assert (await helper.patch(one, json={"roles": ["editor"]})).status_code == 204


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "username"),
        ({"username": 1}, "username"),
        ({"username": "x", "user_name": "y"}, "user_name"),
        ({"username": "x", "groups": "wiki"}, "groups"),
        ({"username": "x", "groups": [1]}, "groups"),
        ({"username": "x", "must_change_password": "yes"}, "must_change_password"),
        ({"username": "x", "name": "a\0b"}, "name"),
        ([], "object"),
    ],
)
async def test_an_invalid_body_is_refused_with_the_reason(
    boss: httpx.AsyncClient, body: Any, says: str
) -> None:
    answer = await boss.post(f"{API}/users", json=body)
    assert is_error(answer, 400, "bad_request") and says in answer.json()["message"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=", "cursor=x", "cursor=", "banned=1", "q=%00"],
)
async def test_an_invalid_query_is_refused(boss: httpx.AsyncClient, query: str) -> None:
    assert is_error(await boss.get(f"{API}/users?{query}"), 400, "bad_request")


async def test_unknown_ids_are_a_404(boss: httpx.AsyncClient) -> None:
    for method, path, code in (
        ("GET", "users/x", "user_not_found"),
        ("POST", f"users/{'x' * 17}/ban", "user_not_found"),
        ("DELETE", "sessions/x", "session_not_found"),
        ("GET", "tokens/x", "token_not_found"),
        ("DELETE", "tokens/x", "token_not_found"),
    ):
        assert is_error(await boss.request(method, f"{API}/{path}"), 404, code)


async def test_other_methods_are_refused_in_the_apis_format(boss: httpx.AsyncClient) -> None:
    answer = await boss.put(f"{API}/users")
    assert answer.status_code == 405 and answer.json()["error"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, POST, HEAD, OPTIONS"


# Sessions and tokens


async def test_sessions_are_listed_and_ended(home: House, boss: httpx.AsyncClient) -> None:
    opened = [await home.opened() for _ in range(4)]
    page = (await boss.get(f"{API}/sessions", params={"limit": "3"})).json()
    rest = (await boss.get(f"{API}/sessions", params={"cursor": page["next"]})).json()
    listed = [one["id"] for one in (*page["sessions"], *rest["sessions"])]
    assert listed == [one.session.id for one in reversed(opened)] and rest["next"] is None
    assert page["sessions"][0]["user"] == "alice"
    assert (await boss.delete(f"{API}/sessions/{listed[0]}")).status_code == 204
    assert await home.found(opened[-1]) is None
    mine = f"{API}/users/{await id_of(home, 'alice')}/sessions"
    assert len((await boss.get(mine)).json()["sessions"]) == 3
    assert (await boss.delete(mine)).json() == {"ended": 3}


async def test_tokens_are_listed_and_ended(home: House, boss: httpx.AsyncClient) -> None:
    texts = [await token_of(home, "alice", None) for _ in range(3)]
    page = (await boss.get(f"{API}/tokens", params={"limit": "2"})).json()
    assert [one["id"] for one in page["tokens"]] == [texts[2][3:20], texts[1][3:20]]
    assert page["next"] is not None and texts[2] not in json.dumps(page)
    one = f"{API}/tokens/{texts[0][3:20]}"
    assert (await boss.get(one)).json()["ended"] is False
    assert (await boss.delete(one)).status_code == 204
    assert (await boss.get(one)).json()["ended"] is True
    mine = f"{API}/users/{await id_of(home, 'alice')}/tokens"
    assert len((await boss.get(mine)).json()["tokens"]) == 2
    assert (await boss.delete(mine)).json() == {"ended": 2}


async def test_a_revoked_token_loses_access(home: House, boss: httpx.AsyncClient) -> None:
    text = await token_of(home, "boss")
    async with home.program(authorization=f"Bearer {text}") as client:
        assert (await client.get(f"{API}/users")).status_code == 200
        await boss.delete(f"{API}/tokens/{text[3:20]}")
        assert is_error(await client.get(f"{API}/users"), 401, "unauthenticated")


# Lock-outs and records


async def test_lock_outs_are_listed_and_lifted(home: House, boss: httpx.AsyncClient) -> None:
    form = {"username": "alice", "password": "wrong"}
    async with home.program() as guesser:
        for _ in range(5):
            await guesser.post("/xhr/login", json=form)
    [lock] = (await boss.get(f"{API}/lockouts")).json()["passwords"]
    assert (lock["scope"], lock["user"], lock["network"]) == ("user", "alice", "192.0.2.1/32")
    await boss.post(f"{API}/users/{await id_of(home, 'alice')}/unlock")
    assert (await boss.get(f"{API}/lockouts")).json() == {"passwords": [], "codes": []}
    done = await boss.post(f"{API}/lockouts/unlock", json={"address": "192.0.2.1"})
    assert done.status_code == 204
    wrong = await boss.post(f"{API}/lockouts/unlock", json={"address": "here"})
    assert is_error(wrong, 400, "bad_request")


async def test_records_are_read_by_user_kind_and_time(home: House, boss: httpx.AsyncClient) -> None:
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    home.clock.now += 3600
    await home.accounts.users.unban("alice", home.clock(), actor=OWNER)
    newest = (await boss.get(f"{API}/audit", params={"limit": "1"})).json()
    assert newest["records"][0]["kind"] == "user_unbanned" and newest["next"]
    older = (await boss.get(f"{API}/audit", params={"cursor": newest["next"]})).json()
    assert older["records"][0]["kind"] == "user_banned"
    chosen = {"user": "alice", "kind": "user_banned"}
    [one] = (await boss.get(f"{API}/audit", params=chosen)).json()["records"]
    later = {"since": "2100-01-01T00:00:00Z"}
    assert (await boss.get(f"{API}/audit", params=later)).json()["records"] == []
    since = {"since": one["at"], "kind": "user_unbanned"}
    assert len((await boss.get(f"{API}/audit", params=since)).json()["records"]) == 1
    for query in ("kind=nothing", "since=yesterday", "since=2026-01-01", "user=%00"):
        assert is_error(await boss.get(f"{API}/audit?{query}"), 400, "bad_request")


class Following:
    """A client that reads the stream piece by piece."""

    def __init__(self, home: House, text: str, last: str | None = None, query: str = "") -> None:
        headers = [(b"host", b"wiki.test"), (b"authorization", f"Bearer {text}".encode())]
        if last is not None:
            headers.append((b"last-event-id", last.encode()))
        self.pieces: asyncio.Queue[Any] = asyncio.Queue()
        asked = asgi_scope(f"{API}/audit/events{query}", headers)
        self.gone = asyncio.Event()
        self.task = asyncio.ensure_future(home.app(asked, self.receive, self.pieces.put))

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def event(self) -> dict[str, Any]:
        """The next record; comments are skipped."""
        while True:
            message = await asyncio.wait_for(self.pieces.get(), PATIENCE_S)
            lines = message.get("body", b"").decode().splitlines()
            if data := [line for line in lines if line.startswith("data: ")]:
                found: dict[str, Any] = json.loads(data[0][6:])
                assert f"id: {found['number']}" in lines and "event: record" in lines
                return found

    async def close(self) -> None:
        self.gone.set()
        await asyncio.wait_for(self.task, PATIENCE_S)


async def test_records_are_streamed_as_they_arrive(home: House) -> None:
    text = await token_of(home, "boss", "read")
    following = Following(home, text, query="?kind=user_banned")
    start = await asyncio.wait_for(following.pieces.get(), PATIENCE_S)
    assert start["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    await asyncio.wait_for(following.pieces.get(), PATIENCE_S)
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    await home.accounts.users.unban("alice", home.clock(), actor=OWNER)
    await home.accounts.users.ban("alice", home.clock(), actor=OWNER)
    first, second = await following.event(), await following.event()
    assert first["kind"] == second["kind"] == "user_banned" and first["subject"] == "alice"
    assert second["number"] == first["number"] + 2
    await following.close()
    again = Following(home, text, last=str(first["number"]))
    assert (await again.event())["kind"] == "user_unbanned", "it goes on where it was"
    await again.close()


async def test_the_stream_ends_when_its_token_is_revoked(home: House) -> None:
    text = await token_of(home, "boss", "read")
    following = Following(home, text)
    await asyncio.wait_for(following.pieces.get(), PATIENCE_S)
    await home.accounts.api_tokens.revoke(text[3:20], actor=OWNER, now=home.clock())
    await asyncio.wait_for(following.task, PATIENCE_S)


async def test_a_head_request_for_the_stream_ends(home: House, boss: httpx.AsyncClient) -> None:
    answer = await boss.head(f"{API}/audit/events")
    assert answer.status_code == 200 and answer.content == b""


# Explaining requests


@pytest.fixture
async def explained(fronts: Build) -> AsyncIterator[Explained]:
    rules = [{"path": "/admin/*", "groups": ["admins"]}]
    front = await fronts(access={"rules": rules}, api={"enabled": True})
    user = (await front.opened("boss", super_admin=True)).session.user
    await front.opened("alice")
    new = NewToken("script", TokenScope(admin="read"))
    now = front.clock()
    made = await front.accounts.api_tokens.add_token(user, new, actor=OWNER, now=now)
    bearer = (b"authorization", b"Bearer " + made.text.encode())

    async def ask(query: str) -> tuple[int, Any]:
        answer = await front.get(f"{API}/explain?{query}", bearer)
        return answer.status, json.loads(answer.body)

    yield ask


async def test_it_explains_the_decision_for_a_request(explained: Explained) -> None:
    status, said = await explained("url=/admin/x&user=alice&method=DELETE")
    assert (status, said["outcome"], said["status"]) == (200, "refused", 403)
    assert said["user"] == "alice" and said["rules"][-1]["place"]["key"] == "access.rules[0]"
    assert said["request_line"] is None
    status, said = await explained("url=/elsewhere?x=1%26y=2&user=boss&second_factor=true")
    assert (status, said["outcome"]) == (200, "forwarded")
    assert said["request_line"].startswith("GET /elsewhere")
    assert ["Remote-User", "boss"] in said["headers"]
    assert (await explained("url=/.doorward/login"))[1]["outcome"] == "internal"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("url=ftp://x/", 400),
        ("url=http://[", 400),
        ("url=", 400),
        ("url=/x&address=here", 400),
        ("url=/x&second_factor=1", 400),
        ("url=/x&user=nobody", 404),
        ("url=/x&method=%C3%A4", 200),
        ("url=/%C3%A4%00", 400),
    ],
)
async def test_an_invalid_explain_query_is_refused(
    explained: Explained, query: str, status: int
) -> None:
    assert (await explained(query))[0] == status
