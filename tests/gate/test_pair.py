"""X-User-Id with X-Auth-Token, on proxied paths, if its dialect is enabled."""

from __future__ import annotations

import pytest
from doorward.accounts.session import PENDING
from doorward.accounts.sessions.sessions import Opened

from tests.support.front import ACCESS, Build, Front
from tests.support.sessions import open_session
from tests.support.wire import Header, values_of

NAMES = (b"x-user-id", b"x-auth-token")


@pytest.fixture
async def front(fronts: Build) -> Front:
    return await fronts(access=ACCESS, dialects={"rocketchat": {}})


def pair(opened: Opened, user_id: str | None = None) -> list[Header]:
    values = (user_id or opened.session.user.id, opened.token)
    return [(name, value.encode()) for name, value in zip(NAMES, values, strict=True)]


def sent(front: Front) -> list[bytes]:
    """The values of both that the application got with its last request."""
    return [value for name in NAMES for value in values_of(front.origin.heads[-1], name)]


async def test_the_pair_is_accepted_and_not_forwarded(front: Front) -> None:
    opened = await front.opened()
    for _ in range(2):  # from storage, then from memory
        assert (await front.get("/", *pair(opened))).status == 200
        assert values_of(front.origin.heads[-1], b"remote-user") == [b"alice"]
        assert sent(front) == []
    await front.accounts.sessions.end(opened.session, front.clock())
    assert (await front.get("/", *pair(opened))).status == 401
    assert (await front.get("/public/", *pair(opened))).status == 200
    assert sent(front) == [], "it was ours, if dead"


async def test_both_headers_must_belong_to_one_user(front: Front) -> None:
    opened, bob = await front.opened(), await front.opened("bob")
    for headers in (pair(opened, bob.session.user.id), pair(opened)[1:], pair(opened)[:1]):
        assert (await front.get("/", *headers)).status == 401
    assert (await front.get("/public/", *pair(opened)[1:])).status == 200
    assert sent(front) == [], "half a pair of ours stays here as well"


async def test_a_pair_that_is_not_valid_ends_the_search(front: Front) -> None:
    ended, good, bob = await front.opened(), await front.opened(), await front.opened("bob")
    await front.accounts.sessions.end(ended.session, front.clock())
    assert (await front.get("/", *pair(ended), front.cookie(good))).status == 401
    assert (await front.get("/", *pair(good), front.cookie(good))).status == 200
    conflict = await front.get("/", *pair(good), front.cookie(bob))
    assert conflict.status == 401 and b"conflicting_credentials" in conflict.body
    bearer = (b"authorization", b"Bearer " + bob.token.encode())
    conflict = await front.get("/", *pair(good), bearer)
    assert conflict.status == 401 and b"conflicting_credentials" in conflict.body


async def test_a_header_twice_is_ambiguous(front: Front) -> None:
    one, two = pair(await front.opened()), pair(await front.opened())
    for headers in ([*one, one[1]], [*one, one[0]], [*one, *two]):
        assert (await front.get("/", *headers)).status == 401
        assert (await front.get("/public/", *headers)).status == 200
        assert sent(front) == []


async def test_a_pair_of_the_application_is_left_alone(front: Front) -> None:
    session = front.cookie(await front.opened())
    short = [(b"x-auth-token", b"theirs"), (b"x-user-id", b"17")]
    for headers in (short, short[:1], short[1:], [*short, short[0]]):
        assert (await front.get("/", session, *headers)).status == 200
        assert sorted(sent(front)) == sorted(value for _, value in headers)
    unknown = [(b"x-auth-token", b"x" * 43), (b"x-user-id", b"17")]
    assert (await front.get("/public/", *unknown)).status == 200
    assert sorted(sent(front)) == sorted([b"17", b"x" * 43])


async def test_a_pair_listed_in_connection_is_ignored(front: Front) -> None:
    headers = [*pair(await front.opened()), (b"connection", b"x-auth-token, x-user-id")]
    assert (await front.get("/", *headers)).status == 401
    assert (await front.get("/public/", *headers)).status == 200 and sent(front) == []


async def test_without_the_dialect_the_pair_belongs_to_the_application(fronts: Build) -> None:
    front = await fronts(access=ACCESS)
    opened = await front.opened()
    assert (await front.get("/", *pair(opened))).status == 401
    assert (await front.get("/", *pair(opened), front.cookie(opened))).status == 200
    assert len(sent(front)) == 2


async def test_a_pair_of_a_pending_session_is_refused(front: Front) -> None:
    """CVE-2026-32246."""
    user = (await front.opened()).session.user
    pending = await open_session(
        front.accounts.sessions, user, kind="rocketchat", now=front.clock(), level=PENDING
    )
    assert (await front.get("/", *pair(pending))).status == 401
