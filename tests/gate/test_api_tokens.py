"""API tokens in requests: what they allow, what they never allow, and that they are not
forwarded."""

from __future__ import annotations

import base64
import re
import sqlite3
from contextlib import closing
from itertools import product
from typing import Any, cast

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.session import TokenScope
from doorward.accounts.token import MadeToken, NewToken
from doorward.accounts.tokens.form import new_text
from doorward.app import Application
from doorward.gate.tokens import CompiledScope
from doorward.storage.tokens import BY_ID

from tests.support.asgi import ask, scope
from tests.support.front import ACCESS, HOST, Build, Front, accepted
from tests.support.origin import Origin
from tests.support.sessions import open_session
from tests.support.wire import Header, values_of

WRONG = str(new_text())


def bearer(text: str) -> Header:
    return b"authorization", b"Bearer " + text.encode()


def basic(name: str, password: str) -> Header:
    return b"authorization", b"Basic " + base64.b64encode(f"{name}:{password}".encode())


def api_key(text: str) -> Header:
    return b"x-api-key", text.encode()


async def made(front: Front, name: str = "alice", **more: Any) -> MadeToken:
    """Create a token, and its user if there is none yet. `scope` and `life_s` are the token's; the
    rest is the user's."""
    new = {key: more.pop(key) for key in ("scope", "life_s") if key in more}
    user = (await front.opened(name, **more)).session.user
    return await front.accounts.api_tokens.add_token(
        user, NewToken("phone", **new), actor=OWNER, now=front.clock()
    )


def user_at(front: Front) -> list[bytes]:
    return values_of(front.origin.heads[-1], b"remote-user")


def leaks(front: Front, text: str) -> bool:
    """Whether an application ever got the token, or its base64."""
    sent = b"".join(front.origin.heads)
    return any(
        part in sent
        for shift in range(3)
        for part in (text.encode(), base64.b64encode(b" " * shift + text.encode())[4:-4])
    )


@pytest.fixture
async def keyed(fronts: Build, origin: Origin) -> Front:
    """A front whose route accepts tokens in X-Api-Key."""
    return await fronts(
        access=ACCESS, routes=[{"upstream": origin.url, "api_key_header": "X-Api-Key"}]
    )


# Carriers


@pytest.mark.parametrize("way", ["bearer", "basic", "key"])
async def test_a_token_can_be_sent_in_three_ways(keyed: Front, way: str) -> None:
    token = await made(keyed, groups=("wiki",))
    line = {
        "bearer": bearer(token.text),
        "basic": basic("ALICE", token.text),
        "key": api_key(token.text),
    }[way]
    for _ in range(2):  # from storage, then from memory
        assert (await keyed.get("/", line)).status == 200
        assert user_at(keyed) == [b"alice"]
        assert values_of(keyed.origin.heads[-1], b"remote-groups") == [b"wiki"]
        assert values_of(keyed.origin.heads[-1], b"authorization") == []
        assert values_of(keyed.origin.heads[-1], b"x-api-key") == []
    assert not leaks(keyed, token.text)


@pytest.mark.parametrize(
    "line",
    [
        b"bearer %b",
        b"BEARER   %b  ",
    ],
)
async def test_the_scheme_is_read_in_any_case(front: Front, line: bytes) -> None:
    token = await made(front)
    value = line.replace(b"%b", token.text.encode())
    assert (await front.get("/", (b"authorization", value))).status == 200
    assert not leaks(front, token.text)


async def test_an_api_key_header_counts_only_if_the_route_enables_it(front: Front) -> None:
    """Elsewhere the header is the application's own."""
    token = await made(front)
    assert (await front.get("/", api_key(token.text))).status == 401
    assert (await front.get("/public/", api_key("theirs"))).status == 200
    assert values_of(front.origin.heads[-1], b"x-api-key") == [b"theirs"]


async def test_an_api_key_of_the_application_is_forwarded(keyed: Front) -> None:
    token = await made(keyed)
    for lines in ([api_key("theirs")], [(b"x-api-key", b"")]):
        assert (await keyed.get("/", bearer(token.text), *lines)).status == 200
        assert values_of(keyed.origin.heads[-1], b"x-api-key") == [lines[0][1]]
    accept: Header = (b"accept", b"x-api-key: " + token.text.encode())
    assert (await keyed.get("/", accept)).status == 401, "a value is not a header"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([basic("bob", "TOKEN")], 401),
        ([basic("", "TOKEN")], 401),
        ([basic("alice:", "TOKEN")], 401),
        ([bearer("TOKEN"), bearer("TOKEN")], 401),
        ([bearer("TOKEN"), (b"authorization", b"Basic eDp5")], 401),
        ([bearer("TOKEN"), api_key("TOKEN")], 401),
        ([api_key("TOKEN"), api_key("TOKEN")], 401),
        ([(b"authorization", b"TOKEN")], 401),
        ([(b"authorization", b"Digest TOKEN")], 401),
        ([(b"cookie", b"doorward=TOKEN")], 401),
        ([(b"cookie", b"doorward=;token TOKEN")], 401),
        ([(b"x-auth-token", b"TOKEN")], 401),
        ([bearer("TOKEN")], 200),
    ],
)
async def test_a_token_is_accepted_only_in_its_own_headers(
    keyed: Front, lines: list[Header], status: int
) -> None:
    """CVE-2024-47616: a token made for one purpose was accepted for another."""
    token = await made(keyed)
    await keyed.opened("bob")
    raw = token.text.encode()
    assert (await keyed.get("/", bearer(token.text))).status == 200, "memory knows it"
    sent = []
    for name, value in lines:
        if value.startswith(b"Basic ") and b"TOKEN" in base64.b64decode(value[6:]):
            plain = base64.b64decode(value[6:]).replace(b"TOKEN", raw)
            value = b"Basic " + base64.b64encode(plain)
        sent.append((name, value.replace(b"TOKEN", raw)))
    assert (await keyed.get("/", *sent)).status == status


async def test_a_wrong_token_is_no_session_and_is_not_forwarded(keyed: Front) -> None:
    """It has Doorward's form, so it may be a mistyped valid token."""
    good = keyed.cookie(await keyed.opened())
    for line in (bearer(WRONG), basic("alice", WRONG), api_key(WRONG)):
        for _ in range(2):  # from storage, then from memory
            assert (await keyed.get("/", line)).status == 401
            assert (await keyed.get("/", line, good)).status == 401
            assert (await keyed.get("/public/", line)).status == 200
            assert user_at(keyed) == []
    assert not leaks(keyed, WRONG)


async def test_a_token_beside_the_cookie_of_another_user_is_refused(front: Front) -> None:
    token, bob = await made(front), await front.opened("bob")
    for _ in range(2):
        answer = await front.get("/", bearer(token.text), front.cookie(bob))
        assert answer.status == 401 and b"conflicting_credentials" in answer.body


async def test_a_token_takes_precedence_over_the_cookie_of_its_user(front: Front) -> None:
    """The token's scope must keep applying."""
    token = await made(front, scope=TokenScope(routes=("/wiki",)))
    cookie = front.cookie(await front.opened())
    for _ in range(2):
        assert (await front.get("/wiki", bearer(token.text), cookie)).status == 200
        assert (await front.get("/other", bearer(token.text), cookie)).status == 403


async def test_a_forged_cookie_beside_a_token_changes_nothing(front: Front) -> None:
    token = await made(front)
    for _ in range(2):
        forged: Header = (b"cookie", b"doorward=" + b"x" * 43 + b"." + b"y" * 43)
        assert (await front.get("/", bearer(token.text), forged)).status == 200


# What it allows

SCOPES: dict[str, TokenScope] = {
    "everything": TokenScope(),
    "route": TokenScope(routes=("/admin", "/lax")),
    "host": TokenScope(routes=("app.test/admin", "app.test/lax", "other.test/strict")),
    "method": TokenScope(methods=("GET",)),
    "another method": TokenScope(methods=("POST",)),
    "network": TokenScope(networks=("192.0.2.0/24",)),
    "another network": TokenScope(networks=("198.51.100.0/24",)),
    "all three": TokenScope(("/lax",), ("GET",), ("192.0.2.1/32",)),
    "admin": TokenScope(admin="write"),
}
RULES = [
    {"path": "/public/*", "require": "public"},
    {"path": "/closed/*", "require": "deny"},
    {"path": "/admin/*", "groups": ["admins"]},
    {"path": "/strict/*", "require": "two_factor"},
    {"path": "/strict-with-tokens/*", "require": "two_factor", "tokens": True},
]
# What each level allows under each rule, by path. A token allows the same as a session, except
# where a second factor is required.
BY_LEVEL = {
    "/public/x": {"nobody": 200, "full": 200, "two_factor": 200, "token": 200},
    "/closed/x": {"nobody": 403, "full": 403, "two_factor": 403, "token": 403},
    "/admin/x": {"nobody": 401, "full": 200, "two_factor": 200, "token": 200},
    "/strict/x": {"nobody": 401, "full": 401, "two_factor": 200, "token": 403},
    "/strict-with-tokens/x": {"nobody": 401, "full": 401, "two_factor": 200, "token": 200},
    "/lax": {"nobody": 401, "full": 200, "two_factor": 200, "token": 200},
}
WITHIN = {
    "everything": set(BY_LEVEL),
    "route": {"/admin/x", "/lax"},
    "host": {"/admin/x", "/lax"},
    "method": set(BY_LEVEL),
    "another method": set(),
    "network": set(BY_LEVEL),
    "another network": set(),
    "all three": {"/lax"},
    "admin": set(),
}


async def test_scopes_rules_and_levels_all_apply(fronts: Build) -> None:
    front = await fronts(access={"rules": RULES})
    opened = await front.opened("alice", groups=("admins",))
    user = opened.session.user
    proved = await open_session(
        front.accounts.sessions, user, now=front.clock(), second_factor_at=front.clock()
    )
    levels = {
        "nobody": [],
        "full": [front.cookie(opened)],
        "two_factor": [front.cookie(proved)],
    }
    for path, expected in BY_LEVEL.items():
        for level, lines in levels.items():
            assert (await front.get(path, *lines)).status == expected[level], (path, level)
    for name, narrowed in SCOPES.items():
        if narrowed.admin is not None:
            user = (await front.opened("boss", groups=("admins",), super_admin=True)).session.user
        token = await front.accounts.api_tokens.add_token(
            user, NewToken(name, narrowed), actor=OWNER, now=front.clock()
        )
        for path, expected in BY_LEVEL.items():
            status = expected["token"] if path in WITHIN[name] else 403
            if path == "/public/x":
                status = 200  # public; the application gets no user name
            for _ in range(2):  # from storage, then from memory
                answer = await front.get(path, bearer(token.text))
                assert answer.status == status, (name, path)
            if status == 200:
                told = [user.username.encode()] if path in WITHIN[name] else []
                assert user_at(front) == told, (name, path)


UNLIMITED = {"rate_limit": "off"}
DIALECTS = {"xhr": {}, "alekeagle": UNLIMITED, "datepoll": {}, "rocketchat": UNLIMITED}


async def test_a_token_is_ignored_on_doorwards_own_paths(fronts: Build) -> None:
    """Neither pages nor APIs nor anything that protects an account, whatever the carrier: each
    answers as if the token was not there."""
    front = await fronts(dialects=DIALECTS)
    token = await made(front, super_admin=True)
    assert (await front.get("/", bearer(token.text))).status == 200, "memory knows it"
    carriers: list[Header] = [
        bearer(token.text),
        basic("alice", token.text),
        api_key(token.text),
        (b"cookie", b"doorward=" + token.text.encode()),
        (b"authorization", token.text.encode()),
        (b"x-auth-token", token.text.encode()),
    ]
    assert front.app.gateway is not None
    routes: list[Any] = front.app.gateway._internal_app.routes  # type: ignore[attr-defined]
    paths = {re.sub(r"\{[^}]*\}", "x", route.path) for route in routes}
    assert {"/.doorward/account", "/.doorward/admin", "/xhr/session", "/api/v1/me"} <= paths
    closed = 0
    for path, method in product(sorted(paths), ("GET", "POST")):
        bare = await front.get(path, method=method)
        closed += bare.status in (303, 401)
        for line in carriers:
            answer = await front.get(path, line, method=method)
            assert answer.status == bare.status, (method, path, line[0])
    assert closed > 40, "they are closed, too"
    good = front.cookie(await front.opened())
    assert (await front.get("/xhr/session", good, carriers[1])).status == 200, "the cookie decides"


@pytest.mark.parametrize(
    "target",
    ["/wiki/..;/admin", "/wiki/%2e%2e/x", "/wiki%2F..%2Fx", "//wiki/x", "/wiki/..%5cx", "/x;/wiki"],
)
async def test_a_scope_is_checked_in_every_reading_of_the_path(front: Front, target: str) -> None:
    token = await made(front, scope=TokenScope(routes=("/wiki",)))
    assert (await front.get(target, bearer(token.text))).status in (400, 403)
    assert front.origin.heads == []


@pytest.mark.parametrize(
    ("routes", "path", "covered"),
    [
        (("/wiki",), b"/wiki", True),
        (("/wiki",), b"/wiki/", True),
        (("/wiki",), b"/wiki/a%20b", True),
        (("/wiki",), b"/wikis", False),
        (("/wiki",), b"/", False),
        (("/",), b"/anything", True),
        (("app.test/wiki",), b"/wiki/x", True),
        (("*.test/wiki",), b"/wiki/x", True),
        (("xapp.test/wiki",), b"/wiki/x", False),
        (("*.app.test/",), b"/", False),
        (("/a", "/b"), b"/b/c", True),
        (("/a", "/b"), b"/c", False),
        (("/wiki",), b"/wiki//x", True),
        (("/wiki",), b"/x//wiki", False),
    ],
)
def test_a_route_in_a_scope_covers_all_paths_beneath_it(
    routes: tuple[str, ...], path: bytes, covered: bool
) -> None:
    assert CompiledScope(TokenScope(routes=routes)).covers(accepted(path)) is covered


def test_a_missing_scope_covers_nothing() -> None:
    """As if storage contained a level that only tokens have."""
    compiled = CompiledScope(None)
    assert not compiled.covers_all and not compiled.covers(accepted(b"/"))


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (TokenScope(routes=("/a",)), 200),
        (TokenScope(routes=("/a/from",)), 403),
        (TokenScope(methods=("COPY",)), 403),
        (TokenScope(methods=("COPY", "PUT")), 200),
    ],
)
async def test_a_second_target_must_be_within_the_scope(
    front: Front, scope: TokenScope, status: int
) -> None:
    token = await made(front, scope=scope)
    for destination in (b"/a/to", b"http://app.test/a/to"):
        lines = [bearer(token.text), (b"destination", destination)]
        assert (await front.get("/a/from", *lines, method="COPY")).status == status


async def test_a_scope_of_methods_disables_method_overrides(front: Front) -> None:
    token, whole = await made(front, scope=TokenScope(methods=("POST",))), await made(front)
    override: Header = (b"x-http-method-override", b"DELETE")
    assert (await front.get("/", bearer(token.text), override, method="POST")).status == 200
    assert values_of(front.origin.heads[-1], override[0]) == []
    assert (await front.get("/", bearer(whole.text), override, method="POST")).status == 200
    assert values_of(front.origin.heads[-1], override[0]) == [b"DELETE"]


# How it ends


@pytest.mark.parametrize("way", ["revoke", "revoke_all", "ban", "disable", "delete", "expiry"])
async def test_a_cached_token_ends_at_once(front: Front, way: str) -> None:
    """CVE-2025-29928: a process that had it in memory still accepted a revoked token."""
    token = await made(front, life_s=100.0)
    for line in (bearer(token.text), basic("alice", token.text)):
        assert (await front.get("/", line)).status == 200
    accounts, now = front.accounts, front.clock()
    if way == "revoke":
        await accounts.api_tokens.revoke(token.token.id, actor=OWNER, now=now)
    elif way == "revoke_all":
        await accounts.api_tokens.revoke_all(token.token.user, actor=OWNER, now=now)
    elif way == "expiry":
        front.clock.now += 100
    else:
        await getattr(accounts.users, way)("alice", now, actor=OWNER)
    for line in (bearer(token.text), basic("alice", token.text)):
        assert (await front.get("/", line)).status == 401
    if way == "ban":
        await accounts.users.unban("alice", now, actor=OWNER)
        assert (await front.get("/", bearer(token.text))).status == 200


async def test_other_sessions_of_the_user_stay_in_memory(front: Front) -> None:
    token, cookie = await made(front), front.cookie(await front.opened())
    assert (await front.get("/", cookie)).status == 200
    await front.accounts.api_tokens.revoke(token.token.id, actor=OWNER, now=front.clock())
    assert (await front.get("/", cookie)).status == 200
    await front.accounts.sessions.revoke_all(token.token.user, actor=OWNER, now=front.clock())
    again = await made(front)
    assert (await front.get("/", bearer(again.text))).status == 200


async def test_a_revoked_token_is_refused_by_every_worker(front: Front) -> None:
    """Two hundred rounds; a third process revokes."""
    settings = front.app._settings
    async with Application(settings, front.clock) as second:
        for number in range(200):
            token = await made(front, f"user{number}")
            lines = [*HOST, bearer(token.text)]
            for app in (front.app, second):
                assert (await ask(app, scope("/", lines))).status == 200
            await front.accounts.api_tokens.revoke(token.token.id, actor=OWNER, now=front.clock())
            found = [(await ask(app, scope("/", lines))).status for app in (front.app, second)]
            assert found == [401, 401], number


async def test_wrong_tokens_lock_only_their_network(fronts: Build) -> None:
    front = await fronts(access=ACCESS, regulation={"network_attempts": 3, "ban": "5m"})
    right = await made(front)
    for _ in range(3):
        assert (await front.get("/", bearer(str(new_text())))).status == 401
    for _ in range(5):
        answer = await front.get("/", bearer(str(new_text())))
        assert answer.status == 429 and answer.values(b"retry-after") == [b"300"]
        assert b"locked_out" in answer.body
    assert (await front.get("/public/", bearer(str(new_text())))).status == 200
    assert (await front.get("/", bearer(right.text))).status == 200
    assert (await front.get("/", bearer(str(new_text())), peer="198.51.100.1")).status == 401


async def test_one_wrong_token_counts_once_a_minute(fronts: Build) -> None:
    """A program with a mistyped token keeps sending it, which must not lock anybody out."""
    front = await fronts(access=ACCESS, regulation={"network_attempts": 3})
    for _ in range(10):
        assert (await front.get("/", bearer(WRONG))).status == 401


async def test_the_last_use_is_written_behind(front: Front) -> None:
    token = await made(front, scope=TokenScope(routes=("/wiki",)))
    front.clock.now += 60
    for peer, path in (("192.0.2.1", "/wiki"), ("198.51.100.9", "/elsewhere")):
        agent: Header = (b"user-agent", f"git/2.47 {path} \xff".encode("latin-1"))
        await front.get(path, bearer(token.text), agent, peer=peer)
        [seen] = await front.accounts.api_tokens.list(token.token.user, front.clock())
    assert seen.last_used_at is None, "not within the request"
    await front.app._flush()
    [seen] = await front.accounts.api_tokens.list(token.token.user, front.clock())
    assert (seen.last_used_at, seen.address) == (front.clock.now, "198.51.100.9"), "refused or not"
    assert seen.user_agent == "git/2.47 /elsewhere \N{REPLACEMENT CHARACTER}"
    await front.app._flush()


class Silent:
    """Storage that does not answer."""

    async def by_id(self, public_id: str) -> None:
        raise StorageUnavailable

    async def touch(self, used: object) -> None:
        raise StorageUnavailable


async def test_a_storage_failure_counts_as_no_wrong_token(front: Front) -> None:
    known, other = await made(front), await made(front)
    assert (await front.get("/", bearer(known.text))).status == 200
    assert front.app._accounts is not None
    front.app._accounts.api_tokens._store = cast(Any, Silent())
    assert (await front.get("/", bearer(known.text))).status == 200
    assert (await front.get("/", bearer(other.text))).status == 503
    assert (await front.get("/public/", bearer(other.text))).status == 200
    assert not leaks(front, other.text)


async def test_a_cache_miss_costs_one_indexed_query(front: Front) -> None:
    """The number of tokens does not matter."""
    token = await made(front)
    database = sqlite3.connect(front.app._settings.data_dir / "doorward.db")
    with closing(database):
        query = f"EXPLAIN QUERY PLAN {BY_ID}"
        plan = database.execute(query, {"public_id": token.token.id}).fetchall()
    assert plan and all("SEARCH" in step[-1] for step in plan), plan
