"""Password hashes: forms, equal cost, and a bounded pool."""

from __future__ import annotations

import asyncio
import hashlib
import threading

import argon2
import bcrypt
import pytest
from doorward.accounts.passwords import hashing as passwords_module
from doorward.accounts.passwords.hashing import (
    FILE,
    HASHES_PER_FAILURE,
    OURS,
    PASSWORD_BYTES,
    PasswordDigest,
    Passwords,
    sha256_hex,
)
from doorward.accounts.refusals import InvalidCredentials, Overloaded, WeakPassword

from tests.support.waiting import PATIENCE_S

CHEAP = argon2.PasswordHasher(1, 8, 1)


class Counting(Passwords):
    """Counts the hashes that are created or verified, and notes the cost of each."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.costs: list[str] = []
        real = self._hasher
        counting = self

        class Hasher:
            def hash(self, text: str) -> str:
                counting.count += 1
                made = real.hash(text)
                counting.costs.append(made.split("$")[3])
                return made

            def verify(self, stored: str, text: bytes) -> bool:
                if stored.startswith("$argon2id$v=19$m="):
                    counting.count += 1
                    counting.costs.append(stored.split("$")[3])
                return real.verify(stored, text)

            check_needs_rehash = staticmethod(real.check_needs_rehash)

        self._hasher = Hasher()  # type: ignore[assignment]


@pytest.mark.usefixtures("full_price")
async def test_a_hash_is_argon2id_over_the_sha256_hex(passwords: Passwords) -> None:
    stored = (await passwords.new("correct horse")).hash
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    digest = hashlib.sha256(b"correct horse").hexdigest()
    assert argon2.PasswordHasher().verify(stored, digest)


async def test_the_right_password_verifies_and_another_does_not(passwords: Passwords) -> None:
    stored = (await passwords.new("pässword\U0001f511 ")).hash
    assert (await passwords.verify(stored, OURS, "pässword\U0001f511 ")).ok
    for wrong in ("pässword\U0001f511", "", "passwort", sha256_hex("pässword\U0001f511 "), stored):
        assert not (await passwords.verify(stored, OURS, wrong)).ok


NFC, NFD = "caf\u00e9 caf\u00e9", "cafe\u0301 cafe\u0301"


@pytest.mark.parametrize("typed", [NFC, NFD])
@pytest.mark.parametrize("chosen", [NFC, NFD])
async def test_a_password_matches_in_every_unicode_form(
    passwords: Passwords, chosen: str, typed: str
) -> None:
    """SP 800-63B 5.1.1.2: some keyboards send a composed accented letter, others its parts."""
    stored = (await passwords.new(chosen)).hash
    assert (await passwords.verify(stored, OURS, typed)).ok
    assert (await passwords.verify(stored, OURS, PasswordDigest(sha256_hex(NFC)))).ok
    assert not (await passwords.verify(stored, OURS, PasswordDigest(sha256_hex(NFD)))).ok
    for over in (sha256_hex(NFC), NFC):
        assert (await passwords.verify(CHEAP.hash(over), FILE, typed)).ok
    theirs = bcrypt.hashpw(NFC.encode(), bcrypt.gensalt(4)).decode()
    assert (await passwords.verify(theirs, "bcrypt", typed)).ok


@pytest.mark.usefixtures("full_price")
async def test_a_hash_of_a_decomposed_password_verifies(passwords: Passwords) -> None:
    """Older hashes, and those of other programs, are hashes of the text as it was typed."""
    verdict = await passwords.verify(CHEAP.hash(sha256_hex(NFD)), OURS, NFD)
    assert verdict.ok and verdict.rehash is not None
    assert (await passwords.verify(verdict.rehash, OURS, NFD)).ok
    assert not (await passwords.verify(CHEAP.hash(sha256_hex(NFD)), OURS, NFC)).ok


def test_an_absurdly_long_password_is_not_normalised() -> None:
    typed = "a" + "\u0315" * 40_000 + "\u0300" * 40_000
    assert passwords_module.list_forms(typed) == (typed,)


async def test_a_hash_in_a_file_may_be_over_the_digest_or_the_password(
    passwords: Passwords,
) -> None:
    for form in (sha256_hex("correct horse"), "correct horse"):
        verdict = await passwords.verify(CHEAP.hash(form), FILE, "correct horse")
        assert verdict.ok and verdict.rehash is None
    assert not (await passwords.verify(CHEAP.hash("other"), FILE, "correct horse")).ok


async def test_a_hash_of_the_plain_password_is_no_doorward_hash(passwords: Passwords) -> None:
    """A stolen digest must not be usable where a plain password is expected."""
    assert not (await passwords.verify(CHEAP.hash("correct horse"), OURS, "correct horse")).ok


@pytest.mark.usefixtures("full_price")
async def test_a_hash_with_other_parameters_is_replaced(passwords: Passwords) -> None:
    verdict = await passwords.verify(CHEAP.hash(sha256_hex("correct horse")), OURS, "correct horse")
    assert verdict.ok and verdict.rehash is not None
    again = await passwords.verify(verdict.rehash, OURS, "correct horse")
    assert again.ok and again.rehash is None


@pytest.mark.parametrize("scheme", [OURS, FILE, "unheard of"])
@pytest.mark.parametrize("stored", [CHEAP.hash("other"), "", "$argon2id$broken", "plain", "*"])
@pytest.mark.parametrize("typed", ["correct horse", NFC, NFD])
async def test_every_failure_costs_the_same(stored: str, scheme: str, typed: str) -> None:
    """CVE-2026-77582: the time of the answer told whether a user exists."""
    counting, cost = Counting(), HASHES_PER_FAILURE * (2 if typed == NFD else 1)
    verdict = await counting.verify(stored, scheme, typed)
    assert not verdict.ok and counting.count == verdict.hashes == cost
    await counting.waste(typed)
    assert counting.count == 2 * cost
    await counting.waste(typed, passwords_module.PasswordVerdict(True, hashes=1))
    assert counting.count == 3 * cost - 1
    counting.close()


@pytest.mark.parametrize("password", ["", "7 chars", "a" * (PASSWORD_BYTES + 1), "é" * 513])
async def test_a_password_of_invalid_length_is_not_hashed(
    passwords: Passwords, password: str
) -> None:
    with pytest.raises(WeakPassword):
        await passwords.new(password)


async def test_an_absurdly_long_password_is_refused_unhashed() -> None:
    counting = Counting()
    for password in ("a" * (PASSWORD_BYTES + 1), "é" * 513):
        with pytest.raises(InvalidCredentials):
            await counting.verify("", OURS, password)
    assert counting.count == 0
    counting.close()


async def test_a_lone_surrogate_is_a_wrong_password(passwords: Passwords) -> None:
    stored = (await passwords.new("correct horse")).hash
    for scheme in (OURS, FILE):
        assert not (await passwords.verify(stored, scheme, "\ud800")).ok


class Blocked(Passwords):
    """Hashes only when released."""

    def __init__(self) -> None:
        super().__init__(threads=1, queue=2)
        self.let = threading.Event()

    def _waste(self, hashes: int) -> None:
        assert self.let.wait(PATIENCE_S)


async def test_a_full_queue_refuses_and_recovers() -> None:
    blocked = Blocked()
    waiting = [asyncio.ensure_future(blocked.waste()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await blocked.waste()
    blocked.let.set()
    await asyncio.gather(*waiting)
    await asyncio.gather(*(blocked.waste() for _ in range(3)))
    blocked.close()


async def test_cancelled_requests_free_their_place_in_the_queue() -> None:
    blocked = Blocked()
    waiting = [asyncio.ensure_future(blocked.waste()) for _ in range(3)]
    await asyncio.sleep(0)
    for request in waiting:
        request.cancel()
    await asyncio.wait(waiting)
    # One is running and keeps its place until it is done; the two in the queue have left.
    waiting = [asyncio.ensure_future(blocked.waste()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await blocked.waste()
    blocked.let.set()
    await asyncio.gather(*waiting)
    blocked.close()
    assert blocked._places._value == 3


def test_a_hash_is_not_in_the_repr_of_a_verdict() -> None:
    assert "secret" not in repr(passwords_module.PasswordVerdict(True, "secret"))


# A password that was sent as SHA-256


async def test_a_digest_verifies_against_a_doorward_hash(passwords: Passwords) -> None:
    stored = (await passwords.new("correct horse")).hash
    right = PasswordDigest(sha256_hex("correct horse"))
    assert (await passwords.verify(stored, OURS, right)).ok
    wrong = PasswordDigest(sha256_hex("wrong"))
    assert not (await passwords.verify(stored, OURS, wrong)).ok
    assert right.hex not in repr(right)


@pytest.mark.usefixtures("full_price")
async def test_a_hash_with_old_parameters_is_renewed_from_a_digest(
    passwords: Passwords,
) -> None:
    digest = PasswordDigest(sha256_hex("correct horse"))
    verdict = await passwords.verify(CHEAP.hash(digest.hex), OURS, digest)
    assert verdict.ok and verdict.rehash is not None
    assert (await passwords.verify(verdict.rehash, OURS, "correct horse")).ok


@pytest.mark.parametrize("over", ["digest", "password"])
async def test_a_digest_costs_as_much_as_a_password(over: str) -> None:
    """CVE-2026-77582: the time of an answer must reveal nothing."""
    counting = Counting()
    digest = PasswordDigest(sha256_hex("correct horse"))
    hasher = argon2.PasswordHasher(
        passwords_module.TIME_COST, passwords_module.MEMORY_KIB, passwords_module.LANES
    )
    stored = hasher.hash(digest.hex if over == "digest" else "correct horse")
    verdict = await counting.verify(stored, FILE, digest)
    assert verdict.ok == (over == "digest")
    if not verdict.ok:
        assert counting.count == HASHES_PER_FAILURE
    counting.close()


@pytest.mark.parametrize("wrong", ["wrong", NFD, PasswordDigest("0" * 64)])
async def test_every_failure_costs_the_same_whatever_hashes_in_files_cost(
    wrong: str | PasswordDigest,
) -> None:
    """CVE-2026-77582: a user of the configuration file was recognizable by a hash that took more or
    less time than Doorward's own."""
    counting = Counting()
    others = [argon2.PasswordHasher(*cost).hash("x") for cost in ((1, 16, 1), (2, 16, 1))]
    ours = (await counting.new("correct horse")).hash
    counting.expect([(FILE, stored) for stored in (*others, ours)])
    spent = []
    for stored, scheme in (*((one, FILE) for one in others), (ours, FILE), (ours, OURS)):
        counting.costs.clear()
        assert not (await counting.verify(stored, scheme, wrong)).ok
        spent.append(sorted(counting.costs))
    counting.costs.clear()
    await counting.waste(wrong)
    spent.append(sorted(counting.costs))
    assert all(each == spent[0] for each in spent), spent
    assert len(set(spent[0])) == 3
    for right in ("x", PasswordDigest(sha256_hex("correct horse"))):  # disabled, for instance
        stored = others[0] if right == "x" else ours
        counting.costs.clear()
        verdict = await counting.verify(stored, FILE, right)
        assert verdict.ok
        await counting.waste(right, verdict)
        refused = sorted(counting.costs)
        counting.costs.clear()
        await counting.waste(right)
        assert refused == sorted(counting.costs)
    counting.close()


async def test_a_hash_in_a_file_that_takes_too_long_does_not_delay_other_logins() -> None:
    counting = Counting()
    counting.expect([(FILE, "$argon2id$v=19$m=99999999,t=99,p=1$" + "x" * 22 + "$" + "x" * 43)])
    await counting.waste()
    assert counting.count == HASHES_PER_FAILURE
    counting.close()


async def test_a_digest_never_verifies_against_an_imported_hash() -> None:
    counting = Counting()
    digest = PasswordDigest(sha256_hex("correct horse"))
    stored = bcrypt.hashpw(digest.hex.encode(), bcrypt.gensalt(4)).decode()
    assert not (await counting.verify(stored, "bcrypt", digest)).ok
    assert counting.count == HASHES_PER_FAILURE
    counting.close()


async def test_an_absurdly_long_digest_is_refused(passwords: Passwords) -> None:
    with pytest.raises(InvalidCredentials):
        await passwords.verify("x", OURS, PasswordDigest("a" * (PASSWORD_BYTES + 1)))
