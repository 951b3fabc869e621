"""How often a password may be wrong: who has to wait, and for how long.

It knows names, networks and budgets; which answer is right, and how a hash is made, it must not
know. An attempt is counted before it is judged, so that a thousand at once are no more than a few.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from doorward.accounts import chance
from doorward.accounts.audit import Event, Kind, event
from doorward.accounts.keys import Keys
from doorward.accounts.names import handle_of
from doorward.accounts.permissions import Actor, require_over
from doorward.accounts.refusals import LockedOut
from doorward.accounts.turns import Turns
from doorward.accounts.user import User

PURPOSE = "attempts at unknown names"
USER = "user"
NETWORK = "network"

# A household or a small site: with IPv6 everybody has a /64 of addresses to choose from.
PREFIX = {4: 32, 6: 64}
PURGED_AT_ONCE = 500  # budgets, so that no login waits long
NO_ADDRESS = "none"  # who came over a unix socket that no trusted proxy speaks for


@dataclass(frozen=True, slots=True)
class Limits:
    """`attempts` for a user from one network, `network_attempts` for all users from one."""

    attempts: int
    network_attempts: int
    window_s: float
    ban_s: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What attempts are counted on. `user` is a number, None for networks and unknown names."""

    key: str
    network: str
    limit: int
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Period:
    """Attempts of the last `window_s` count; who spends a budget waits `ban_s`."""

    window_s: float
    ban_s: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Either the budget that is locked, with the time it is so until, and nothing was counted; or
    the budgets that this attempt emptied."""

    locked: tuple[str, float] | None = None
    exhausted: tuple[str, ...] = ()


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

    async def spend(
        self, attempt: str, wanted: Sequence[Budget], period: Period, now: float
    ) -> Spent:
        """Counts the attempt on every budget, or on none when one is locked: all in one step that
        no other process comes between. The wider budget comes first."""

    async def give_back(self, attempt: str, cleared: Sequence[str] = ()) -> None:
        """As if this attempt had not been; all attempts on the `cleared` budgets are forgotten."""

    async def locks(self, now: float) -> Sequence[Lock]:
        """Those that last, the next to end first."""

    async def lift(self, *, user: int | None, network: str | None, event: Event) -> int:
        """Forgets the attempts at a user from everywhere, or those of a network; returns how many
        locks ended."""

    async def purge(self, before: float, now: float, limit: int) -> int:
        """Forgets attempts older than that and budgets that nobody touched since, at most so many
        budgets; returns how many."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One password that is about to be judged."""

    id: str
    user: User | None
    pair: str
    exhausted: tuple[str, ...]  # scopes whose last attempt this is


def network_of(address: str) -> str:
    """The network whose attempts count together: IPv4 /32, IPv6 /64, mapped ones as IPv4."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return NO_ADDRESS
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped  # GHSA-7jmw-8259-q9jx: or one client has two budgets
    prefix = PREFIX[found.version]
    host_bits = found.max_prefixlen - prefix
    base = type(found)(int(found) >> host_bits << host_bits)
    return f"{base}/{prefix}"


class Regulation:
    """`limits` None: nobody ever waits."""

    __slots__ = ("_key", "_limits", "_store", "_turns")

    def __init__(self, store: AttemptStore, limits: Limits | None, keys: Keys) -> None:
        self._store = store
        self._limits = limits
        self._key = keys.derive(PURPOSE)[0]
        self._turns = Turns()

    @asynccontextmanager
    async def turn(self, name: str, user: User | None, address: str) -> AsyncIterator[None]:
        """Held from before `begin` until the attempt is judged: one at a time for a user from a
        network, and for a network no more than leave most of its budget to those that fail.

        Raises Overloaded."""
        if self._limits is None:
            yield
            return
        network = network_of(address)
        async with self._turns.turn(f"{network} {self._target(name, user)}", 1):
            async with self._turns.turn(network, max(1, self._limits.network_attempts // 4)):
                yield

    async def begin(self, name: str, user: User | None, address: str, now: float) -> Attempt | None:
        """Counts an attempt at a name, which leads to this user or to nobody; None when nothing is
        counted. Raises LockedOut, whatever the password is."""
        limits = self._limits
        if limits is None:
            return None
        network = network_of(address)
        pair = f"{network} {self._target(name, user)}"
        budgets = (
            Budget(network, network, limits.network_attempts),
            Budget(pair, network, limits.attempts, None if user is None else user.number),
        )
        attempt = chance.public_id()
        spent = await self._store.spend(
            attempt, budgets, Period(limits.window_s, limits.ban_s), now
        )
        if spent.locked is not None:
            key, until = spent.locked
            raise LockedOut(until - now, NETWORK if key == network else USER)
        scopes = tuple(NETWORK if key == network else USER for key in spent.exhausted)
        return Attempt(attempt, user, pair, scopes)

    async def passed(self, attempt: Attempt | None) -> None:
        """The password was right: the user starts anew from this network. What others failed at
        from there still counts, or one account of one's own would pay for guessing at the rest."""
        if attempt is not None:
            await self._store.give_back(attempt.id, [attempt.pair])

    async def withdraw(self, attempt: Attempt | None) -> None:
        """The password was not judged."""
        if attempt is not None:
            await self._store.give_back(attempt.id)

    async def lockouts(self, now: float) -> tuple[Lock, ...]:
        """Who has to wait now, the next to be free first."""
        return tuple(await self._store.locks(now))

    async def unlock(self, user: User, now: float, *, actor: Actor) -> int:
        """Lets the user try again from everywhere; returns how many locks ended. Networks that are
        locked for all their users stay so. Raises NotPermitted."""
        require_over(actor, user)
        lifted = event(Kind.UNLOCKED, now, subject=user, detail=USER)
        return await self._store.lift(user=user.number, network=None, event=lifted)

    async def unlock_network(self, address: str, now: float) -> int:
        """Lets the network of this address try again; returns how many locks ended."""
        lifted = event(Kind.UNLOCKED, now, detail=f"{NETWORK} {network_of(address)}")
        return await self._store.lift(user=None, network=network_of(address), event=lifted)

    async def purge(self, now: float) -> int:
        """Forgets what no longer counts, a batch of it; returns how much. Less than PURGED_AT_ONCE
        was all of it."""
        if self._limits is None:
            return 0
        kept_s = self._limits.window_s + self._limits.ban_s
        return await self._store.purge(now - kept_s, now, PURGED_AT_ONCE)

    def _target(self, name: str, user: User | None) -> str:
        """One for all names and addresses of a user (CVE-2025-24806), in any spelling
        (GHSA-hjj4-hfjm-fmrj). A name that nobody has gets one too, or who has to wait would tell
        which users there are; it is kept as a keyed hash, for people type passwords there."""
        if user is not None:
            return f"user {user.number}"
        text = (handle_of(name) or name).encode("utf-8", "surrogatepass")
        return f"name {hmac.new(self._key, text, hashlib.sha256).hexdigest()}"
