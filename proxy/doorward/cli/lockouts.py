"""`doorward lockouts`: lists users and networks that are locked out, and unlocks a network.

It knows how to print; the core decides on lock-outs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import with_accounts
from doorward.cli.exits import WRONG_USAGE, leave
from doorward.cli.options import ConfigOption, JsonOption
from doorward.cli.tables import print_json, print_table, tell

if TYPE_CHECKING:
    from doorward.accounts.passwords.regulation import Lock
    from doorward.wiring.accounts import Accounts

CODES = "codes"  # for wrong codes, a user is locked out from every address


def lockouts(
    config: ConfigOption = None,
    json: JsonOption = False,
    lift: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Unlock the network of this address."),
    ] = None,
) -> None:
    """Show users and networks locked after wrong passwords or codes."""
    if lift is not None:
        _lift(config, lift, json)
        return
    locks = with_accounts(config, _locks)
    if json:
        print_json([_describe(lock) for lock in locks])
    else:
        print_table(("user", "scope", "network", "until"), map(_cells, locks))


async def _locks(accounts: Accounts) -> Sequence[Lock]:
    """Lock-outs for passwords and codes, in the order of their end."""
    from doorward.accounts.passwords.regulation import Lock

    now = time.time()
    codes = [
        Lock(CODES, None, lock.username, lock.until)
        for lock in await accounts.second_factors.locks(now)
    ]
    return sorted([*codes, *await accounts.regulation.lockouts(now)], key=lambda lock: lock.until)


def _lift(config: ConfigOption, address: str, json: bool) -> None:
    from doorward.accounts.passwords.regulation import NO_ADDRESS, get_network

    address = address.partition("/")[0]  # in the form that `lockouts` prints
    network = get_network(address)
    if network == NO_ADDRESS != address:
        leave(f"{address!r} is not an address.", WRONG_USAGE)
    lifted = with_accounts(
        config, lambda accounts: accounts.regulation.unlock_network(address, time.time())
    )
    sentence = f"network {network} {'unlocked' if lifted else 'was not locked out'}"
    tell(sentence, {"network": network, "lifted": lifted}, json)


def _describe(lock: Lock) -> dict[str, object]:
    """The printed form of a lock-out; its keys are part of the command's interface."""
    from doorward.observe.audit import format_time

    return {
        "scope": lock.scope,
        "user": lock.user,
        "network": lock.network,
        "until": format_time(lock.until),
    }


def _cells(lock: Lock) -> tuple[str, ...]:
    from doorward.observe.audit import format_time

    nobody = "(everybody)" if lock.scope == "network" else "(no such user)"
    return (lock.user or nobody, lock.scope, lock.network or "", format_time(lock.until))
