"""`doorward keys`: lists keys, makes a new one, and retires an old one when nothing needs it.

Joins key files with the core. After each step everything can still be read, even if the next step
fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from doorward.accounts.audit.audit_log import COMMAND, Event, Kind
from doorward.accounts.key_uses import KeyNeeds
from doorward.accounts.keys import NOTICE_S
from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.session import CLOCKS_DIFFER_S
from doorward.accounts.sessions.assertions import AssertionKeys
from doorward.observe.audit import format_time
from doorward.settings import Settings
from doorward.settings.key_ring import (
    KeyFile,
    KeysAreGiven,
    RetiredKey,
    add_key,
    find_first,
    read_ring,
    retire_key,
)
from doorward.text import format_count
from doorward.wiring.accounts import Accounts, renew_secrets
from doorward.wiring.keys import TAKEN_UP_S, build_keys

COOKIES, SECRETS, ASSERTIONS = "cookies", "secrets", "assertions"
SIGNS, VERIFIES, RETIRED = "signs", "verifies", "retired"
# By then everything else that a key has signed has expired: forms and links in mails after half an
# hour, access tokens after an hour unless the settings say otherwise, assertions after two minutes.
SHORT_LIVED_S = 3600.0
# How long it takes until a key that was put into a Secret by hand is in every pod: kubelets need a
# minute or two.
BY_HAND_S = 600.0
# Long enough to distribute a file. A key that signs in some years is forgotten until it does.
LONGEST_WAIT_S = 365 * 86_400.0


class CannotRetire(Exception):
    """Why a key cannot be retired, and what to do."""


class NotRecorded(Exception):
    """A key was made or retired, but the audit log does not say so. The files are changed first: a
    record of a change that then fails would be wrong."""

    def __init__(self, key_id: str, done: str, reason: object) -> None:
        super().__init__(f"key {key_id} {done}, but the audit log has no record of it: {reason}")


@dataclass(frozen=True, slots=True)
class KeyState:
    """The state of a key for one purpose. `signs_from`: when a new key begins to sign, in Unix
    seconds. `key_ids`: its names in assertions and `jwks.json`, by algorithm."""

    id: str
    purpose: str
    state: str
    file: str | None
    made_at: float
    signs_from: float | None = None
    retired_at: float | None = None
    key_ids: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AddedKey:
    """A new key. `signs_from` for cookies and secrets; for assertions it is `NOTICE_S` later.
    `former`: the one that signs until then."""

    id: str
    former: str
    file: str
    signs_from: float
    signs_assertions_from: float


@dataclass(frozen=True, slots=True)
class Retirement:
    """The result of retiring a key. `stays`: the configuration names its file, which is ignored
    from now on."""

    id: str
    sessions: int
    tokens: int
    stays: str | None


def list_keys(settings: Settings, now: float) -> list[KeyState]:
    """Every key and purpose, the newest first, then the retired ones. Raises InvalidSettings."""
    ring = read_ring(settings)
    algorithms = _list_algorithms(settings)
    found = []
    for key in ring.keys:
        for purpose in _list_purposes(settings):
            first = _find_signing(ring.keys, purpose, now)
            from_ = _signs_from(key, purpose)
            ids = _name_published(key, algorithms) if purpose == ASSERTIONS else ()
            state = KeyState(key.id, purpose, VERIFIES, str(key.path), key.made_at, key_ids=ids)
            if key is first:
                state = replace(state, state=SIGNS)
            found.append(replace(state, signs_from=from_ if key.since and now < from_ else None))
    left = {each.id: each for each in ring.left}
    return [*found, *_list_retired(settings, ring.retired, left)]


def rotate(settings: Settings, now: float, wait_s: float | None, *, leaked: bool) -> AddedKey:
    """A new key that signs in `wait_s`, or with `leaked` at once and everywhere. Raises
    KeysAreGiven, InvalidSettings."""
    former = _find_signing(read_ring(settings).keys, COOKIES, now)
    wait_s = TAKEN_UP_S if wait_s is None else wait_s
    key = add_key(settings, now if leaked else math.ceil(now + wait_s), is_urgent=leaked)
    from_, assertions_from = _signs_from(key, COOKIES), _signs_from(key, ASSERTIONS)
    return AddedKey(key.id, former.id, str(key.path), from_, assertions_from)


async def record_rotation(accounts: Accounts, key: AddedKey, now: float) -> None:
    """Raises NotRecorded."""
    await _record(accounts, Kind.KEY_ADDED, key.id, "made", now)


async def _record(accounts: Accounts, kind: Kind, key_id: str, done: str, now: float) -> None:
    try:
        await accounts.audit_log.record(Event(now, kind, COMMAND, detail=f"key {key_id}"))
    except StorageUnavailable as fault:
        raise NotRecorded(key_id, done, fault) from fault


async def retire(
    settings: Settings, accounts: Accounts, prefix: str, now: float, *, force: bool
) -> Retirement:
    """Stop accepting the key whose id begins like this. With `force`, re-encrypt secrets under it
    and end everything else that needs it. Raises CannotRetire, KeysAreGiven, NotRecorded,
    InvalidSettings, StorageFault, StorageUnavailable."""
    ring = read_ring(settings)
    key = _find(prefix, (*ring.keys, *ring.left))
    needs = KeyNeeds()
    if key in ring.keys:
        needs = await _settle(settings, accounts, ring.keys, key, now, force)
    retire_key(settings, key, now)
    if key in ring.keys:
        await _record(accounts, Kind.KEY_RETIRED, key.id, "retired", now)
    stays = str(key.path) if any(key.id == one.id for one in read_ring(settings).left) else None
    return Retirement(key.id, needs.sessions, needs.tokens, stays)


async def _settle(
    settings: Settings,
    accounts: Accounts,
    keys: tuple[KeyFile, ...],
    key: KeyFile,
    now: float,
    force: bool,
) -> KeyNeeds:
    """Returns what was ended because it needed the key. Raises CannotRetire."""
    if key.since > now:
        return KeyNeeds()  # it has signed nothing
    for purpose in _list_purposes(settings):
        if key is _find_signing(keys, purpose, now):
            raise CannotRetire(_say_that_it_signs(keys, key, purpose, now))
    before = _took_over_at(settings, keys[keys.index(key) - 1]) + CLOCKS_DIFFER_S
    if force:
        await renew_secrets(accounts)
    rest = tuple(each for each in keys if each is not key)
    needs = await accounts.key_uses.find(build_keys(rest, now), before, now)
    if needs.users:
        raise CannotRetire(_say_who_needs(key, needs))
    if force:
        await accounts.sessions.end_opened(before, now)
        await accounts.api_tokens.end_unused(before, now)
    elif now < before + SHORT_LIVED_S or needs.is_any:
        raise CannotRetire(_say_what_needs(key, needs, before + SHORT_LIVED_S))
    return needs


def _say_that_it_signs(keys: tuple[KeyFile, ...], key: KeyFile, purpose: str, now: float) -> str:
    coming = [due for each in keys if (due := _signs_from(each, purpose)) > now]
    if not coming:
        return f"key {key.id} signs {purpose}; make a new one first: doorward keys rotate"
    at = format_time(min(coming))
    return (
        f"key {key.id} signs {purpose} until {at}, when the new key takes over; retire it later."
        " If it has leaked, run: doorward keys rotate --leaked"
    )


def _say_who_needs(key: KeyFile, needs: KeyNeeds) -> str:
    names = ", ".join(needs.users[:5]) + (", …" if len(needs.users) > 5 else "")
    return (
        f"key {key.id} still encrypts secrets of {format_count(len(needs.users), 'user')}"
        f" ({names}). A"
        " running Doorward encrypts them with the new key within seconds; without one, use --force"
    )


def _say_what_needs(key: KeyFile, needs: KeyNeeds, short: float) -> str:
    until = max(short, needs.until)
    what = ["links in mails, forms and tokens of an hour"]
    if needs.sessions:
        what = [f"the cookies of {format_count(needs.sessions, 'session')}"]
    if needs.tokens:
        tokens = format_count(needs.tokens, "API token")
        what.append(f"{tokens} not used since it was replaced")
    until_text = f"until {format_time(until)}"
    if needs.tokens:
        until_text += " and until every such token is used once"
    return (
        f"key {key.id} is needed for {' and '.join(what)}, {until_text}; --force ends them and"
        " retires it now"
    )


def say_how_to_add(settings: Settings, why: KeysAreGiven, now: float) -> str:
    """Instructions for when a key cannot be made from here."""
    first, second = find_first(settings), math.ceil(now + BY_HAND_S)
    return (
        f"{why}. Put one line of `openssl rand 32 | basenc --base64url` beside it as"
        f" {first.name}.{second} (in Kubernetes: an entry of that name in the Secret, next to"
        f" {first.name}). It verifies at once and signs from {format_time(float(second))}"
    )


def say_how_to_remove(settings: Settings, why: KeysAreGiven, prefix: str) -> str:
    """Instructions for when a key that nothing needs cannot be retired from here."""
    first, ring = find_first(settings), read_ring(settings)
    key = _find(prefix, (*ring.keys, *ring.left))
    next_ = next((each for each in reversed(ring.keys) if each.since), None)
    what = f"Remove {key.path.name}"
    if key.path == first and next_ is not None:
        what = f"Give {first.name} the content of {next_.path.name} and remove that, in one step"
    return f"{why}. Nothing needs key {key.id} any more. {what}"


def _find(prefix: str, keys: tuple[KeyFile, ...]) -> KeyFile:
    found = [key for key in keys if key.id.startswith(prefix)] if prefix else []
    if len(found) != 1:
        many = "is no key's id" if not found else f"begins the ids of {len(found)} keys"
        raise CannotRetire(f"{prefix!r} {many}; see: doorward keys list")
    return found[0]


def _find_signing(keys: tuple[KeyFile, ...], purpose: str, now: float) -> KeyFile:
    return next((each for each in keys if _signs_from(each, purpose) <= now), keys[-1])


def _signs_from(key: KeyFile, purpose: str) -> float:
    return key.since + (NOTICE_S if purpose == ASSERTIONS and not key.is_urgent else 0.0)


def _took_over_at(settings: Settings, key: KeyFile) -> float:
    """When this key replaced an older one for signing. A key in the configuration does not count
    before it was added there."""
    if key.since:
        return max(key.since, key.made_at)
    edited = [] if settings.file is None else [settings.file.stat().st_mtime]
    return max(key.made_at, *edited)


def _list_purposes(settings: Settings) -> tuple[str, ...]:
    signed = any(route.assertion for route in settings.routes)
    return (COOKIES, SECRETS, ASSERTIONS) if signed else (COOKIES, SECRETS)


def _list_algorithms(settings: Settings) -> list[str]:
    return sorted({route.assertion.algorithm for route in settings.routes if route.assertion})


def _name_published(key: KeyFile, algorithms: list[str]) -> tuple[tuple[str, str], ...]:
    keys = build_keys((key,), math.inf)
    return tuple((each, AssertionKeys(keys, each).public[0]["kid"]) for each in algorithms)


def _list_retired(
    settings: Settings, retired: tuple[RetiredKey, ...], left: dict[str, KeyFile]
) -> list[KeyState]:
    return [
        KeyState(
            one.id,
            purpose,
            RETIRED,
            str(left[one.id].path) if one.id in left else None,
            one.made_at,
            retired_at=one.retired_at,
        )
        for one in retired
        for purpose in _list_purposes(settings)
    ]
