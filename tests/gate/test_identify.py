"""Finding the session of a cookie or token, through the whole application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.session import PENDING
from doorward.accounts.sessions.feed import News
from doorward.accounts.sessions.live import (
    CONFIRMATION_S,
    SESSIONS_LIMIT,
    UNKNOWN_LIMIT,
    UNKNOWN_S,
    Live,
)
from doorward.accounts.sessions.sessions import ClientInfo, Found, Session
from doorward.accounts.sessions.tokens import Tokens

from tests.support.corpora import corpus
from tests.support.front import ACCESS, Build, Front
from tests.support.sessions import LIFETIMES, open_session
from tests.support.wire import Header, values_of


def bearer(token: str) -> Header:
    return b"authorization", b"Bearer " + token.encode()


def user_at(front: Front) -> list[bytes]:
    """The user name that the application got with its last request."""
    return values_of(front.origin.heads[-1], b"remote-user")


@pytest.mark.parametrize("way", ["cookie", "bearer", "both"])
async def test_a_session_is_found_by_its_carriers(front: Front, way: str) -> None:
    opened = await front.opened()
    carriers = {
        "cookie": [front.cookie(opened)],
        "bearer": [bearer(opened.token)],
        "both": [bearer(opened.token), front.cookie(opened)],
    }
    for _ in range(2):  # from storage, then from memory
        assert (await front.get("/", *carriers[way])).status == 200
        assert user_at(front) == [b"alice"]


@pytest.mark.parametrize("line", [b'doorward="%b"', b'a=1; doorward = "%b" ; b="2"'])
async def test_a_cookie_in_quotes_is_the_same_cookie(front: Front, line: bytes) -> None:
    """RFC 6265 4.1.1: Java's CookieManager quotes the value of a cookie that had a Max-Age."""
    line = line.replace(b"%b", front.signed(await front.opened()))
    for _ in range(2):  # from storage, then from memory
        assert (await front.get("/", (b"cookie", line))).status == 200
        assert user_at(front) == [b"alice"]
        assert b"doorward" not in b"".join(values_of(front.origin.heads[-1], b"cookie"))


async def test_a_forged_cookie_is_no_session(front: Front) -> None:
    """CVE-2016-0736, CVE-2021-26690, CVE-2021-26691, CVE-2024-21493, CVE-2026-25748: crafted
    session data that crashed, overflowed or was let through."""
    for value in corpus("forged_cookies.txt"):
        answer = await front.get("/", (b"cookie", b"doorward=" + value))
        assert answer.status == 401, value
    assert front.origin.heads == []


async def test_no_changed_byte_of_a_cookie_is_accepted(front: Front) -> None:
    value = front.signed(await front.opened())
    for at in range(len(value)):
        changed = value[:at] + (b"A" if value[at : at + 1] != b"A" else b"B") + value[at + 1 :]
        # The last character of base64 contains unused bits.
        expected = {401} if at < len(value) - 1 else {200, 401}
        assert (await front.get("/", (b"cookie", b"doorward=" + changed))).status in expected


async def test_the_signature_of_a_cookie_is_checked_once(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before storage is asked. With the session in memory, it is not checked at all."""
    checked: list[bytes] = []
    unsign = Tokens.unsign

    def count(tokens: Tokens, value: bytes) -> str | None:
        checked.append(value)
        return unsign(tokens, value)

    monkeypatch.setattr(Tokens, "unsign", count)
    values = [front.signed(await front.opened()) for _ in range(2)]
    others: list[list[Header]] = [[], [bearer("x" * 43)]]  # alone, and beside another carrier
    for value, lines in zip(values, others, strict=True):
        for _ in range(2):  # from storage, then from memory
            assert (await front.get("/", (b"cookie", b"doorward=" + value), *lines)).status == 200
    assert checked == values
    checked.clear()
    forged = b"x" * 43 + b"." + b"y" * 43
    program = (b"accept", b"application/json")  # its answer has no page
    for lines in others:
        cookie = (b"cookie", b"doorward=" + forged)
        assert (await front.get("/", cookie, program, *lines)).status == 401
    assert checked == [forged, forged]


async def test_a_bare_token_in_the_cookie_is_no_session(front: Front) -> None:
    """CVE-2024-47077, CVE-2024-47616: a token made for one purpose was accepted for another."""
    opened = await front.opened()
    assert (await front.get("/", (b"cookie", b"doorward=" + opened.token.encode()))).status == 401
    assert (
        await front.get("/", (b"authorization", b"Bearer " + front.signed(opened)))
    ).status == 401


async def test_two_carriers_of_two_users_are_refused(front: Front) -> None:
    """CVE-2026-33544: concurrent logins swapped identities."""
    alice, bob = await front.opened("alice"), await front.opened("bob")
    answer = await front.get("/", bearer(alice.token), front.cookie(bob))
    assert answer.status == 401
    assert b"conflicting_credentials" in answer.body
    assert front.origin.heads == []


async def test_an_ended_token_ends_the_search(front: Front) -> None:
    """The valid cookie next to it does not count, because the client chose the token's session."""
    ended, good = await front.opened(), await front.opened()
    await front.accounts.sessions.end(ended.session, front.clock())
    answer = await front.get("/", bearer(ended.token), front.cookie(good))
    assert answer.status == 401


async def test_our_token_beside_another_authorization_is_ambiguous(front: Front) -> None:
    opened = await front.opened()
    other = (b"authorization", b"Basic eDp5")
    assert (await front.get("/", bearer(opened.token), other)).status == 401
    assert (await front.get("/", bearer(opened.token), bearer(opened.token))).status == 401


async def test_a_foreign_authorization_reaches_the_application(front: Front) -> None:
    session = front.cookie(await front.opened())
    for line in (b"Basic eDp5", b"Bearer theirs", b"Digest x", b""):
        assert (await front.get("/", session, (b"authorization", line))).status == 200
        assert values_of(front.origin.heads[-1], b"authorization") == [line]


async def test_an_unknown_bearer_token_is_forwarded(front: Front) -> None:
    foreign = b"Bearer " + b"x" * 43
    assert (await front.get("/public/", (b"authorization", foreign))).status == 200
    assert values_of(front.origin.heads[-1], b"authorization") == [foreign]
    assert (await front.get("/", (b"authorization", foreign))).status == 401


FOREIGN = b"x" * 43  # the output of `secrets.token_urlsafe(32)` has the form of Doorward's tokens
PAIR: list[Header] = [(b"x-user-id", b"17"), (b"x-auth-token", FOREIGN)]


@pytest.mark.parametrize(
    "lines",
    [
        [(b"authorization", b"Bearer " + FOREIGN)],
        [(b"authorization", FOREIGN)],
        PAIR,
        PAIR[1:],
        [(b"authorization", b"bearer  " + FOREIGN), *PAIR],
    ],
    ids=["bearer", "bare", "pair", "half a pair", "both"],
)
async def test_an_unknown_token_is_forwarded_and_the_cookie_decides(
    fronts: Build, lines: list[Header]
) -> None:
    """The cookie decides, and the line is forwarded."""
    front = await fronts(access=ACCESS, dialects={"alekeagle": {}, "rocketchat": {}})
    session = front.cookie(await front.opened())
    for _ in range(3):  # from storage, then from memory
        assert (await front.get("/", *lines, session)).status == 200
        assert user_at(front) == [b"alice"]
        for name, value in lines:
            assert values_of(front.origin.heads[-1], name) == [value]
        assert (await front.get("/", *lines)).status == 401
        assert (await front.get("/", *lines, (b"cookie", b"doorward=forged"))).status == 401
        assert (await front.get("/public/", *lines)).status == 200
        assert values_of(front.origin.heads[-1], lines[0][0]) == [lines[0][1]]


async def test_an_ended_pair_ends_the_search(fronts: Build) -> None:
    front = await fronts(access=ACCESS, dialects={"rocketchat": {}})
    ended, good = await front.opened(), await front.opened()
    await front.accounts.sessions.end(ended.session, front.clock())
    pair = [
        (b"x-user-id", ended.session.user.id.encode()),
        (b"x-auth-token", ended.token.encode()),
    ]
    assert (await front.get("/", *pair, front.cookie(good))).status == 401
    assert (await front.get("/public/", *pair)).status == 200
    assert values_of(front.origin.heads[-1], b"x-auth-token") == [], "it was ours, if dead"


async def test_an_unknown_token_ends_the_search_on_doorwards_own_paths(fronts: Build) -> None:
    """There is no application whose token it could be."""
    front = await fronts(dialects={"xhr": {}})
    session = front.cookie(await front.opened())
    for _ in range(2):
        foreign = (b"authorization", b"Bearer " + FOREIGN)
        assert (await front.get("/xhr/session", session)).status == 200
        assert (await front.get("/xhr/session", session, foreign)).status == 401


# The bare token, if the dialect that uses it is enabled


def bare(token: str | bytes) -> Header:
    return b"authorization", token if isinstance(token, bytes) else token.encode()


@pytest.fixture
async def front_for_bare(fronts: Build) -> Front:
    return await fronts(access=ACCESS, dialects={"alekeagle": {}})


async def test_a_bare_token_is_accepted_and_not_forwarded(front_for_bare: Front) -> None:
    front = front_for_bare
    opened = await front.opened()
    for _ in range(2):  # from storage, then from memory
        assert (await front.get("/", bare(opened.token))).status == 200
        assert user_at(front) == [b"alice"]
        assert values_of(front.origin.heads[-1], b"authorization") == []
    assert (await front.get("/", bare(f"{opened.token}  "))).status == 200
    assert (await front.get("/", bearer(opened.token))).status == 200
    await front.accounts.sessions.end(opened.session, front.clock())
    assert (await front.get("/", bare(opened.token))).status == 401
    assert (await front.get("/public/", bare(opened.token))).status == 200
    assert values_of(front.origin.heads[-1], b"authorization") == [], "it was ours, if dead"


async def test_a_bare_token_ends_the_search(front_for_bare: Front) -> None:
    front = front_for_bare
    ended, good, bob = await front.opened(), await front.opened(), await front.opened("bob")
    await front.accounts.sessions.end(ended.session, front.clock())
    assert (await front.get("/", bare(ended.token), front.cookie(good))).status == 401
    conflict = await front.get("/", bare(good.token), front.cookie(bob))
    assert conflict.status == 401 and b"conflicting_credentials" in conflict.body
    twice = await front.get("/", bare(good.token), bearer(good.token))
    assert twice.status == 401


async def test_a_foreign_bare_authorization_is_left_alone(front_for_bare: Front) -> None:
    front = front_for_bare
    session = front.cookie(await front.opened())
    for line in (b"theirs", b"x" * 42, b"x" * 44, b"Token " + b"x" * 43, b"Basic eDp5"):
        assert (await front.get("/", session, bare(line))).status == 200
        assert values_of(front.origin.heads[-1], b"authorization") == [line]
    unknown = b"x" * 43
    assert (await front.get("/public/", bare(unknown))).status == 200
    assert values_of(front.origin.heads[-1], b"authorization") == [unknown]


async def test_a_bare_token_is_refused_if_the_dialect_is_off(front: Front) -> None:
    assert (await front.get("/", bare((await front.opened()).token))).status == 401


async def test_a_bare_token_of_a_pending_session_is_refused(front_for_bare: Front) -> None:
    """CVE-2026-32246."""
    front = front_for_bare
    user = (await front.opened()).session.user
    pending = await open_session(
        front.accounts.sessions, user, kind="alekeagle", now=front.clock(), level=PENDING
    )
    assert (await front.get("/", bare(pending.token))).status == 401


async def test_a_session_token_in_the_query_is_ignored(front: Front) -> None:
    opened = await front.opened()
    assert (await front.get(f"/?token={opened.token}")).status == 401


async def test_expiry_is_checked_on_every_use(front: Front) -> None:
    """CVE-2025-64708: only a periodic clean-up enforced expiry; CVE-2018-17199: nothing did."""
    session = front.cookie(await front.opened())
    assert (await front.get("/", session)).status == 200
    assert LIFETIMES.idle_timeout_s is not None
    front.clock.now += LIFETIMES.idle_timeout_s - 1
    assert (await front.get("/", session)).status == 200, "used, so it idles no longer"
    front.clock.now += LIFETIMES.idle_timeout_s + 1
    assert (await front.get("/", session)).status == 401


async def test_a_pending_session_gives_no_access(front: Front) -> None:
    """CVE-2026-32246, CVE-2026-54730: a pending session was accepted elsewhere."""
    opened = await front.opened()
    client = opened.session.address, opened.session.user_agent
    pending = await open_session(
        front.accounts.sessions,
        opened.session.user,
        client=ClientInfo(*client),
        now=front.clock(),
        level=PENDING,
    )
    for carrier in (front.cookie(pending), bearer(pending.token)):
        assert (await front.get("/", carrier)).status == 401
        assert (await front.get("/public/", carrier)).status == 200
        assert user_at(front) == []


@pytest.mark.parametrize("ending", ["end", "ban", "disable", "delete", "set_password", "end_all"])
async def test_a_session_ended_by_another_process_is_refused_at_once(
    front: Front, ending: str
) -> None:
    """CVE-2025-29928, CVE-2024-21492: deleted sessions were not revoked. CVE-2026-40934: cookies
    outlived a password change. CVE-2025-53942, CVE-2025-64521: deactivated users stayed logged
    in."""
    opened = await front.opened()
    session = front.cookie(opened)
    users, sessions, now = front.accounts.users, front.accounts.sessions, front.clock()
    assert (await front.get("/", session)).status == 200
    match ending:
        case "end":
            await sessions.end(opened.session, now)
        case "end_all":
            await sessions.end_all(opened.session.user, now)
        case "set_password":
            await users.set_password("alice", "another password", now=now, actor=OWNER)
        case _:
            await getattr(users, ending)("alice", now, actor=OWNER)
    for carrier in (session, bearer(opened.token)):
        assert (await front.get("/", carrier)).status == 401
    assert len(front.origin.heads) == 1


async def test_an_unban_restores_the_session(front: Front) -> None:
    session = front.cookie(await front.opened())
    await front.accounts.users.ban("alice", front.clock(), actor=OWNER)
    assert (await front.get("/", session)).status == 401
    await front.accounts.users.unban("alice", front.clock(), actor=OWNER)
    assert (await front.get("/", session)).status == 200


# Memory and the revocation feed


class Feed:
    """A feed whose entries the test writes."""

    def __init__(self) -> None:
        self.mark = 1
        self.broken = False
        self.latest = News(0)

    async def heard(self) -> None:
        await asyncio.Event().wait()

    def marker(self) -> bytes:
        return self.mark.to_bytes(4, "big") if self.mark else b""

    def check_file(self) -> None:
        pass

    async def head(self) -> int:
        return 0

    async def news(self, after: int) -> News:
        if self.broken:
            raise StorageUnavailable
        return self.latest


class Stored:
    """Sessions in storage; `while_reading` is called between a read and its result."""

    def __init__(self, session: Session) -> None:
        self.session: Session | None = session
        self.known = True
        self.reads = 0
        self.while_reading: Any = None

    async def by_token(self, token: str, now: float) -> Found:
        self.reads += 1
        found = Found(self.session, known=self.known)
        happening, self.while_reading = self.while_reading, None
        if happening is not None:
            await asyncio.sleep(0)
            happening()
        return found


@pytest.fixture
async def stored(front: Front) -> Stored:
    return Stored((await front.opened()).session)


async def test_a_session_is_cached(front: Front, stored: Stored) -> None:
    live, now = Live(stored, Feed()), front.clock()  # type: ignore[arg-type]
    assert live.peek(b"c", now) is None
    assert (await live.find(b"c", "token", now)).session is live.peek(b"c", now) is not None
    assert stored.reads == 1


async def test_a_session_that_ends_while_it_is_read_does_not_count(
    front: Front, stored: Stored
) -> None:
    """Promise 3: the revoking call is answered before the read returns."""
    feed, now = Feed(), front.clock()
    live = Live(stored, feed)  # type: ignore[arg-type]
    assert stored.session is not None
    number = stored.session.number

    def revoke() -> None:
        stored.session, feed.mark, feed.latest = None, 2, News(1, frozenset((number,)))

    stored.while_reading = revoke
    assert (await live.find(b"c", "token", now)).session is None
    assert live.peek(b"c", now) is None


@pytest.mark.parametrize("news", ["session", "user", "everything"])
async def test_a_revocation_drops_its_sessions_from_the_cache(
    front: Front, stored: Stored, news: str
) -> None:
    """CVE-2021-41230, GHSA-x883-2vmg-xwf7: changes took effect late or never during a session."""
    feed, now = Feed(), front.clock()
    live = Live(stored, feed)  # type: ignore[arg-type]
    assert stored.session is not None
    session = stored.session
    await live.find(b"c", "token", now)
    stored.session, feed.mark = None, 2
    feed.latest = {
        "session": News(1, sessions=frozenset((session.number,))),
        "user": News(1, users=frozenset((session.user.number,))),
        "everything": News(1, everything=True),
    }[news]
    assert live.peek(b"c", now) is None
    assert (await live.find(b"c", "token", now)).session is None


async def test_a_session_unconfirmed_for_too_long_is_refused(front: Front, stored: Stored) -> None:
    feed, now = Feed(), front.clock()
    live = Live(stored, feed)  # type: ignore[arg-type]
    await live.find(b"c", "token", now)
    feed.broken = True
    assert live.peek(b"c", now + CONFIRMATION_S - 0.1) is not None
    for later in (now + CONFIRMATION_S, now - 1):
        assert live.peek(b"c", later) is None
        with pytest.raises(StorageUnavailable):
            await live.find(b"c", "token", later)


async def test_without_a_marker_storage_is_read_every_time(front: Front, stored: Stored) -> None:
    feed, now = Feed(), front.clock()
    feed.mark = 0
    live = Live(stored, feed)  # type: ignore[arg-type]
    for _ in range(3):
        assert live.peek(b"c", now) is None
        await live.find(b"c", "token", now)
    assert stored.reads == 3


async def test_memory_is_bounded(front: Front, stored: Stored) -> None:
    live, now = Live(stored, Feed()), front.clock()  # type: ignore[arg-type]
    for number in range(SESSIONS_LIMIT + 5):
        await live.find(b"%d" % number, "token", now)
    assert len(live._cached) == SESSIONS_LIMIT
    assert live.peek(b"0", now) is None


async def test_an_unknown_token_is_cached_for_a_while(front: Front, stored: Stored) -> None:
    feed, now = Feed(), front.clock()
    live = Live(stored, feed)  # type: ignore[arg-type]
    stored.session, stored.known = None, False
    assert not live.is_unknown(b"c", now)
    await live.find(b"c", "token", now)
    assert live.is_unknown(b"c", now) and not live.is_unknown(b"d", now)
    assert not live.is_unknown(b"c", now - 1), "the clock went back"
    assert not live.is_unknown(b"c", now + CONFIRMATION_S), "storage was silent for long"
    for second in range(1, int(UNKNOWN_S) + 1):
        await live.catch_up(now + second)
    assert not live.is_unknown(b"c", now + UNKNOWN_S), "a restored backup may know it"


async def test_a_revocation_of_everything_clears_the_unknown_tokens(
    front: Front, stored: Stored
) -> None:
    feed, now = Feed(), front.clock()
    live = Live(stored, feed)  # type: ignore[arg-type]
    stored.session, stored.known = None, False
    await live.find(b"c", "token", now)
    feed.mark, feed.latest = 2, News(1, everything=True)
    assert not live.is_unknown(b"c", now)
    await live.catch_up(now)
    assert not live.is_unknown(b"c", now)


async def test_an_ended_session_is_not_cached_as_unknown(front: Front, stored: Stored) -> None:
    live, now = Live(stored, Feed()), front.clock()  # type: ignore[arg-type]
    stored.session = None
    await live.find(b"c", "token", now)
    assert not live.is_unknown(b"c", now)


async def test_memory_of_unknown_tokens_is_bounded(front: Front, stored: Stored) -> None:
    live, now = Live(stored, Feed()), front.clock()  # type: ignore[arg-type]
    stored.session, stored.known = None, False
    for number in range(UNKNOWN_LIMIT + 5):
        await live.find(b"%d" % number, "token", now)
    assert len(live._unknown) == UNKNOWN_LIMIT
    assert not live.is_unknown(b"0", now) and live.is_unknown(b"%d" % (UNKNOWN_LIMIT + 4), now)
