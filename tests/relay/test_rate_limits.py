"""Rate limits of a route per user or address, for every kind of request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from doorward.accounts.keys import Keys
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.token import NewToken
from doorward.gate.decision import Forward, Refuse
from doorward.middleware import Doorward
from doorward.relay.rate_limits import RouteLimits
from doorward.settings import InvalidSettings, settings_from, settings_in_process
from doorward.storage.rates import BUCKET_BYTES, BUCKETS, SLOTS_PER_BUCKET, Rates
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import Carrier, Start
from tests.support.asgi import ask, scope
from tests.support.clock import FixedClock
from tests.support.front import Build, accepted
from tests.support.live import config_user
from tests.support.origin import OK, Origin, answering
from tests.support.verifying import verify, verifying
from tests.support.waiting import PATIENCE_S
from tests.support.websocket import serving
from tests.support.wire import Answer, get

KEYS = Keys((b"k" * 32,))
LIMIT = {"requests": 3, "per": "30s"}
RULES = {"rules": [{"path": "/public/*", "require": "public"}]}


# The counters


@pytest.fixture
def rates(tmp_path: Path) -> Iterator[Rates]:
    with closing(Rates(tmp_path, KEYS)) as rates:
        yield rates


@pytest.mark.parametrize(("limit", "window_s"), [(1, 1.0), (7, 60.0), (600, 60.0), (5000, 0.5)])
def test_only_as_many_requests_as_the_limit_pass_at_once(
    rates: Rates, clock: FixedClock, limit: int, window_s: float
) -> None:
    waits = [rates.pace("alice", limit, window_s, clock()) for _ in range(limit + 2)]
    assert waits[:limit] == [0.0] * limit
    assert waits[limit:] == pytest.approx([window_s / limit] * 2, rel=1e-3)
    clock.now += window_s / limit * 1.01
    assert rates.pace("alice", limit, window_s, clock()) == 0
    assert rates.pace("alice", limit, window_s, clock()) > 0


def test_there_is_no_boundary_at_which_twice_as_many_pass(rates: Rates, clock: FixedClock) -> None:
    clock.now = 1_800_000_059.0  # the last second of a minute
    assert [rates.pace("a", 600, 60.0, clock()) for _ in range(600)] == [0.0] * 600
    clock.now += 2
    passed = [rates.pace("a", 600, 60.0, clock()) for _ in range(600)].count(0.0)
    assert passed == 20  # the budget regained in two seconds


@given(
    st.integers(1, 8),
    st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=40),
)
def test_the_rate_never_exceeds_burst_plus_refill(limit: int, pauses: list[float]) -> None:
    with TemporaryDirectory() as folder, closing(Rates(Path(folder), KEYS)) as rates:
        now, passed = 1_800_000_000.0, []
        for pause in pauses:
            now += pause
            if rates.pace("a", limit, 4.0, now) == 0:
                passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            took_s = passed[last] - passed[first]
            assert last - first + 1 <= limit + took_s * limit / 4.0 + 1e-6


def test_a_clock_that_is_set_back_locks_nobody_out(rates: Rates, clock: FixedClock) -> None:
    assert rates.pace("alice", 1, 60.0, clock()) == 0
    clock.now -= 86_400
    assert rates.pace("alice", 1, 60.0, clock()) == 0


def test_a_flood_of_addresses_neither_fills_the_disk_nor_resets_limits(
    rates: Rates, clock: FixedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single requests are soon forgotten; clients that have used up their budget are kept
    longer."""
    monkeypatch.setattr("doorward.storage.rates.BUCKETS", 4)
    for _ in range(600):
        rates.pace("heavy", 600, 60.0, clock())
    for number in range(SLOTS_PER_BUCKET * 400):
        clock.now += 0.000_01
        assert rates.pace(f"network 10.0.{number >> 8}.{number & 255}/32", 600, 60.0, clock()) == 0
    assert rates.pace("heavy", 600, 60.0, clock()) > 0
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size <= 4 * BUCKET_BYTES < BUCKETS * BUCKET_BYTES


# The settings


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ({}, "rate_limit.requests", "is required"),
        ({"requests": 0}, "rate_limit.requests", "out of bounds"),
        ({"requests": 5, "per": 60}, "rate_limit.per", "lacks a unit"),
        ({"requests": 5, "per": "0s"}, "rate_limit.per", "longer than zero"),
        ({"requests": 1_000_000, "per": "500ms"}, "rate_limit.requests", "a second"),
        ({"requests": 5, "by": "session"}, "rate_limit.by", "not one of user, address"),
        ({"requests": 5, "burst": 7}, "rate_limit.burst", "unknown key"),
    ],
)
def test_a_wrong_limit_is_reported_at_the_start(value: Any, key: str, words: str) -> None:
    with pytest.raises(InvalidSettings) as wrong:
        settings_from({"routes": [{"upstream": "http://a", "rate_limit": value}]})
    assert f"routes[0].{key}: " in str(wrong.value)
    assert words in str(wrong.value)


# Whose budget it is


async def statuses(front: Any, *lines: Any, target: str = "/", times: int = 4, **more: Any) -> Any:
    return [(await front.get(target, *lines, **more)).status for _ in range(times)]


USED_UP = [200, 200, 200, 429]


async def test_each_user_has_a_budget_over_all_sessions_and_addresses(
    fronts: Build, origin: Origin
) -> None:
    front = await fronts(routes=[{"upstream": origin.url, "rate_limit": LIMIT}])
    first, second = [front.cookie(await front.opened()) for _ in range(2)]
    assert await statuses(front, first, times=2) == [200, 200]
    assert await statuses(front, second, times=2, peer="198.51.100.9") == [200, 429]
    assert await statuses(front, first, times=1) == [429]
    bob = front.cookie(await front.opened("bob"))
    assert await statuses(front, bob) == USED_UP
    assert len(origin.heads) == 6, "what is too many reaches no upstream"
    front.clock.now += 10
    assert await statuses(front, first, times=2) == [200, 429]


async def test_a_token_spends_its_users_budget(fronts: Build, origin: Origin) -> None:
    front = await fronts(routes=[{"upstream": origin.url, "rate_limit": LIMIT}])
    opened = await front.opened()
    made = await front.accounts.api_tokens.add_token(
        opened.session.user, NewToken("script"), actor=OWNER, now=front.clock()
    )
    bearer = (b"authorization", b"Bearer " + made.text.encode())
    assert await statuses(front, bearer, times=2) == [200, 200]
    assert await statuses(front, front.cookie(opened), times=2) == [200, 429]
    assert await statuses(front, bearer, times=1) == [429]


@pytest.mark.parametrize("by", ["user", "address"])
async def test_strangers_share_the_budget_of_their_address(
    fronts: Build, origin: Origin, by: str
) -> None:
    route = {"upstream": origin.url, "rate_limit": LIMIT | {"by": by}}
    front = await fronts(routes=[route], access=RULES)
    assert await statuses(front, target="/public/x", peer="192.0.2.1") == USED_UP
    assert await statuses(front, target="/public/x", peer="192.0.2.2") == USED_UP
    # IPv6 addresses count per /64, because a client usually has all of it; a mapped address counts
    # as IPv4.
    spread = [f"2001:db8:0:1::{number:x}" for number in range(3)]
    for peer in spread:
        assert await statuses(front, target="/public/x", times=1, peer=peer) == [200]
    for peer, status in (("2001:db8:0:1:ffff::", 429), ("2001:db8:0:2::", 200)):
        assert await statuses(front, target="/public/x", times=1, peer=peer) == [status]
    assert await statuses(front, target="/public/x", times=1, peer="::ffff:192.0.2.1") == [429]
    assert await statuses(front, target="/public/x", peer="") == USED_UP  # for a Unix socket
    cookie = front.cookie(await front.opened())
    used = USED_UP if by == "user" else [429] * 4
    assert await statuses(front, cookie, target="/public/x", peer="192.0.2.1") == used


async def test_only_allowed_requests_count(fronts: Build, origin: Origin) -> None:
    """Otherwise a client without access could use up the budget of others behind the same
    address."""
    route = {"upstream": origin.url, "rate_limit": LIMIT | {"by": "address"}}
    front = await fronts(routes=[route, {"upstream": origin.url, "path": "/free"}])
    cookie = front.cookie(await front.opened())
    assert await statuses(front, times=9) == [401] * 9
    assert await statuses(front, (b"cookie", b"doorward=forged"), times=9) == [401] * 9
    assert (await front.get("/.doorward/login")).status == 200
    assert await statuses(front, cookie) == USED_UP
    assert await statuses(front, cookie, target="/free", times=9) == [200] * 9


async def test_the_answer_says_how_long_to_wait(fronts: Build, origin: Origin) -> None:
    front = await fronts(routes=[{"upstream": origin.url, "rate_limit": LIMIT}])
    cookie = front.cookie(await front.opened())
    await statuses(front, cookie, times=3)
    program = await front.get("/", cookie)
    assert program.status == 429
    assert program.values(b"retry-after") == [b"10"]
    assert program.values(b"cache-control") == [b"no-store"]
    said = json.loads(program.body)
    assert said["error"] == "too_many_requests" and said["request_id"]
    front.clock.now += 9.5
    page = await front.get("/", cookie, (b"sec-fetch-mode", b"navigate"))
    assert page.status == 429
    assert page.values(b"retry-after") == [b"1"]
    assert b"Too many requests" in page.body


def test_without_counters_requests_are_refused() -> None:
    class Full:
        def pace(self, key: str, limit: int, window_s: float, now: float) -> float:
            raise StorageUnavailable

    routes = settings_from({"routes": [{"upstream": "http://a", "rate_limit": LIMIT}]}).routes
    judged = RouteLimits(Full(), routes).judge(accepted(), Forward(0, None), 0.0)
    assert isinstance(judged, Refuse) and judged.status == 503 and judged.route == 0


# Every kind of request


def test_limits_apply_under_every_server_and_are_counted_and_logged(
    deploy: Start, carrier: Carrier
) -> None:
    with Origin((answering(OK),)) as origin:
        limit = {"requests": 3, "per": "1d"}
        live = deploy(
            "",
            routes=[{"upstream": origin.url, "rate_limit": limit}],
            users=[config_user()],
            log={"access": True, "format": "json"},
            **carrier,
        )
        cookie = live.login()
        with live.client() as client:
            answers = [client.ask(get("/x", cookie, host=live.host)) for _ in range(4)]
        assert [answer.status for answer in answers] == USED_UP
        assert int(answers[3].values(b"retry-after")[0]) > 28_000
        assert len(origin.heads) == 3
        live.until_it_says("too_many_requests")
        told = (json.loads(line) for line in live.lines() if line.startswith("{"))
        (line,) = [line for line in told if line.get("status") == 429]
        assert (line["decision"], line["reason"]) == ("refused", "too_many_requests")
        assert line["user"] == "alice"
        if "server" not in carrier:
            metrics = live.admin("/metrics").text
            assert 'reason="too_many_requests"' in metrics


def test_all_workers_count_together(deploy: Start) -> None:
    with Origin((answering(OK),) * 40) as origin:
        limit = {"requests": 10, "per": "1d"}
        route = {"upstream": origin.url, "rate_limit": limit}
        live = deploy("", routes=[route], users=[config_user()], workers=2)
        cookie = live.login()
        found = [live.get("/", cookie).status for _ in range(30)]  # one connection for each
    assert (found.count(200), found.count(429)) == (10, 20)


def test_the_handshake_of_a_websocket_counts(deploy: Start) -> None:
    with serving() as application:
        route = {"upstream": application.url, "rate_limit": {"requests": 2, "per": "1d"}}
        live = deploy("", routes=[route], users=[config_user()])
        headers = {"Cookie": live.login().partition(": ")[2]}
        options: dict[str, Any] = {
            "additional_headers": headers,
            "proxy": None,
            "open_timeout": PATIENCE_S,
        }
        for _ in range(2):
            with connect(f"ws://{live.host}/", **options) as socket:
                for _ in range(9):  # its messages do not count
                    socket.send("here")
                    assert socket.recv(PATIENCE_S) == "here"
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{live.host}/", **options):
            pass
        assert refused.value.response.status_code == 429


@pytest.mark.parametrize(("front_proxy", "status"), [("/traefik", 429), ("/nginx", 403)])
async def test_requests_that_a_front_proxy_asks_about_count(
    fronts: Build, front_proxy: str, status: int
) -> None:
    """nginx turns any refusal except 401 and 403 into its own error."""
    front = await verifying(fronts, routes=[{"rate_limit": LIMIT | {"by": "address"}}])
    found = [
        await verify(front, front_proxy, target="/public/x", peer="10.0.0.1") for _ in range(4)
    ]
    assert [answer.status for answer in found] == [200, 200, 200, status]
    assert found[3].values(b"retry-after") == [b"10"]


async def test_an_application_in_this_process_is_limited(tmp_path: Path) -> None:
    reached = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    values = {
        "public_url": "http://app.test",
        "data_dir": str(tmp_path),
        "routes": [{"rate_limit": {"requests": 3, "per": "1d"}}],
        "access": {"default": "public"},
    }
    app = Doorward(inner, settings_in_process(values, tmp_path))
    async with app._gate:
        answers: list[Answer] = [await ask(app, scope("/x")) for _ in range(4)]
    assert [answer.status for answer in answers] == USED_UP
    assert len(reached) == 3
