"""`doorward keys …`: list and change the keys of cookies, secrets and assertions while Doorward
runs.

It knows how to print; `wiring/key_changes.py` decides when a key may be retired. It never prints a
secret.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import with_accounts
from doorward.cli.exits import REFUSED, WRONG_USAGE, leave
from doorward.cli.options import ConfigOption, JsonOption, commands, read_seconds
from doorward.cli.tables import format_time, print_json, print_table, tell
from doorward.text import format_count

if TYPE_CHECKING:
    from doorward.wiring.accounts import Accounts
    from doorward.wiring.key_changes import AddedKey, KeyState, Retirement

app = commands("List, rotate and retire keys. A running Doorward picks up changes by itself.")


@app.command("list")
def list_keys(config: ConfigOption = None, json: JsonOption = False) -> None:
    """List keys and their purposes, newest first."""
    now = time.time()

    async def job(accounts: Accounts) -> list[KeyState]:
        from doorward.wiring import key_changes

        return key_changes.list_keys(accounts.key_files.settings, now)

    found = with_accounts(config, job)
    if json:
        print_json([_describe(each, now) for each in found])
    else:
        print_table(HEADINGS, [_cells(each, now) for each in found])


@app.command()
def rotate(
    config: ConfigOption = None,
    wait: Annotated[
        str | None,
        typer.Option(
            "--in",
            metavar="DURATION",
            help="When the new key begins to sign, such as 1h. Default: in ten seconds.",
        ),
    ] = None,
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked",
            help="Sign everything with the new key at once, before other processes have read it.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Create a new key. Older keys verify until they are retired."""
    from doorward.wiring import key_changes

    if wait is not None and leaked:
        leave("--in and --leaked cannot be combined", WRONG_USAGE)
    wait_s = None if wait is None else read_seconds("--in", wait)
    if wait_s is not None and wait_s > key_changes.LONGEST_WAIT_S:
        leave("--in: at most 365d", WRONG_USAGE)

    async def job(accounts: Accounts) -> AddedKey:
        from doorward.settings.key_ring import KeysAreGiven

        now, settings = time.time(), accounts.key_files.settings
        try:
            added = key_changes.rotate(settings, now, wait_s, leaked=leaked)
        except KeysAreGiven as given:
            leave(key_changes.say_how_to_add(settings, given, now), REFUSED)
        try:
            await key_changes.record_rotation(accounts, added, now)
        except key_changes.NotRecorded as reason:
            leave(str(reason), REFUSED)
        return added

    added = with_accounts(config, job)
    tell(_say_added(added), _describe_added(added), json)


@app.command()
def retire(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="ID as shown by the list, or its beginning.")
    ],
    config: ConfigOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="End the sessions and tokens that still need the key."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Retire an old key that is no longer needed."""
    done = with_accounts(config, lambda accounts: _retire(accounts, id, force))
    sentences = [f"key {done.id} retired"]
    if done.sessions or done.tokens:
        sessions, tokens = (
            format_count(done.sessions, "session"),
            format_count(done.tokens, "token"),
        )
        sentences[0] += f": {sessions} and {tokens} ended"
    if done.stays is not None:
        sentences.append(f"{done.stays} is ignored from now on; remove it and its setting")
    told = {"id": done.id, "sessions": done.sessions, "tokens": done.tokens, "file": done.stays}
    tell(sentences, told, json)


async def _retire(accounts: Accounts, id: str, force: bool) -> Retirement:
    from doorward.settings.key_ring import KeysAreGiven
    from doorward.wiring import key_changes

    settings = accounts.key_files.settings
    try:
        return await key_changes.retire(settings, accounts, id, time.time(), force=force)
    except (key_changes.CannotRetire, key_changes.NotRecorded) as reason:
        leave(str(reason), REFUSED)
    except KeysAreGiven as given:
        leave(key_changes.say_how_to_remove(settings, given, id), REFUSED)


def _say_added(added: AddedKey) -> list[str]:
    at, later = format_time(added.signs_from), format_time(added.signs_assertions_from)
    return [
        f"key {added.id} created: {added.file}",
        f"it signs cookies and encrypts secrets from {at}, and signs assertions from {later}",
        f"key {added.former} verifies until you run: doorward keys retire {added.former}",
    ]


def _describe_added(added: AddedKey) -> dict[str, object]:
    """The printed form of a new key; its keys are part of the command's interface."""
    return {
        "id": added.id,
        "file": added.file,
        "signs_from": format_time(added.signs_from),
        "signs_assertions_from": format_time(added.signs_assertions_from),
        "former": added.former,
    }


def _describe(key: KeyState, now: float) -> dict[str, object]:
    """The printed form of a key for a purpose; its keys are part of the command's interface."""
    return {
        "id": key.id,
        "purpose": key.purpose,
        "state": key.state,
        "made_at": format_time(key.made_at),
        "age_s": max(0, int(now - key.made_at)),
        "signs_from": _time(key.signs_from),
        "retired_at": _time(key.retired_at),
        "file": key.file,
        "kids": dict(key.key_ids),
    }


def _time(at: float | None) -> str | None:
    return None if at is None else format_time(at)


HEADINGS = ("id", "purpose", "age", "state", "file")
UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def _cells(key: KeyState, now: float) -> tuple[str, ...]:
    state = key.state
    if key.signs_from is not None:
        state += f" (signs from {format_time(key.signs_from)})"
    if key.retired_at is not None:
        state += f" ({format_time(key.retired_at)})"
    return key.id, key.purpose, _format_age(now - key.made_at), state, key.file or ""


def _format_age(age_s: float) -> str:
    unit, length = next((one for one in UNITS if age_s >= one[1]), UNITS[-1])
    return f"{max(0, int(age_s // length))}{unit}"
