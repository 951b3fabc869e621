"""One check for every new password: every entrance refuses the same ones, and no path to storage
bypasses it."""

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import doorward
import pytest
from doorward.accounts.forgotten import Forgotten
from doorward.accounts.keys import Keys
from doorward.accounts.passwords import hashing as passwords_module
from doorward.accounts.passwords.hashing import (
    FILE,
    GUESSABLE,
    OURS,
    PASSWORD_BYTES,
    SAME,
    TOO_LONG,
    TOO_SHORT,
    Passwords,
    sha256_hex,
)
from doorward.accounts.passwords.strength import compute_score, list_words
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import SecondFactorRequired, WeakPassword
from doorward.accounts.user import Email, NewPassword, User
from doorward.accounts.users.store import UserStore
from doorward.storage.users import UserRows as StoredUsers

from tests.accounts.test_passwords import CHEAP, NFC, NFD, Counting
from tests.support.core import CLIENT, PASSWORD, Core
from tests.support.memory import NOW

NEW = "violet tractor"
WHO: dict[str, Any] = {
    "name": "Eleonora Zwetschgenbaum",
    "emails": [Email("eleonora@example.com", True), Email("quittengelee@example.com", False)],
}
REFUSED = {
    "too short": ("7 chars", TOO_SHORT),
    "too long": ("x" * (PASSWORD_BYTES + 1), TOO_LONG),
    "too long in bytes": ("é" * 513, TOO_LONG),
    "a common one": ("password1", GUESSABLE),
    "one key": ("aaaaaaaaaa", GUESSABLE),
    "the user name": ("kastanienallee", GUESSABLE),
    "the name without its space": ("EleonoraZwetschgenbaum", GUESSABLE),
    "a part of the name": ("zwetschgenbaum", GUESSABLE),
    "the address": ("eleonora@example.com", GUESSABLE),
    "a part of an unproven address": ("quittengelee", GUESSABLE),
    "the current one": (PASSWORD, SAME),
}
USERNAME = "kastanienallee"
Change = Callable[[Core, User, str], Awaitable[object]]


class Register:
    """One user and no limits, and the mailbox of that user."""

    def __init__(self, core: Core) -> None:
        self.core, self.link = core, ""

    async def user(self, public_id: str) -> User:
        return await self.core.users.get(USERNAME)

    def count(self, key: str, limit: int, window_s: float, now: float) -> SimpleNamespace:
        return SimpleNamespace(is_exceeded=False)

    async def send_reset(self, address: str, name: str, link: str, lifetime_s: float) -> None:
        self.link = link


async def forgot(core: Core, user: User, new: str) -> None:
    around: object = Register(core)
    assert isinstance(around, Register)
    keys, factors = Keys((b"k" * 32,)), core.second_factors
    forgotten = Forgotten(around, core.users, factors, around, core.audit_log, around, keys)  # type: ignore[arg-type]
    assert forgotten.ask(USERNAME, "192.0.2.1", NOW) is None
    await forgotten.settle()
    await forgotten.use(around.link, new, NOW)


async def forced(core: Core, user: User, new: str) -> None:
    await core.login(USERNAME, new_password=new)


async def changed(core: Core, user: User, new: str) -> None:
    core.user_rows._change(user, must_change_password=False)
    session = (await core.login(USERNAME)).session
    await core.logins.change_password(session, PASSWORD, new, client=CLIENT, now=NOW)


ENTRANCES: dict[str, Change] = {
    "Users.set_password": lambda c, u, new: c.users.set_password(
        USERNAME, new, now=NOW, actor=OWNER
    ),
    "Logins._login": forced,
    "Logins.change_password": changed,
    "Forgotten.use": forgot,
}


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_every_entrance_refuses_current_and_guessable_passwords(
    core: Core, entrance: str, refused: str
) -> None:
    user = await core.add(USERNAME, must_change_password=True, **WHO)
    new, sentence = REFUSED[refused]
    with pytest.raises(WeakPassword) as refusal:
        await ENTRANCES[entrance](core, user, new)
    assert str(refusal.value) == sentence
    stored = await core.users.credential(USERNAME)
    assert stored is not None
    assert (await core.passwords.verify(stored.password_hash, OURS, PASSWORD)).ok


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_every_entrance_accepts_a_good_password(core: Core, entrance: str) -> None:
    user = await core.add(USERNAME, must_change_password=True, **WHO)
    await ENTRANCES[entrance](core, user, NEW)
    stored = await core.users.credential(USERNAME)
    assert stored is not None and not stored.user.must_change_password
    assert (await core.passwords.verify(stored.password_hash, OURS, NEW)).ok


@pytest.mark.parametrize("refused", [one for one in REFUSED if one != "the current one"])
async def test_a_new_user_cannot_have_a_refused_password(core: Core, refused: str) -> None:
    new, sentence = REFUSED[refused]
    with pytest.raises(WeakPassword) as refusal:
        await core.users.add(USERNAME, new, now=NOW, **WHO)
    assert str(refusal.value) == sentence and not core.user_rows.rows


async def test_only_a_guessable_password_can_be_allowed(core: Core) -> None:
    for refused in ("too short", "too long", "the current one"):
        with pytest.raises(WeakPassword):
            if refused == "the current one":
                await core.users.set_password(
                    USERNAME, "password1", now=NOW, actor=OWNER, allow_guessable=True
                )
            new = REFUSED[refused][0]
            await core.users.add(USERNAME, new, now=NOW, allow_guessable=True)
        if refused == "too long":
            await core.users.add(USERNAME, "password1", now=NOW, allow_guessable=True)


async def test_a_refused_password_asks_for_no_code(core: Core) -> None:
    await core.add("alice", emails=[Email("alice@example.com", True)])
    await core.second_factors.enable_email((await core.login()).session, NOW)
    user = await core.users.get("alice")
    core.user_rows._change(user, must_change_password=True)
    for new in ("password1", PASSWORD):
        with pytest.raises(WeakPassword):
            await core.login(new_password=new)
    assert not core.mailbox.sent
    with pytest.raises(SecondFactorRequired):
        await core.login(new_password=NEW)


@pytest.mark.parametrize(
    ("stored", "scheme"),
    [
        (CHEAP.hash(sha256_hex(NFC)), OURS),
        (CHEAP.hash(NFC), FILE),
        (bcrypt.hashpw(NFC.encode(), bcrypt.gensalt(4)).decode(), "bcrypt"),
    ],
)
async def test_the_current_password_is_known_by_every_kind_of_hash(
    passwords: Passwords, stored: str, scheme: str
) -> None:
    for typed in (NFC, NFD):
        with pytest.raises(WeakPassword, match=SAME):
            await passwords.new(typed, (), (stored, scheme))
    await passwords.new("something else", (), (stored, scheme))


async def test_a_password_change_costs_two_hashes() -> None:
    """There is no failed login to disguise here."""
    counting = Counting()
    stored = (await counting.new(PASSWORD)).hash
    assert counting.count == 1
    await counting.new(NEW, (), (stored, OURS))
    assert counting.count == 3
    counting.close()


async def test_a_guessable_password_is_refused_before_it_is_compared() -> None:
    """Otherwise a mailed link, which can be tried again, would reveal which common password is in
    use."""
    counting = Counting()
    stored = (await counting.new("password1", allow_guessable=True)).hash
    counting.count = 0
    with pytest.raises(WeakPassword, match=GUESSABLE):
        await counting.new("password1", (), (stored, OURS))
    assert counting.count == 0
    counting.close()


async def test_concurrent_checks_do_not_share_their_word_lists() -> None:
    """zxcvbn stores the words of a call in a place that other threads read."""
    mine = "kastanienallee"
    judged = await asyncio.gather(
        *(asyncio.to_thread(compute_score, mine, [mine] if n % 2 else ["other"]) for n in range(60))
    )
    assert [found == 0 for found in judged] == [bool(n % 2) for n in range(60)]


def test_the_word_list_has_names_and_addresses_whole_joined_and_in_parts() -> None:
    assert list_words("a.b", None, ["c_d@e.f"]) == (
        "a.b", "ab", "a", "b", "c_d@e.f", "cdef", "c", "d", "e", "f",
    )  # fmt: skip
    assert list_words("alice", "", []) == ("alice",)


# All paths by which a password gets into storage.


def functions() -> Iterator[tuple[str, ast.AST]]:
    """Every function of the package, as `Class.method` or `function`."""
    for file in Path(next(iter(doorward.__path__))).rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            inner = node.body if isinstance(node, ast.ClassDef) else [node]
            for one in inner:
                if isinstance(one, ast.AsyncFunctionDef | ast.FunctionDef):
                    owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
                    yield owner + one.name, one


def that_call(*ends: str) -> set[str]:
    """The functions that call something whose dotted name ends like this."""
    found = set()
    for name, function in functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                called = "." + ast.unparse(node.func)
                if any(called.endswith(f".{end}") for end in ends):
                    found.add(name)
    return found


def test_only_the_check_creates_new_passwords() -> None:
    assert that_call("NewPassword") == {"Passwords._new"}
    inner = {name for name in that_call("_new") if name.startswith("Passwords.")}
    assert inner == {"Passwords.new"} and not that_call("passwords._new", "_passwords._new")


def test_storage_takes_only_checked_passwords() -> None:
    for store in (UserStore, StoredUsers):
        parameters = inspect.signature(store.set_password).parameters
        assert list(parameters)[:3] == ["self", "user", "new"]
        assert parameters["new"].annotation == NewPassword.__name__
    # Users are added with a checked password, with the hash of another program, or without a
    # password.
    assert that_call("NewUser") == {"Users.add", "Users._build_new_user", "_build_row"}
    assert "Users.add" in that_call("_passwords.new")
    # The same password is hashed again if the parameters have changed.
    assert that_call("_store.rehash") == {"Users.rehash"}
    assert that_call("_users.rehash") == {"Logins._verify"}


def test_every_caller_of_the_check_is_in_the_table() -> None:
    callers = that_call("passwords.new", "_passwords.new", "new_password")
    asks = {"add", "passwd", "_sign_in"}  # user interfaces, which pass on typed passwords
    assert callers - asks == set(ENTRANCES) | {"Users.add", "Users.new_password", "_hashed"}


def test_one_module_hashes_passwords() -> None:
    for file in Path(next(iter(doorward.__path__))).rglob("*.py"):
        if file != Path(passwords_module.__file__):
            assert "PasswordHasher" not in file.read_text(), file
