"""Logins from many networks take turns, so that guessing from a few delays nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from doorward.accounts.keys import Keys
from doorward.accounts.logins import Logins
from doorward.accounts.passwords.fair_queue import FairQueue
from doorward.accounts.passwords.hashing import Password, Passwords, PasswordVerdict
from doorward.accounts.passwords.known_browsers import KnownBrowsers
from doorward.accounts.passwords.regulation import PLACES, WIDER, get_networks
from doorward.accounts.refusals import InvalidCredentials, LockedOut, Overloaded, Refusal
from doorward.accounts.sessions.sessions import ClientInfo

from tests.support.core import LIMITS, Core
from tests.support.memory import NOW


async def rounds(count: int = 5) -> None:
    """Let every task that can continue do so."""
    for _ in range(count):
        await asyncio.sleep(0)


class Places:
    """A queue in which admitted tasks keep their place until they are released."""

    def __init__(self, at_once: int = 1, waiting: int = 100) -> None:
        self.queue = FairQueue(at_once, waiting)
        self.order: list[str] = []
        self.refused: list[str] = []
        self.leave = asyncio.Semaphore(0)

    async def come(self, name: str, *path: str) -> None:
        try:
            async with self.queue.place(path):
                self.order.append(name)
                await self.leave.acquire()
        except Overloaded:
            self.refused.append(name)

    async def all(self, comings: Sequence[tuple[str, ...]]) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.come(*one)) for one in comings]
        await rounds()
        return tasks


async def test_networks_take_turns() -> None:
    places = Places()
    tasks = await places.all([(f"a{n}", "a") for n in range(4)] + [("b0", "b"), ("b1", "b")])
    for _ in tasks:
        places.leave.release()
        await rounds()
    assert places.order == ["a0", "a1", "b0", "a2", "b1", "a3"]


async def test_networks_within_a_wider_one_share_its_turns() -> None:
    places = Places()
    tasks = await places.all([(f"w{n}", "wide", f"narrow{n}") for n in range(9)] + [("x", "x")])
    tasks += await places.all([("late", "wide", "narrow8")])
    for _ in tasks:
        places.leave.release()
        await rounds()
    assert places.order[:3] == ["w0", "w1", "x"]
    assert places.order[-1] == "late", "the second of its network comes after the first of others"


async def test_a_full_queue_refuses_the_network_that_filled_it() -> None:
    places = Places(waiting=4)
    tasks = await places.all([("in", "a"), *((f"a{n}", "a") for n in range(5))])
    assert places.refused == ["a4"]
    tasks += await places.all([("b0", "b")])
    assert places.refused == ["a4", "a3"]
    for _ in tasks:
        places.leave.release()
        await rounds()
    assert places.order == ["in", "a0", "b0", "a1", "a2"]


async def test_a_client_that_leaves_frees_its_place_for_the_next() -> None:
    places = Places()
    first, second, third = await places.all([("a0", "a"), ("a1", "a"), ("a2", "a")])
    second.cancel()
    await rounds()
    first.cancel()
    await rounds()
    assert places.order == ["a0", "a2"]
    # Cancelled at the moment in which the place becomes free.
    fourth, fifth = await places.all([("a3", "a"), ("a4", "a")])
    places.leave.release()
    third.cancel()
    fourth.cancel()
    await rounds()
    assert places.order == ["a0", "a2", "a4"]
    fifth.cancel()
    await rounds()
    async with places.queue.place(("b",)):
        pass
    assert places.queue._free == 1 and not places.queue._waiting.length


class Scripted(Passwords):
    """Records turns instead of hashing; every hash takes one round of the event loop."""

    def __init__(self) -> None:
        super().__init__(threads=1, sleep=self.slept)
        self.judged: list[str] = []
        self.waits: list[float] = []

    async def slept(self, wait_s: float) -> None:
        self.waits.append(wait_s)

    async def verify(
        self, stored: str, scheme: str, password: Password, *, renew: bool = True
    ) -> PasswordVerdict:
        await self.waste(password)
        return PasswordVerdict(password == "right")

    async def waste(self, password: Password = "", spent: PasswordVerdict | None = None) -> None:
        self.judged.append(str(password))
        await rounds()


@pytest.fixture
def scripted(core: Core) -> Scripted:
    passwords = Scripted()
    core.logins = Logins(
        core.users,
        core.sessions,
        passwords,
        core.regulation,
        core.audit_log,
        core.second_factors,
        KnownBrowsers(Keys((b"k" * 32,))),
    )
    return passwords


async def tried(core: Core, name: str, password: str, address: str) -> Refusal | None:
    try:
        await core.login(name, password, client=ClientInfo(address, ""))
    except Refusal as refusal:
        return refusal
    return None


@pytest.mark.parametrize(
    ("network", "behind"), [("2001:db8:0:{:x}::1", 1), ("2001:db8:{:x}::1", 30)]
)
async def test_guessers_from_thirty_networks_delay_a_login_by_a_few_hashes(
    network: str, behind: int, core: Core, scripted: Scripted
) -> None:
    """13 connections from each of 30 IPv6 /64 networks once made it wait 27 s, behind 390 times two
    hashes."""
    await core.add()
    guesses = [
        asyncio.create_task(tried(core, f"name{n} {c}", "wrong", network.format(n)))
        for n in range(30)
        for c in range(13)
    ]
    await rounds(3)
    assert await tried(core, "alice", "right", "192.0.2.1") is None
    place = scripted.judged.index("right")
    assert place <= 2 * PLACES + behind, place
    assert {type(one) for one in await asyncio.gather(*guesses)} <= {InvalidCredentials, LockedOut}


async def test_an_ipv6_48_has_four_times_the_attempts_of_one_of_its_64(
    core: Core, scripted: Scripted
) -> None:
    for number in range(LIMITS.network_attempts * WIDER):
        refusal = await tried(core, f"name{number}", "wrong", f"2001:db8:0:{number:x}::1")
        assert isinstance(refusal, InvalidCredentials), number
    refusal = await tried(core, "another", "wrong", "2001:db8:0:ffff::1")
    assert isinstance(refusal, LockedOut) and refusal.scope == "network"
    assert isinstance(await tried(core, "another", "wrong", "2001:db8:1::1"), InvalidCredentials)
    assert await core.regulation.unlock_network("2001:db8:0:ffff::1", NOW) == 1
    assert isinstance(
        await tried(core, "another", "wrong", "2001:db8:0:ffff::1"), InvalidCredentials
    )


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("192.0.2.1", ("192.0.2.1/32",)),
        ("2001:db8:1:203:4::5", ("2001:db8:1::/48", "2001:db8:1:200::/56", "2001:db8:1:203::/64")),
        ("", ("none",)),
    ],
)
def test_the_networks_around_an_address(address: str, networks: tuple[str, ...]) -> None:
    assert get_networks(address) == networks


async def test_a_spent_budget_costs_neither_a_hash_nor_a_record(
    core: Core, scripted: Scripted
) -> None:
    await core.add()
    for _ in range(5):
        await tried(core, "alice", "wrong", "192.0.2.1")
    hashes, records, rows = len(scripted.judged), len(core.audit_log.events), len(attempts(core))
    for password in ("wrong", "right") * 20:
        assert isinstance(await tried(core, "alice", password, "192.0.2.1"), LockedOut)
    assert len(scripted.judged) == hashes
    assert len(core.audit_log.events) == records
    assert len(attempts(core)) == rows
    assert len(scripted.waits) == 40, "each is answered after the time of a hash"


def attempts(core: Core) -> Sequence[object]:
    rows: Sequence[object] = core.regulation._store.rows  # type: ignore[attr-defined]
    return rows


def test_the_duration_of_a_failed_login_is_measured() -> None:
    now = [0.0]
    passwords = Passwords(threads=1, timer=lambda: now[0])

    def judge() -> PasswordVerdict:
        now[0] += 0.5
        return PasswordVerdict(False)

    for _ in range(40):
        passwords._time(judge)
    assert passwords._failure_s == pytest.approx(0.5, rel=1e-3)
    passwords.close()
