"""How often a password may be wrong: which clients have to wait, for how long, and what they learn.

It knows names, networks and budgets; which answer is right, and how a hash is made, it must not
know. An attempt is counted before it is checked, so that a thousand at once are no more than a few.

An attempt is counted on its networks, on the name as it was typed, and on the user that the name
leads to. Only locks of the first two are shown: all names and addresses of a user share one budget
(CVE-2025-24806), and a lock that began for a name and is shown for an address would say that both
are one user's. While only the user is locked, every password is wrong.
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
KNOWN = "known"  # begins the budget of all browsers in which a user has logged in before

# Widths of networks, the widest first. With IPv6 a host has a /64 of addresses to choose from, a
# household often a /56, and a /48 is free for the asking (RIPE-690).
WIDTHS = {4: (32,), 6: (48, 56, 64)}
# A /48 may hold a town of households, hence more attempts than for one of its /64.
WIDER = 4
# What a budget's key says after its network, before a keyed hash: a name as it was typed, and what
# stands in for the user of a name that nobody has.
TYPED = "name"
NOBODY = "nobody"
PURGED_AT_ONCE = 500  # budgets, so that no login waits long
SETTLED_AT_ONCE = 100  # locks that ended
NO_ADDRESS = "none"  # who came over a unix socket that no trusted proxy speaks for

# Logins that run at a time: two hash, two write.
PLACES = 4
WAITING = 1024  # for a place; about twenty seconds of hashing


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """`attempts` for a user from one network, `network_attempts` for all users from one."""

    attempts: int
    network_attempts: int
    window_s: float
    ban_s: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What attempts are counted on. `user` is a number, None for networks and unknown names.
    A lock of one that is not `shown` is never told."""

    key: str
    network: str
    limit: int
    user: int | None = None
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Period:
    """Attempts of the last `window_s` count; who spends a budget waits `ban_s`."""

    window_s: float
    ban_s: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Either the shown budget that is locked, with the time it is so until, and nothing was
    counted; or the budgets that this attempt emptied, and whether one not shown is locked."""

    locked: tuple[str, float] | None = None
    exhausted: tuple[str, ...] = ()
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Lock:
    """Who has to wait. `user` is a name, None for networks and for names that nobody has;
    `network` is None where a user waits everywhere."""

    scope: str
    network: str | None
    user: str | None
    until: float


class AttemptStore(Protocol):
    """Every method raises StorageUnavailable."""

    async def locked(self, budgets: Sequence[str], now: float) -> tuple[str, float] | None:
        """The first of these budgets that is locked, and until when; changes nothing."""

    async def spend(
        self, attempt: str, wanted: Sequence[Budget], period: Period, now: float
    ) -> Spent:
        """Counts the attempt on every budget, or on none when a shown one is locked: all in one
        step that no other process comes between. A lock that would last longer than a new one was
        set by a clock that has been corrected since, and ends when a new one would."""

    async def give_back(self, attempt: str, cleared: Sequence[str] = ()) -> None:
        """As if this attempt had not been; all attempts on the `cleared` budgets are forgotten."""

    async def locks(self, now: float) -> Sequence[Lock]:
        """Those that last, the next to end first; one of a user for each network."""

    async def refused(self, counts: Mapping[str, int]) -> None:
        """Adds to the attempts that the lock of each budget has refused."""

    async def settle(self, now: float, limit: int) -> int:
        """Writes one record of each lock that ended and refused attempts, at most so many; returns
        how many."""

    async def lift(self, *, user: int | None, networks: Sequence[str], event: Event) -> int:
        """Forgets the attempts at a user from everywhere, or those of networks; returns how many
        locks ended."""

    async def purge(self, before: float, now: float, limit: int) -> int:
        """Forgets attempts older than that and budgets that nobody touched since, at most so many
        budgets; returns how many."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One password that is about to be checked; or, when it `is_refused`, to be called wrong
    unseen. `own` are the budgets that a right one clears."""

    id: str
    user: User | None
    own: tuple[str, ...]
    exhausted: tuple[str, ...]  # scopes whose last attempt this is
    is_refused: bool = False


def get_network(address: str) -> str:
    """The network whose attempts count together: IPv4 /32, IPv6 /64, mapped ones as IPv4."""
    return get_networks(address)[-1]


def get_networks(address: str) -> tuple[str, ...]:
    """The networks around an address, the widest first."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return (NO_ADDRESS,)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped  # GHSA-7jmw-8259-q9jx: or one client has two budgets
    networks = []
    for prefix in WIDTHS[found.version]:
        host_bits = found.max_prefixlen - prefix
        networks.append(f"{type(found)(int(found) >> host_bits << host_bits)}/{prefix}")
    return tuple(networks)


class Regulation:
    """`limits` None: nobody ever waits but for their turn."""

    __slots__ = ("_key", "_limits", "_queue", "_refused", "_store", "_turns")

    def __init__(self, store: AttemptStore, limits: AttemptLimits | None, keys: Keys) -> None:
        self._store = store
        self._limits = limits
        self._key = keys.follow(lambda derive: derive(PURPOSE)[0])
        self._turns = LoginQueue()
        self._queue = FairQueue(PLACES, WAITING)
        self._refused: Counter[str] = Counter()  # attempts by the budget whose lock refused them

    @asynccontextmanager
    async def turn(
        self, name: str, address: str, *, known: User | None = None
    ) -> AsyncIterator[None]:
        """Held from before `begin` until the attempt is checked and recorded: one at a time for a
        name from a network, and for a network no more than leave most of its budget to those that
        fail; networks take turns. By the name and not by its user: how long a second name has to
        wait for the first would tell that they are one user's. `known` is the user from a browser
        of theirs.

        Raises Overloaded.
        """
        networks = get_networks(address)
        if known is not None:  # waits for no neighbour
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
        """Returns when no lock is to be shown. Takes no turn and writes nothing. Raises LockedOut,
        whatever the password is."""
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
        """Counts an attempt at a name, which leads to this user or to nobody; None when nothing is
        counted. `conceals` is False for a client known to be the user; `known` is the user from a
        browser of theirs, which has a budget of its own.

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
        """Raises LockedOut, and counts that."""
        self._refused[key] += 1
        raise LockedOut(until - now, _scope(key))

    async def passed(self, attempt: Attempt | None) -> None:
        """The password was right: the user starts over from this network, under this name. What
        others failed at from there still counts, or one account of one's own would pay for
        guessing at the rest."""
        if attempt is not None:
            await self._store.give_back(attempt.id, attempt.own)

    async def withdraw(self, attempt: Attempt | None) -> None:
        """The password was not checked."""
        if attempt is not None:
            await self._store.give_back(attempt.id)

    async def count_network(self, address: str, now: float) -> bool:
        """Counts a failure that was at no name, such as a wrong token, on the networks around this
        address; whether it emptied their budget. Raises LockedOut, and counts nothing, when that
        is empty already."""
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
        """Who has to wait now, the next to be free first."""
        locks = await self._store.locks(now)
        if self._limits is None:
            return tuple(locks)
        most = now + self._limits.ban_s  # after a clock that was ahead
        return tuple(replace(lock, until=min(lock.until, most)) for lock in locks)

    async def unlock(self, user: User, now: float, *, actor: Actor) -> int:
        """Lets the user try again from everywhere; returns how many locks ended. Networks that are
        locked for all their users stay so. Raises NotPermitted."""
        require_over(actor, user)
        lifted = build_event(Kind.UNLOCKED, now, subject=user, detail=USER)
        return await self._store.lift(user=user.number, networks=(), event=lifted)

    async def unlock_network(self, address: str, now: float) -> int:
        """Lets the networks around this address try again; returns how many locks ended."""
        lifted = build_event(Kind.UNLOCKED, now, detail=f"{NETWORK} {get_network(address)}")
        return await self._store.lift(user=None, networks=get_networks(address), event=lifted)

    async def flush(self, now: float) -> None:
        """Keeps how many attempts were refused, in one batch, and writes one record of each lock
        that is over. To be called every few seconds."""
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
        """Forgets what no longer counts, a batch of it; returns how much. Less than PURGED_AT_ONCE
        was all of it."""
        if self._limits is None:
            return 0
        kept_s = self._limits.window_s + self._limits.ban_s
        return await self._store.purge(now - kept_s, now, PURGED_AT_ONCE)

    def _budgets(
        self, name: str, user: User | None, address: str, conceals: bool, known: User | None
    ) -> tuple[Budget, ...]:
        """Always as many for one address, whatever user the name leads to. One alone for a known
        browser, and the same for all of a user's, so that many notes are not many budgets."""
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
        """The name in any spelling (GHSA-hjj4-hfjm-fmrj), as a keyed hash, for people type
        passwords there."""
        text = (parse_handle(name) or name).encode("utf-8", "surrogatepass")
        return hmac.new(self._key(), text, hashlib.sha256).hexdigest()


def _key_of_known(user: User) -> str:
    return f"{KNOWN} {USER} {user.number}"


def _scope(key: str) -> str:
    return USER if " " in key else NETWORK
