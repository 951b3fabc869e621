"""Regulation with stored attempts: every row of its table, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.keys import Keys
from doorward.accounts.passwords.regulation import AttemptLimits, Regulation, get_network
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import LockedOut
from doorward.accounts.user import User
from doorward.storage import Database
from doorward.storage.database import SQLITE, open_storage

from tests.storage.conftest import Open
from tests.support.people import NOW, add

LIMITS = AttemptLimits(attempts=5, network_attempts=50, window_s=120.0, ban_s=300.0)
KEYS = Keys((b"k" * 32,))
HOME, AWAY = "192.0.2.1", "198.51.100.7"


@dataclass
class Desk:
    """Attempts to log in, judged by regulation."""

    regulation: Regulation
    user: User | None = None

    async def wrong(self, name: str = "alice", address: str = HOME, now: float = NOW) -> str:
        return await self._tried(name, address, now, right=False)

    async def right(self, name: str = "alice", address: str = HOME, now: float = NOW) -> str:
        return await self._tried(name, address, now, right=True)

    async def _tried(self, name: str, address: str, now: float, *, right: bool) -> str:
        """The result of an attempt: judged, or the scope of the lock-out."""
        user = self.user if name.casefold() == "alice" else None
        try:
            attempt = await self.regulation.begin(name, user, address, now)
        except LockedOut as locked:
            return locked.scope
        if right:
            await self.regulation.passed(attempt)
        return "judged"


def regulation(store: Database, **limits: float) -> Regulation:
    chosen = {name: limits.get(name, getattr(LIMITS, name)) for name in LIMITS.__slots__}
    return Regulation(store.attempts, AttemptLimits(**chosen), KEYS)


@pytest.fixture
async def desk(store: Database) -> Desk:
    return Desk(regulation(store), await add(store))


async def test_attempt_n_spends_the_budget_and_attempt_n_plus_1_is_refused(desk: Desk) -> None:
    assert [await desk.wrong() for _ in range(5)] == ["judged"] * 5
    assert await desk.wrong() == "user"


async def test_a_right_answer_while_locked_out_is_refused_alike(desk: Desk) -> None:
    for _ in range(5):
        await desk.wrong()
    assert (await desk.right(), await desk.wrong()) == ("user", "user")


async def test_a_right_answer_is_accepted_at_the_last_attempt(desk: Desk) -> None:
    for _ in range(4):
        await desk.wrong()
    assert await desk.right() == "judged"
    assert [await desk.wrong() for _ in range(6)] == ["judged"] * 5 + ["user"]


async def test_a_client_cannot_lock_out_another_network(desk: Desk) -> None:
    """CVE-2026-77561: an attacker from another network, for any length of time."""
    for number in range(100):
        await desk.wrong(address=AWAY, now=NOW + number)
    assert await desk.right(address=HOME, now=NOW + 100) == "judged"
    assert await desk.wrong(address=AWAY, now=NOW + 100) == "user"


async def test_bogus_names_lock_no_other_network(desk: Desk) -> None:
    """CVE-2026-77561: 257 of them locked the whole instance."""
    tried = [await desk.wrong(f"bogus{number}", AWAY) for number in range(257)]
    assert tried == ["judged"] * 50 + ["network"] * 207
    assert await desk.right(address=HOME) == "judged"


async def test_a_network_that_is_spent_is_refused_for_every_name(desk: Desk) -> None:
    for number in range(50):
        await desk.wrong(f"somebody{number}")
    assert (await desk.right(), await desk.wrong("nobody")) == ("network", "network")


async def test_a_locked_user_leaves_the_network_open_for_others(desk: Desk) -> None:
    for _ in range(6):
        await desk.wrong()
    assert await desk.wrong("bob") == "judged"


async def test_a_success_clears_the_pair_only(desk: Desk) -> None:
    """Otherwise an attacker with an own account could reset the budget for guessing at others."""
    tried = []
    for number in range(60):
        tried.append(await desk.wrong(f"somebody{number}"))
        tried.append(await desk.right())
    # The fiftieth failure spends the network's budget; the fifty successes in between do not count.
    assert tried == ["judged"] * 99 + ["network"] * 21


async def test_a_success_elsewhere_clears_nothing_here(desk: Desk) -> None:
    for _ in range(5):
        await desk.wrong()
    assert await desk.right(address=AWAY) == "judged"
    assert await desk.right() == "user"


async def test_right_answers_spend_no_budget(desk: Desk) -> None:
    assert {await desk.right() for _ in range(60)} == {"judged"}


async def test_an_attempt_that_was_not_judged_costs_nothing(desk: Desk) -> None:
    for _ in range(60):
        attempt = await desk.regulation.begin("alice", desk.user, HOME, NOW)
        await desk.regulation.withdraw(attempt)
    assert await desk.wrong() == "judged"


async def test_an_unknown_name_is_locked_out_like_a_known_one(desk: Desk) -> None:
    """Otherwise lock-outs would reveal which users exist."""
    for name in ("alice", "nobody"):
        assert [await desk.wrong(name) for _ in range(6)] == ["judged"] * 5 + ["user"]


@pytest.mark.parametrize("spelling", ["Nobody", "NOBODY", "\uff4eobody"])
async def test_an_unknown_name_has_one_budget_in_every_spelling(desk: Desk, spelling: str) -> None:
    """GHSA-hjj4-hfjm-fmrj"""
    for _ in range(5):
        await desk.wrong("nobody")
    assert await desk.wrong(spelling) == "user"


async def test_a_user_has_one_budget_whatever_name_leads_there(desk: Desk) -> None:
    """CVE-2025-24806: separate counts for name and address double the number of guesses. The
    lock-out only shows for a name that was tried as often."""
    for name in ("alice", "a@example.com", "ALICE", "A@example.com", "alice"):
        attempt = await desk.regulation.begin(name, desk.user, HOME, NOW)
        assert attempt is not None and not attempt.is_refused
    for name in ("alice", "a@example.com", "ALICE", "a@example.com", "a@example.com"):
        attempt = await desk.regulation.begin(name, desk.user, HOME, NOW + 1)
        assert attempt is not None and attempt.is_refused and not attempt.exhausted
    for name in ("alice", "a@example.com"):
        with pytest.raises(LockedOut) as caught:
            await desk.regulation.begin(name, desk.user, HOME, NOW + 2)
        assert caught.value.retry_after_s == 299, "counted from the name's own last attempt"
    attempt = await desk.regulation.begin("another", desk.user, HOME, NOW + 300)
    assert attempt is not None and not attempt.is_refused, "what was refused prolongs no lock"


async def test_after_a_clock_correction_no_lock_out_exceeds_a_ban(
    desk: Desk,
) -> None:
    ahead = NOW + 86_400 * 365
    for _ in range(6):
        await desk.wrong(now=ahead)
    await desk.regulation.check("alice", desk.user, HOME, NOW)
    assert await desk.right(now=NOW) == "user"
    assert [lock.until for lock in await desk.regulation.lockouts(NOW)] == [NOW + 300]
    with pytest.raises(LockedOut):
        await desk.regulation.check("alice", desk.user, HOME, NOW + 299)
    assert [await desk.wrong(now=NOW + 300) for _ in range(6)] == ["judged"] * 5 + ["user"]


async def test_checking_a_lock_writes_nothing(
    desk: Desk, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await desk.wrong()

    def writing(self: object) -> None:
        raise AssertionError("a transaction for an attempt that is refused")

    monkeypatch.setattr(type(store.engine), "writing", writing)
    for _ in range(3):
        with pytest.raises(LockedOut):
            await desk.regulation.check("alice", desk.user, HOME, NOW)


async def test_refusals_during_a_lock_are_recorded_by_one_process(
    desk: Desk, store: Database, opened: Open
) -> None:
    other = Desk(regulation(await opened()), desk.user)
    for _ in range(5):
        await desk.wrong()
        await desk.wrong("nobody", "2001:db8::1")
    for one in (desk, other, desk, other, other):
        assert await one.wrong() == "user"
        assert await one.wrong("nobody", "2001:db8::2", NOW + 1) == "user"
    for one in (desk, other):
        await one.regulation.flush(NOW + 299)
    assert not await store.audit_log.latest(RecordFilter(kind=Kind.LOCK_ENDED), 9)
    assert await desk.regulation.purge(NOW + 9999) == 5, "not what is still to be recorded"
    await asyncio.gather(*(one.regulation.flush(NOW + 300) for one in (desk, other)))
    await desk.regulation.flush(NOW + 303)
    found = [
        one.event for one in await store.audit_log.latest(RecordFilter(kind=Kind.LOCK_ENDED), 9)
    ]
    assert sorted((one.subject, one.address, one.detail) for one in found) == [
        ("", "2001:db8::/64", "user: 5 more refused"),
        ("Alice", "192.0.2.1", "user: 5 more refused"),
    ]


async def test_attempts_count_within_the_window_only(desk: Desk) -> None:
    for _ in range(4):
        await desk.wrong()
    tried = [await desk.wrong(now=NOW + 120) for _ in range(6)]
    assert tried == ["judged"] * 5 + ["user"]


async def test_the_window_slides(desk: Desk) -> None:
    tried = [await desk.wrong(now=NOW + 40 * number) for number in range(12)]
    assert tried == ["judged"] * 12
    assert [await desk.wrong(now=NOW + 445) for _ in range(3)] == ["judged"] * 2 + ["user"]


async def test_a_lock_out_ends_on_the_second_and_says_when(desk: Desk) -> None:
    for second in range(5):
        await desk.wrong(now=NOW + second)
    with pytest.raises(LockedOut) as caught:
        await desk.regulation.begin("alice", desk.user, HOME, NOW + 10)
    assert caught.value.retry_after_s == 294
    assert await desk.wrong(now=NOW + 303.5) == "user"
    assert [await desk.wrong(now=NOW + 304) for _ in range(6)] == ["judged"] * 5 + ["user"]


async def test_refused_attempts_do_not_prolong_the_wait(desk: Desk) -> None:
    for second in range(200):
        await desk.wrong(now=NOW + second)
    assert await desk.right(now=NOW + 304) == "judged"


async def test_after_a_wait_shorter_than_the_window_counting_starts_again(store: Database) -> None:
    desk = Desk(regulation(store, ban_s=10.0), await add(store))
    for _ in range(5):
        await desk.wrong()
    assert [await desk.wrong(now=NOW + 10) for _ in range(6)] == ["judged"] * 5 + ["user"]


async def test_without_regulation_attempts_are_unlimited(store: Database) -> None:
    free = Regulation(store.attempts, None, KEYS)
    assert [await free.begin("alice", None, HOME, NOW) for _ in range(60)] == [None] * 60
    await free.passed(None)
    await free.withdraw(None)
    assert await free.purge(NOW) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),  # GHSA-7jmw-8259-q9jx
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "none"),
        ("unix", "none"),
    ],
)
def test_addresses_count_by_network(address: str, network: str) -> None:
    assert get_network(address) == network


async def test_an_ipv6_network_counts_as_one(desk: Desk) -> None:
    tried = [await desk.wrong(address=f"2001:db8::{number:x}") for number in range(1, 7)]
    assert tried == ["judged"] * 5 + ["user"]
    assert await desk.wrong(address="2001:db8:0:1::1") == "judged"


async def test_a_lock_out_survives_a_restart(desk: Desk, opened: Open) -> None:
    for _ in range(5):
        await desk.wrong()
    again = Desk(regulation(await opened()), desk.user)
    assert await again.right() == "user"


async def test_two_connections_count_together(desk: Desk, opened: Open) -> None:
    """Even all at once, there are no more guesses than the budget allows."""
    other = Desk(regulation(await opened()), desk.user)
    tried = await asyncio.gather(*(one.wrong() for one in (desk, other) for _ in range(20)))
    assert sorted(tried) == ["judged"] * 5 + ["user"] * 35


async def test_concurrent_names_spend_exactly_the_networks_budget(desk: Desk, opened: Open) -> None:
    other = Desk(regulation(await opened()), desk.user)
    tried = await asyncio.gather(
        *(one.wrong(f"name{n}") for n in range(40) for one in (desk, other))
    )
    assert sorted(tried) == ["judged"] * 50 + ["network"] * 30


async def test_known_browsers_spend_one_budget_of_their_user_exactly(
    desk: Desk, opened: Open
) -> None:
    """For all processes and addresses together; other users' budgets are unaffected."""
    other, user = Desk(regulation(await opened()), desk.user), desk.user
    assert user is not None

    async def guess(one: Desk, address: str) -> str:
        try:
            await one.regulation.check("alice", user, address, NOW, known=user)
            await one.regulation.begin("alice", user, address, NOW, known=user)
        except LockedOut as locked:
            return locked.scope
        return "judged"

    for _ in range(6):
        await desk.wrong()
    tried = await asyncio.gather(
        *(guess(one, f"192.0.2.{n}") for n in range(10, 30) for one in (desk, other))
    )
    assert sorted(tried) == ["judged"] * 5 + ["user"] * 35
    assert await desk.wrong(address=AWAY) == "judged"
    (lock,) = [lock for lock in await desk.regulation.lockouts(NOW) if lock.network != f"{HOME}/32"]
    assert (lock.scope, lock.user) == ("user", "Alice")


GUESSER = """
import asyncio, pathlib, sys
from doorward.accounts.keys import Keys
from doorward.accounts.refusals import LockedOut
from doorward.accounts.passwords.regulation import AttemptLimits, Regulation
from doorward.storage.database import open_storage

async def main():
    store = await open_storage(sys.argv[1], pathlib.Path(sys.argv[2]))
    regulation = Regulation(
        store.attempts, AttemptLimits(5, 50, 120.0, 300.0), Keys((b"k" * 32,))
    )
    async def guess():
        try:
            await regulation.begin("nobody", None, "192.0.2.1", 1_700_000_000.0)
        except LockedOut:
            return 0
        return 1
    sys.stdin.readline()
    print(sum(await asyncio.gather(*(guess() for _ in range(15)))))
    await store.close()

asyncio.run(main())
"""


@pytest.mark.outside
async def test_two_processes_count_together(store: Database, storage: str, tmp_path: Path) -> None:
    guessers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", GUESSER, storage, str(tmp_path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    done = await asyncio.gather(*(guesser.communicate(b"go\n") for guesser in guessers))
    assert sum(int(out) for out, _ in done) == 5


async def test_lock_outs_are_listed_until_they_end(desk: Desk) -> None:
    for _ in range(5):
        await desk.wrong()
        await desk.wrong("a secret typed as a name", now=NOW + 1)
    for number in range(50):
        await desk.wrong(f"somebody{number}", AWAY, NOW + 2)
    locks = await desk.regulation.lockouts(NOW + 3)
    assert [(lock.scope, lock.user, lock.network, lock.until) for lock in locks] == [
        ("user", "Alice", "192.0.2.1/32", NOW + 300),
        ("user", None, "192.0.2.1/32", NOW + 301),
        ("network", None, "198.51.100.7/32", NOW + 302),
    ]
    assert "secret" not in repr(locks)
    assert len(await desk.regulation.lockouts(NOW + 301)) == 1
    assert not await desk.regulation.lockouts(NOW + 302)


async def test_unlocking_lets_a_user_try_again_from_everywhere(desk: Desk, store: Database) -> None:
    assert desk.user is not None
    for _ in range(5):
        await desk.wrong()
        await desk.wrong(address=AWAY)
    assert await desk.regulation.unlock(desk.user, NOW, actor=OWNER) == 2
    assert [await desk.wrong() for _ in range(6)] == ["judged"] * 5 + ["user"]
    assert await desk.right(address=AWAY) == "judged"
    assert await desk.regulation.unlock(desk.user, NOW + 400, actor=OWNER) == 0
    (first, second) = await store.audit_log.latest(RecordFilter(kind=Kind.UNLOCKED), 9)
    assert (first.event.subject, second.event.subject) == ("Alice", "Alice")


async def test_unlocking_forgets_attempts_before_they_lock(desk: Desk) -> None:
    assert desk.user is not None
    for _ in range(4):
        await desk.wrong()
    assert await desk.regulation.unlock(desk.user, NOW, actor=OWNER) == 0
    assert [await desk.wrong() for _ in range(5)] == ["judged"] * 5


@pytest.mark.parametrize("typed", ["alice", "ALICE", "alice@example.com"])
async def test_unlocking_covers_a_name_that_was_tried_before_it_was_the_users(
    store: Database, typed: str
) -> None:
    desk = Desk(regulation(store))
    for _ in range(5):
        await desk.wrong(typed)
        await desk.wrong("bob", AWAY)
    user = await add(store, "Alice", "alice@example.com")
    assert await desk.regulation.unlock(user, NOW, actor=OWNER) == 1
    assert [await desk.wrong(typed), await desk.wrong("bob", AWAY)] == ["judged", "user"]


async def test_unlocking_a_user_does_not_unlock_the_network(desk: Desk) -> None:
    assert desk.user is not None
    for number in range(50):
        await desk.wrong(f"somebody{number}")
    await desk.regulation.unlock(desk.user, NOW, actor=OWNER)
    assert await desk.wrong() == "network"
    assert await desk.regulation.unlock_network(HOME, NOW) == 1
    assert await desk.right() == "judged"


async def test_outdated_entries_are_deleted(desk: Desk, store: Database) -> None:
    for number in range(10):
        await desk.wrong(f"somebody{number}")
    for _ in range(5):
        await desk.wrong(now=NOW + 400)
    assert await desk.regulation.purge(NOW + 421) == 20  # each name, and the key of its user
    assert await desk.wrong(now=NOW + 421) == "user"
    assert await _rows(store) == (3, 15)  # those of the network, the name and Alice, five on each
    await desk.regulation.purge(NOW + 2000)
    assert await _rows(store) == (0, 0)


async def _rows(store: Database) -> tuple[int, int]:
    from doorward.storage.tables import attempts, budgets
    from sqlalchemy import func, select

    async with store.engine.reading() as connection:
        budget_rows = await connection.scalar(select(func.count()).select_from(budgets))
    async with store.engine.reading() as connection:
        attempt_rows = await connection.scalar(select(func.count()).select_from(attempts))
    return int(budget_rows or 0), int(attempt_rows or 0)


async def test_no_name_that_was_typed_is_in_the_file(tmp_path: Path) -> None:
    """Users type passwords into that field: neither plain, nor as a hash that could be
    brute-forced."""
    import hashlib

    store = await open_storage(SQLITE, tmp_path)
    await Desk(regulation(store)).wrong("hunter2hunter2")
    await store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in kept
    assert hashlib.sha256(b"hunter2hunter2").hexdigest().encode() not in kept
