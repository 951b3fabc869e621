"""Access tokens on proxied paths, if their dialect is enabled: what they allow, and that they are
not forwarded."""

from __future__ import annotations

import json

import jwt
import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.session import PENDING
from doorward.accounts.sessions.sessions import ClientInfo, Opened

from tests.support.front import ACCESS, Build, Front
from tests.support.sessions import open_session
from tests.support.wire import Answer, Header, values_of

FOREIGN = jwt.encode({"sub": 1, "session": "x", "iat": 1, "exp": 2**31}, "k" * 32, "HS256")


@pytest.fixture
async def front(fronts: Build) -> Front:
    """By default, a link does not log in."""
    return await fronts(access=ACCESS, dialects={"datepoll": {}})


@pytest.fixture
async def linked(fronts: Build) -> Front:
    return await fronts(access=ACCESS, dialects={"datepoll": {"token_on_upstream": True}})


def token(front: Front, opened: Opened, life_s: float = 3600.0) -> str:
    return front.accounts.access.tokens.issue(opened.session, life_s, front.clock())


def bearer(token: str) -> Header:
    return b"authorization", b"Bearer " + token.encode()


def asked(front: Front) -> bytes:
    """The target of the last request that reached the application."""
    return front.origin.heads[-1].split(b" ")[1]


def user(front: Front) -> list[bytes]:
    return values_of(front.origin.heads[-1], b"remote-user")


async def test_a_token_in_a_link_is_ignored_by_default(front: Front) -> None:
    good = token(front, await front.opened())
    assert (await front.get(f"/?token={good}")).status == 401
    assert (await front.get(f"/public/?token={good}")).status == 200
    assert user(front) == [] and asked(front) == b"/public/"


async def test_a_token_in_a_link_logs_in_if_enabled(linked: Front) -> None:
    opened = await linked.opened()
    good = token(linked, opened)
    for _ in range(2):  # from storage, then from memory
        assert (await linked.get(f"/page?a=1&token={good}&b=%20")).status == 200
        assert user(linked) == [b"alice"] and asked(linked) == b"/page?a=1&b=%20"
    await linked.accounts.sessions.end(opened.session, linked.clock())
    assert (await linked.get(f"/?token={good}")).status == 401


async def test_a_bearer_access_token_is_accepted(front: Front) -> None:
    opened = await front.opened()
    good = token(front, opened)
    for _ in range(2):
        assert (await front.get("/", bearer(good))).status == 200
        assert user(front) == [b"alice"]
        assert values_of(front.origin.heads[-1], b"authorization") == []
    front.clock.now += 3600
    assert (await front.get("/", bearer(good))).status == 401
    assert (await front.get("/public/", bearer(good))).status == 200
    assert values_of(front.origin.heads[-1], b"authorization") == [], "it was ours, if over"


TAKEN_OUT = [
    ("/public/?token={}", b"/public/"),
    ("/public/?token={}&a=1", b"/public/?a=1"),
    ("/public/?a=1&token={}", b"/public/?a=1"),
    ("/public/?a&token={}&&b==", b"/public/?a&&b=="),
    ("/public/?token={0}&token={0}", b"/public/"),
    ("/public/?token=mine&token={}", b"/public/?token=mine"),
    ("/public/?token={}&token=mine", b"/public/?token=mine"),
    ("/public/?token={};b=1", b"/public/?b=1"),
    ("/public/?a=1;token={}", b"/public/?a=1"),
    ("/public/?a;b&token={};c;d&&e", b"/public/?a;b;c;d&&e"),
    ("/public/?;token={};", b"/public/?;"),
    ("/public/?%74oken={}", b"/public/"),
    ("/public/?t%6fk%65n={}&a=%41", b"/public/?a=%41"),
    ("/public//a%2Fb;c?token={}&d=%7e", b"/public//a%2Fb;c?d=%7e"),
]


@pytest.mark.parametrize(("asks", "gets"), TAKEN_OUT)
async def test_only_the_token_is_removed_from_the_query(
    front: Front, asks: str, gets: bytes
) -> None:
    good = token(front, await front.opened())
    assert (await front.get(asks.format(good))).status == 200
    assert asked(front) == gets


async def test_an_encoded_token_is_removed(front: Front) -> None:
    good = token(front, await front.opened()).replace(".", "%2E").replace("_", "%5f")
    assert (await front.get(f"/public/?token={good}")).status == 200
    assert asked(front) == b"/public/"


PAGE = "http://app.test/page"


@pytest.mark.parametrize("name", [b"referer", b"hx-current-url"])
@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        (f"{PAGE}?token=OURS", PAGE),
        (f"{PAGE}?a=1&token=OURS&b=%20#part", f"{PAGE}?a=1&b=%20#part"),
        (f"{PAGE}?token=OURS&token=x#token=y", f"{PAGE}?token=x#token=y"),
        (f"{PAGE}?token={FOREIGN}&a", f"{PAGE}?token={FOREIGN}&a"),
        ("token=x", "token=x"),
    ],
)
async def test_the_token_is_removed_from_headers_that_repeat_the_address(
    front: Front, name: bytes, sent: str, passed: str
) -> None:
    """A browser sends the address of a page to everything that the page loads."""
    good = token(front, await front.opened())
    before, after = (b"x-before", b"a"), (b"x-token", b"token=z")
    line = (name, sent.replace("OURS", good).encode())
    for _ in range(2):
        assert (await front.get("/public/?b=1", before, line, after)).status == 200
        head = front.origin.heads[-1]
        assert values_of(head, name) == [passed.encode()]
        assert asked(front) == b"/public/?b=1" and user(front) == []
        assert (values_of(head, b"x-before"), values_of(head, b"x-token")) == ([b"a"], [b"token=z"])


async def test_an_expired_token_is_removed(front: Front) -> None:
    good = token(front, await front.opened())
    front.clock.now += 3600
    assert (await front.get(f"/public/?token={good}")).status == 200
    assert asked(front) == b"/public/"


@pytest.mark.parametrize(
    "target",
    [
        "/public/?token=mine",
        "/public/?token=",
        "/public/?token",
        "/public/?token=" + FOREIGN,
        "/public/?Token=x&xtoken=y&token[]=z",
        "/public/?token=%zz",
    ],
)
async def test_an_application_s_own_token_is_left_alone(linked: Front, target: str) -> None:
    assert (await linked.get(target)).status == 200
    assert asked(linked) == target.encode()
    assert (await linked.get("/public/", bearer(FOREIGN))).status == 200
    assert values_of(linked.origin.heads[-1], b"authorization") == [bearer(FOREIGN)[1]]


async def test_a_token_in_another_parameter_is_left_alone(linked: Front) -> None:
    """Doorward only removes tokens in the parameter that it uses."""
    good = token(linked, await linked.opened())
    assert (await linked.get(f"/?access={good}")).status == 401
    assert (await linked.get(f"/public/?Token={good}")).status == 200
    assert asked(linked) == f"/public/?Token={good}".encode()


async def test_without_the_dialect_tokens_are_left_alone(fronts: Build) -> None:
    front = await fronts(access=ACCESS)
    good = token(front, await front.opened())
    assert (await front.get("/", bearer(good))).status == 401
    assert (await front.get(f"/public/?token={good}")).status == 200
    assert asked(front) == f"/public/?token={good}".encode()


async def test_an_expired_token_in_a_link_ends_the_search(linked: Front) -> None:
    opened = await linked.opened()
    old = token(linked, opened, 60.0)
    linked.clock.now += 60
    assert (await linked.get(f"/?token={old}", linked.cookie(opened))).status == 401
    assert (await linked.get("/", linked.cookie(opened))).status == 200


async def test_an_ignored_token_in_a_link_does_not_affect_the_cookie(front: Front) -> None:
    opened, bob = await front.opened(), await front.opened("bob")
    for other in (token(front, opened, 0.0), token(front, bob)):
        assert (await front.get(f"/?token={other}", front.cookie(opened))).status == 200
        assert user(front) == [b"alice"]


async def test_an_expired_bearer_token_ends_the_search(front: Front) -> None:
    opened = await front.opened()
    over = bearer(token(front, opened, 0.0))
    assert (await front.get("/", over, front.cookie(opened))).status == 401


def conflicts(answer: Answer) -> bool:
    return answer.status == 401 and b"conflicting_credentials" in answer.body


async def test_two_users_in_one_request_conflict(linked: Front) -> None:
    alice, bob = await linked.opened(), await linked.opened("bob")
    his = token(linked, bob)
    cookie, plain = linked.cookie(alice), bearer(alice.token)
    assert conflicts(await linked.get(f"/?token={his}", cookie))
    assert conflicts(await linked.get(f"/?token={his}", plain))
    assert conflicts(await linked.get("/", bearer(his), cookie))
    assert (await linked.get(f"/?token={his}", linked.cookie(bob), bearer(bob.token))).status == 200


async def test_two_authorizations_with_an_access_token_are_refused(front: Front) -> None:
    opened = await front.opened()
    good = bearer(token(front, opened))
    for other in (good, bearer(opened.token), (b"authorization", b"Basic YTpi")):
        assert (await front.get("/", good, other)).status == 401
        assert (await front.get("/", other, good)).status == 401


async def test_an_access_token_of_a_pending_session_is_refused(linked: Front) -> None:
    """CVE-2026-32246."""
    user = await linked.accounts.users.add("carol", "correct horse", now=linked.clock())
    pending = await open_session(
        linked.accounts.sessions,
        user,
        client=ClientInfo("192.0.2.7", "elsewhere"),
        level=PENDING,
        now=linked.clock(),
    )
    good = token(linked, pending)
    assert (await linked.get(f"/?token={good}")).status == 401
    assert (await linked.get("/", bearer(good))).status == 401


async def test_the_return_address_does_not_contain_the_token(front: Front) -> None:
    good = token(front, await front.opened())
    answer = await front.get(f"/page?token={good}&a=1")
    assert json.loads(answer.body)["login"] == "/.doorward/login?rd=/page%3Fa%3D1"
    assert good.encode() not in answer.head


async def test_the_user_of_a_token_is_checked_at_each_use(linked: Front) -> None:
    opened = await linked.opened()
    good = token(linked, opened)
    assert (await linked.get(f"/?token={good}")).status == 200
    await linked.accounts.users.ban("alice", linked.clock(), actor=OWNER)
    assert (await linked.get(f"/?token={good}")).status == 401
    assert (await linked.get("/", bearer(good))).status == 401
    await linked.accounts.users.unban("alice", linked.clock(), actor=OWNER)
    assert (await linked.get("/", bearer(good))).status == 200


async def test_a_token_with_a_mismatched_user_is_refused(linked: Front) -> None:
    """This could happen with a database restored from elsewhere."""
    alice, bob = await linked.opened(), await linked.opened("bob")
    claims = jwt.decode(token(linked, alice), options={"verify_signature": False})
    tokens = linked.accounts.access.tokens
    mixed = alice.session
    mixed.user = bob.session.user
    assert claims["sub"] != mixed.user.number
    strange = tokens.issue(mixed, 3600.0, linked.clock())
    assert (await linked.get(f"/?token={strange}")).status == 401


@pytest.mark.parametrize("form", [b"access %b", b";access %b", b'"access %b"', b"\0access %b"])
async def test_the_cache_key_of_a_token_is_no_valid_cookie(linked: Front, form: bytes) -> None:
    """CVE-2024-47616: the cache key of a token must not work as a credential."""
    opened = await linked.opened()
    good = token(linked, opened)
    assert (await linked.get("/", bearer(good))).status == 200
    forged = b"doorward=" + form % opened.session.id.encode()
    refused = 400 if b"\0" in form else 401  # no server may allow this
    assert (await linked.get("/", (b"cookie", forged))).status == refused
    assert (await linked.get("/.doorward/account", (b"cookie", forged))).status in (303, refused)
    if refused == 400:
        return
    assert (await linked.get("/?token=" + good, (b"cookie", forged))).status == 200
