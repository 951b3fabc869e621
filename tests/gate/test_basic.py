"""Name and password by Basic, if a rule or a route asks for them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pyotp
import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.basic import KEPT_S
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import Overloaded, StorageUnavailable
from doorward.accounts.session import ClientInfo
from doorward.accounts.user import Email

from tests.gate.test_api_tokens import basic, bearer, leaks, made, user_at
from tests.support.front import Build, Front
from tests.support.wire import Header, values_of

PASSWORD = "correct horse"
RULES = [
    {"path": "/dav/*", "basic": {"passwords": True}},
    {"path": "/git/*", "basic": True},
    {"path": "/open/*", "require": "public", "basic": {"passwords": True}},
    {"path": "/strict/*", "require": "two_factor", "tokens": True, "basic": True},
]
ASKS = [b'Basic realm="doorward", charset="UTF-8"']


@pytest.fixture
async def front(fronts: Build) -> Front:
    front = await fronts(access={"rules": RULES})
    await front.opened()
    return front


def count_hashes(front: Front, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that grows with each password that the server verifies."""
    assert front.app._accounts is not None
    passwords, counted = front.app._accounts.passwords, list[object]()
    verify = passwords.verify

    async def count(*args: Any, **more: Any) -> Any:
        counted.append(args)
        return await verify(*args, **more)

    monkeypatch.setattr(passwords, "verify", count)
    return counted


async def test_a_program_is_asked_for_name_and_password(front: Front) -> None:
    for path in ("/dav/x", "/git/x", "/strict/x"):
        answer = await front.get(path)
        assert answer.status == 401 and answer.values(b"www-authenticate") == ASKS
    answer = await front.get("/elsewhere")
    assert answer.values(b"www-authenticate") == [b'Bearer realm="doorward"']
    assert (await front.get("/open/x")).status == 200


async def test_a_person_gets_the_login_page_and_a_script_no_dialog(front: Front) -> None:
    page = await front.get("/dav/x", (b"sec-fetch-mode", b"navigate"))
    assert page.status == 303 and not page.values(b"www-authenticate")
    for mode in (b"cors", b"same-origin"):
        answer = await front.get("/dav/x", (b"sec-fetch-mode", mode))
        assert answer.status == 401 and b"Basic" not in b"".join(answer.values(b"www-authenticate"))


async def test_a_route_can_accept_basic_on_all_its_paths(fronts: Build, origin: Any) -> None:
    routes = [
        {"upstream": origin.url, "basic": True},
        {"path": "/dav", "upstream": origin.url, "basic": {"passwords": True}},
    ]
    front = await fronts(routes=routes, access={"rules": [{"path": "/dav/*", "basic": True}]})
    await front.opened()
    for path in ("/x", "/dav/x"):
        assert (await front.get(path)).values(b"www-authenticate") == ASKS
        assert (await front.get(path, basic("alice", PASSWORD))).status == 401, "the rule decides"
        token = await made(front)
        assert (await front.get(path, basic("alice", token.text))).status == 200


@pytest.mark.parametrize("name", ["alice", "ALICE", "alice@example.com"])
async def test_a_password_is_accepted_where_basic_asks_for_it(front: Front, name: str) -> None:
    await front.accounts.users.add(
        "Alice B", PASSWORD, now=front.clock(), emails=[Email("alice@example.com", True)]
    )
    expected = b"Alice B" if "@" in name else b"alice"
    for _ in range(2):  # by a hash, then from memory
        assert (await front.get("/dav/x", basic(name, PASSWORD))).status == 200
        assert user_at(front) == [expected]
        assert values_of(front.origin.heads[-1], b"authorization") == []
    assert not leaks(front, PASSWORD)


async def test_a_password_is_accepted_only_where_passwords_are_enabled(
    front: Front,
) -> None:
    """`basic: true` without passwords asks for tokens: other credentials are not for the
    application."""
    line = basic("alice", PASSWORD)
    assert (await front.get("/dav/x", line)).status == 200, "memory knows it"
    for path in ("/git/x", "/strict/x"):
        assert (await front.get(path, line)).status == 401
    assert (await front.get("/elsewhere", line)).status == 401
    cookie = front.cookie(await front.opened())
    assert (await front.get("/git/x", line, cookie)).status == 401, "it ends the search"
    assert not leaks(front, PASSWORD)
    assert (await front.get("/elsewhere", line, cookie)).status == 200
    assert values_of(front.origin.heads[-1], b"authorization") == [line[1]], "the application's"


async def test_a_wrong_password_is_no_session(front: Front) -> None:
    for line in (
        basic("alice", "wrong"),
        basic("nobody", PASSWORD),
        basic("", ""),
        basic("alice", ""),
        basic("alice", "x" * 2000),
        (b"authorization", b"Basic " + base64.b64encode(b"alice")),
        (b"authorization", b"Basic " + base64.b64encode(b"\xff\xfe:\xff")),
        # An application may be able to read what Doorward cannot, and it may still be a password.
        (b"authorization", b"Basic !!!"),
        (b"authorization", b"Basic YWxpY2U6Y29ycmVjdCBob3JzZQ"),
        (b"authorization", b"basic\t" + base64.b64encode(b"alice:x")),
        (b"authorization", b"Basic"),
    ):
        assert (await front.get("/dav/x", line)).status == 401
        assert (await front.get("/open/x", line)).status == 200
        assert user_at(front) == []
        assert values_of(front.origin.heads[-1], b"authorization") == []


async def test_other_schemes_than_basic_belong_to_the_application(front: Front) -> None:
    cookie = front.cookie(await front.opened())
    for value in (b"Basicly x", b"Digest x", b"Bearer theirs"):
        assert (await front.get("/dav/x", cookie, (b"authorization", value))).status == 200
        assert values_of(front.origin.heads[-1], b"authorization") == [value]


async def test_two_basic_headers_are_refused(front: Front) -> None:
    token = await made(front)
    for lines in (
        [basic("alice", PASSWORD), basic("alice", PASSWORD)],
        [basic("alice", PASSWORD), bearer(token.text)],
        [basic("alice", PASSWORD), basic("alice", token.text)],
    ):
        assert (await front.get("/dav/x", *lines)).status == 401
    assert front.origin.heads == []


async def test_a_right_password_is_hashed_once_for_many_requests(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = count_hashes(front, monkeypatch)
    line = basic("alice", PASSWORD)
    answers = await asyncio.gather(*(front.get(f"/dav/{n}", line) for n in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len(counted) == 1, "those that come at once wait for the same"
    front.clock.now += KEPT_S - 1
    await front.get("/dav/x", line)
    assert len(counted) == 1
    for _ in range(3):
        front.clock.now += 1
        assert (await front.get("/dav/x", line)).status == 200
    assert len(counted) == 2, "it is looked at again, and kept again"
    records = await front.accounts.audit_log.latest(RecordFilter(kind=Kind.LOGIN), 99)
    assert [one.event.detail for one in records if one.event.detail == "basic"] == ["basic"] * 2


async def test_revoking_other_sessions_costs_no_hash(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every revocation on the host, the feed is read first."""
    counted, line = count_hashes(front, monkeypatch), basic("alice", PASSWORD)
    for number in range(5):
        other = await front.opened(f"user{number}")
        assert (await front.get("/dav/x", line)).status == 200
        await front.accounts.sessions.end(other.session, front.clock())
    assert len(counted) == 1


async def test_a_repeated_wrong_password_is_hashed_once_a_minute(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program with an old password keeps sending it, which must not lock anybody out."""
    counted = count_hashes(front, monkeypatch)
    for _ in range(20):
        assert (await front.get("/dav/x", basic("alice", "an old one"))).status == 401
    assert len(counted) == 1
    assert (await front.get("/dav/x", basic("alice", PASSWORD))).status == 200


async def test_guessing_is_regulated_as_at_the_login_page(front: Front) -> None:
    for number in range(5):
        assert (await front.get("/dav/x", basic("alice", f"guess {number}"))).status == 401
    answer = await front.get("/dav/x", basic("alice", PASSWORD))
    assert answer.status == 429 and answer.values(b"retry-after") == [b"300"]
    assert (await front.get("/open/x", basic("alice", PASSWORD))).status == 200
    assert user_at(front) == []
    records = await front.accounts.audit_log.latest(RecordFilter(kind=Kind.LOGIN_FAILED), 99)
    assert len(records) == 5


async def test_a_result_in_one_network_does_not_apply_to_another(front: Front) -> None:
    """A lock-out in one network does not affect the user in another, and a success in one does not
    count in the other."""
    line, elsewhere = basic("alice", PASSWORD), {"peer": "198.51.100.9"}
    assert (await front.get("/dav/x", line)).status == 200
    for number in range(5):
        await front.get("/dav/x", basic("alice", f"guess {number}"), **elsewhere)
    assert (await front.get("/dav/x", line, **elsewhere)).status == 429
    assert (await front.get("/dav/x", line)).status == 200


async def with_totp(front: Front) -> None:
    opened, factors = await front.opened(), front.accounts.second_factors
    enrolment = await factors.begin_totp(opened.session, front.clock())
    code = pyotp.TOTP(enrolment.secret).at(int(front.clock()))
    await factors.confirm_totp(opened.session, None, code, front.clock())


CHANGES: dict[str, Any] = {
    "password": lambda front: front.accounts.users.set_password(
        "alice", "violet tractor", now=front.clock(), actor=OWNER
    ),
    "ban": lambda front: front.accounts.users.ban("alice", front.clock(), actor=OWNER),
    "disable": lambda front: front.accounts.users.disable("alice", front.clock(), actor=OWNER),
    "delete": lambda front: front.accounts.users.delete("alice", front.clock(), actor=OWNER),
    "second factor": with_totp,
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_to_the_user_invalidates_the_password_at_once(
    front: Front, change: str
) -> None:
    """CVE-2026-40934: sessions of an old password stayed valid."""
    line = basic("alice", PASSWORD)
    assert (await front.get("/dav/x", line)).status == 200
    await CHANGES[change](front)
    assert (await front.get("/dav/x", line)).status == 401


async def test_a_user_with_a_second_factor_needs_a_token(front: Front) -> None:
    """Otherwise Basic would bypass the second factor."""
    await with_totp(front)
    for path in ("/dav/x", "/git/x", "/strict/x"):
        assert (await front.get(path, basic("alice", PASSWORD))).status == 401
        token = await made(front)
        assert (await front.get(path, basic("alice", token.text))).status == 200
        assert user_at(front) == [b"alice"]


async def test_a_password_that_must_change_is_refused(front: Front) -> None:
    await front.accounts.users.set_password(
        "alice", "violet tractor", now=front.clock(), actor=OWNER, must_change=True
    )
    assert (await front.get("/dav/x", basic("alice", "violet tractor"))).status == 401


async def test_the_password_is_not_kept_in_memory(front: Front) -> None:
    assert (await front.get("/dav/x", basic("alice", PASSWORD))).status == 200
    assert front.app._live is not None
    kept = repr((front.app._live._cached, front.app._live._unknown))
    encoded = basic("alice", PASSWORD)[1].partition(b" ")[2].decode()
    assert PASSWORD not in kept and encoded not in kept


async def test_two_users_with_the_same_password_are_kept_apart(front: Front) -> None:
    """CVE-2026-71326: two credentials shared a cache key, and so a result."""
    await front.opened("bob")
    await front.opened("alice:correct")
    for name in ("alice", "bob", "alice", "bob"):
        assert (await front.get("/dav/x", basic(name, PASSWORD))).status == 200
        assert user_at(front) == [name.encode()]


@pytest.mark.parametrize("fault", [Overloaded, StorageUnavailable])
async def test_a_password_that_cannot_be_checked_now_is_503(
    front: Front, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    async def fail(*args: object, **more: object) -> None:
        raise fault

    assert front.app._accounts is not None
    monkeypatch.setattr(front.app._accounts.passwords, "verify", fail)
    answer = await front.get("/dav/x", basic("alice", PASSWORD))
    assert answer.status == 503
    assert (await front.get("/open/x", basic("alice", PASSWORD))).status == 200


async def test_basic_is_ignored_on_doorwards_own_paths(front: Front) -> None:
    line: Header = basic("alice", PASSWORD)
    assert (await front.get("/dav/x", line)).status == 200
    assert (await front.get("/xhr/session", line)).status == 401
    assert (await front.get("/.doorward/account", line)).status == 401


async def test_open_streams_continue_when_the_password_is_checked_again(front: Front) -> None:
    """When its session expires, a stream is decided on again, and continues with the same one."""
    assert front.app._accounts is not None
    find, client = front.app._accounts.basic.find, ClientInfo("192.0.2.1", "")
    first = (await find(b"alice", PASSWORD.encode(), client, front.clock())).session
    again = (await find(b"alice", PASSWORD.encode(), client, front.clock() + KEPT_S)).session
    other = (await find(b"ALICE", PASSWORD.encode(), client, front.clock())).session
    assert first is not None and again is not None and other is not None
    assert first.number == again.number != other.number
    assert max(first.number, other.number) < -(1 << 61), "far from those of tokens"
