"""Limits wrong passwords: which clients have to wait, for how long, and what they are shown.

Knows names, networks and budgets; must not know which password is right, or how hashes are made. An
attempt is counted before it is checked, so that a thousand at once get no further than a few.

An attempt is counted for its networks, for the name as typed, and for the user with that name. Only
locks of the first two are shown: all names and addresses of a user share one budget
(CVE-2025-24806), and a lock that began with a name and is shown for an address would reveal that
both belong to one user. While only the user is locked, every password is answered as wrong.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from doorward.accounts import randomness
from doorward.accounts.audit.audit_log import Event, Kind, build_event
from doorward.accounts.keys import Keys
from doorward.accounts.names import parse_handle
from doorward.accounts.passwords.fair_queue import FairQueue
from doorward.accounts.passwords.login_queue import LoginQueue
from doorward.accounts.permissions import Actor, require_over
from doorward.accounts.refusals import LockedOut
from doorward.accounts.user import User

PURPOSE = "attempts at unknown names"
USER = "user"
NETWORK = "network"
KNOWN = "known"  # prefix of the budget for all of a user's known browsers

# Widths of networks, the widest first. With IPv6, a host has a /64 of addresses, a household often
# has a /56, and a /48 is easy to get (RIPE-690).
WIDTHS = {4: (32,), 6: (48, 56, 64)}
# A /48 may contain many households, so it gets more attempts than one of its /64.
WIDER = 4
# Parts of a budget's key between the network and a keyed hash: for a name as typed, and for an
# unknown name in place of a user.
TYPED = "name"
NOBODY = "nobody"
PURGED_AT_ONCE = 500  # budgets at a time, so that no login waits long
SETTLED_AT_ONCE = 100  # ended locks at a time
NO_ADDRESS = "none"  # a client on a Unix socket without a trusted proxy

# Logins that run at the same time: two hash, two write.
PLACES = 4
WAITING = 1024  # waiting for a place; about twenty seconds of hashing


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """`attempts` for a user from one network, `network_attempts` for all users from one."""

    attempts: int
    network_attempts: int
    window_s: float
    ban_s: float


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget of attempts. `user` is a number, None for networks and unknown names. If it is not
    `shown`, clients never learn of its lock."""

    key: str
    network: str
    limit: int
    user: int | None = None
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Period:
    """Attempts of the last `window_s` count; a used-up budget is locked for `ban_s`."""

    window_s: float
    ban_s: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Either the shown budget that is locked, and until when, and nothing was counted; or the
    budgets that this attempt used up, and whether a hidden one is locked."""

    locked: tuple[str, float] | None = None
    exhausted: tuple[str, ...] = ()
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock-out. `user` is a name, None for networks and unknown names; `network` is None if a
    user is locked out everywhere."""

    scope: str
    network: str | None
    user: str | None
    until: float


class AttemptStore(Protocol):
    """Every method raises StorageUnavailable."""

    async def locked(self, budgets: Sequence[str], now: float) -> tuple[str, float] | None:
        """The first locked one of these budgets, and until when; changes nothing."""

    async def spend(
        self, attempt: str, wanted: Sequence[Budget], period: Period, now: float
    ) -> Spent:
        """Count the attempt in every budget, or in none if a shown one is locked, in one atomic
        step. A lock that lasts longer than a new one would was set by a clock that has been
        corrected since; it is shortened to the length of a new one."""

    async def give_back(self, attempt: str, cleared: Sequence[str] = ()) -> None:
        """Undo this attempt, and forget all attempts in the `cleared` budgets."""

    async def locks(self, now: float) -> Sequence[Lock]:
        """Current lock-outs, the next to end first; one per user and network."""

    async def refused(self, counts: Mapping[str, int]) -> None:
        """Add these numbers to the attempts that each budget's lock has refused."""

    async def settle(self, now: float, limit: int) -> int:
        """Write one record for each ended lock that refused attempts, at most so many; returns how
        many."""

    async def lift(
        self,
        *,
        user: int | None = None,
        endings: Sequence[str] = (),
        networks: Sequence[str] = (),
        event: Event,
    ) -> int:
        """Forget all attempts for a user, in budgets whose keys have one of these endings, and of
        networks; returns how many locks ended."""

    async def purge(self, before: float, now: float, limit: int) -> int:
        """Delete attempts before that time and budgets that were not used since, at most so many;
        returns how many."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A password that is about to be checked or, if it `is_refused`, answered as wrong without a
    check. `own` are the budgets that a right one clears."""

    id: str
    user: User | None
    own: tuple[str, ...]
    exhausted: tuple[str, ...]  # scopes of budgets that this attempt used up
    is_refused: bool = False


def get_network(address: str) -> str:
    """The network whose attempts are counted together: IPv4 /32, IPv6 /64; mapped addresses as
    IPv4."""
    return get_networks(address)[-1]


def get_networks(address: str) -> tuple[str, ...]:
    """The networks around an address, the widest first."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return (NO_ADDRESS,)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped  # GHSA-7jmw-8259-q9jx: otherwise a client has two budgets
    networks = []
    for prefix in WIDTHS[found.version]:
        host_bits = found.max_prefixlen - prefix
        networks.append(f"{type(found)(int(found) >> host_bits << host_bits)}/{prefix}")
    return tuple(networks)


class Regulation:
    """If `limits` is None, there are no lock-outs, only turns."""

    __slots__ = ("_key", "_limits", "_queue", "_refused", "_store", "_turns")

    def __init__(self, store: AttemptStore, limits: AttemptLimits | None, keys: Keys) -> None:
        self._store = store
        self._limits = limits
        self._key = keys.follow(lambda derive: derive(PURPOSE)[0])
        self._turns = LoginQueue()
        self._queue = FairQueue(PLACES, WAITING)
        self._refused: Counter[str] = Counter()  # attempts that each budget's lock refused

    @asynccontextmanager
    async def turn(
        self, name: str, address: str, *, known: User | None = None
    ) -> AsyncIterator[None]:
        """Hold this from before `begin` until the attempt is checked and recorded. It admits one
        attempt at a time for a name from a network, and per network only a small part of its
        budget; networks take turns. Names of one user do not wait for each other, because that
        would reveal that they belong together. `known` is the user of a known browser.

        Raises Overloaded.
        """
        networks = get_networks(address)
        if known is not None:  # does not wait for others in the network
            own = _key_of_known(known)
            async with self._turns.turn(own, 1), self._queue.place((own,)):
                yield
            return
        if self._limits is None:
            async with self._queue.place(networks):
                yield
            return
        at_once = max(1, self._limits.network_attempts // 4)
        async with self._turns.turn(self._typed(name, networks[-1]), 1):
            async with self._turns.turn(networks[-1], at_once):
                async with self._queue.place(networks):
                    yield

    async def check(
        self, name: str, user: User | None, address: str, now: float, *, known: User | None = None
    ) -> None:
        """Returns if there is no lock to show. Takes no turn and writes nothing. Raises LockedOut,
        even for a right password."""
        if self._limits is None:
            return
        budgets = self._budgets(name, user, address, True, known)
        await self._check([budget.key for budget in budgets if budget.shown], now)

    async def _check(self, keys: Sequence[str], now: float) -> None:
        assert self._limits is not None
        found = await self._store.locked(keys, now)
        if found is not None and found[1] <= now + self._limits.ban_s:
            self._refuse(*found, now)

    async def begin(
        self,
        name: str,
        user: User | None,
        address: str,
        now: float,
        *,
        conceals: bool = True,
        known: User | None = None,
    ) -> Attempt | None:
        """Count an attempt for a name that belongs to this user or to nobody; None if nothing is
        counted. `conceals` is False for a client known to be the user; `known` is the user of a
        known browser, which has its own budget.

        Raises LockedOut, whatever the password is."""
        limits = self._limits
        if limits is None:
            return None
        budgets = self._budgets(name, user, address, conceals, known)
        attempt, period = randomness.public_id(), Period(limits.window_s, limits.ban_s)
        spent = await self._store.spend(attempt, budgets, period, now)
        if spent.locked is not None:
            self._refuse(*spent.locked, now)
        scopes = [_scope(key) for key in spent.exhausted if f" {TYPED} " not in key]
        own = tuple(budget.key for budget in budgets if _scope(budget.key) == USER)
        return Attempt(attempt, user, own, tuple(scopes), spent.is_refused)

    def _refuse(self, key: str, until: float, now: float) -> None:
        """Count the refused attempt, and raise LockedOut."""
        self._refused[key] += 1
        raise LockedOut(until - now, _scope(key))

    async def passed(self, attempt: Attempt | None) -> None:
        """The password was right: clear the user's attempts from this network, under this name.
        Failures for other users from there still count; otherwise an attacker with an account could
        reset them."""
        if attempt is not None:
            await self._store.give_back(attempt.id, attempt.own)

    async def withdraw(self, attempt: Attempt | None) -> None:
        """The password was not checked."""
        if attempt is not None:
            await self._store.give_back(attempt.id)

    async def count_network(self, address: str, now: float) -> bool:
        """Count a failure without a name, such as a wrong token, for the networks around this
        address. Returns whether it used up their budget. Raises LockedOut, and counts nothing, if
        that was used up before."""
        if self._limits is None:
            return False
        budgets = self._budgets_of_networks(address)
        await self._check([budget.key for budget in budgets], now)
        period = Period(self._limits.window_s, self._limits.ban_s)
        spent = await self._store.spend(randomness.public_id(), budgets, period, now)
        if spent.locked is not None:
            self._refuse(*spent.locked, now)
        return bool(spent.exhausted)

    async def lockouts(self, now: float) -> tuple[Lock, ...]:
        """Current lock-outs, the next to end first."""
        locks = await self._store.locks(now)
        if self._limits is None:
            return tuple(locks)
        most = now + self._limits.ban_s  # set by a clock that was ahead
        return tuple(replace(lock, until=min(lock.until, most)) for lock in locks)

    async def unlock(self, user: User, now: float, *, actor: Actor) -> int:
        """End the user's lock-outs from everywhere; returns how many. They include those of the
        user's names and addresses that began before these belonged to the user. Networks that are
        locked for all users stay locked. Raises NotPermitted."""
        require_over(actor, user)
        names = (user.username, *(email.address for email in user.emails if email.verified))
        typed = [f" {TYPED} {self._hash(name)}" for name in names]
        lifted = build_event(Kind.UNLOCKED, now, subject=user, detail=USER)
        return await self._store.lift(user=user.number, endings=typed, event=lifted)

    async def unlock_network(self, address: str, now: float) -> int:
        """End the lock-outs of the networks around this address; returns how many."""
        lifted = build_event(Kind.UNLOCKED, now, detail=f"{NETWORK} {get_network(address)}")
        return await self._store.lift(networks=get_networks(address), event=lifted)

    async def flush(self, now: float) -> None:
        """Write how many attempts were refused, in one batch, and one record for each lock that has
        ended. Called every few seconds."""
        if self._limits is None:
            return
        refused, self._refused = self._refused, Counter()
        try:
            if refused:
                await self._store.refused(refused)
        except BaseException:
            self._refused.update(refused)
            raise
        await self._store.settle(now, SETTLED_AT_ONCE)

    async def purge(self, now: float) -> int:
        """Delete a batch of attempts and budgets that no longer count; returns how many. If it is
        less than PURGED_AT_ONCE, nothing is left."""
        if self._limits is None:
            return 0
        kept_s = self._limits.window_s + self._limits.ban_s
        return await self._store.purge(now - kept_s, now, PURGED_AT_ONCE)

    def _budgets(
        self, name: str, user: User | None, address: str, conceals: bool, known: User | None
    ) -> tuple[Budget, ...]:
        """The number of budgets does not depend on the user behind the name. A known browser has a
        single one, shared by all of the user's known browsers, so that more notes do not mean more
        attempts."""
        assert self._limits is not None
        if known is not None:
            own, most = _key_of_known(known), self._limits.attempts
            return (Budget(own, get_network(address), most, known.number),)
        budgets, network = self._budgets_of_networks(address), get_network(address)
        number, most = None if user is None else user.number, self._limits.attempts
        typed = Budget(self._typed(name, network), network, most, number)
        target = f"{network} {NOBODY} {self._hash(name)}"
        if user is not None:
            target = f"{network} user {user.number}"
        return (*budgets, typed, Budget(target, network, most, number, not conceals))

    def _budgets_of_networks(self, address: str) -> list[Budget]:
        assert self._limits is not None
        *wider, network = get_networks(address)
        budgets = [Budget(network, network, self._limits.network_attempts)]
        if wider:
            wide = wider[0]
            budgets.insert(0, Budget(wide, wide, self._limits.network_attempts * WIDER))
        return budgets

    def _typed(self, name: str, network: str) -> str:
        return f"{network} {TYPED} {self._hash(name)}"

    def _hash(self, name: str) -> str:
        """The name in any spelling (GHSA-hjj4-hfjm-fmrj), as a keyed hash, because people sometimes
        type their password there."""
        text = (parse_handle(name) or name).encode("utf-8", "surrogatepass")
        return hmac.new(self._key(), text, hashlib.sha256).hexdigest()


def _key_of_known(user: User) -> str:
    return f"{KNOWN} {USER} {user.number}"


def _scope(key: str) -> str:
    return USER if " " in key else NETWORK
