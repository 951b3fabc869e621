"""Hashes of other programs, generated independently of the library that reads them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import argon2
import bcrypt
import pytest
from doorward.accounts.passwords import imported
from doorward.accounts.passwords.hashing import (
    FILE,
    HASHES_PER_FAILURE,
    OURS,
    Password,
    PasswordDigest,
    Passwords,
    PasswordVerdict,
    list_forms,
)
from doorward.accounts.refusals import InvalidHash

from tests.accounts.test_passwords import Counting

PASSWORD = "correct horse"
SALT = b"0123456789abcdef"


def ab64(value: bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=").replace("+", ".")


def pbkdf2(digest: str, rounds: int) -> str:
    key = hashlib.pbkdf2_hmac(digest, PASSWORD.encode(), SALT, rounds)
    name = "" if digest == "sha1" else f"-{digest}"
    return f"$pbkdf2{name}${rounds}${ab64(SALT)}${ab64(key)}"


def scrypt() -> str:
    key = hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=16, r=8, p=1, dklen=32)
    plain = [base64.b64encode(value).decode().rstrip("=") for value in (SALT, key)]
    return f"$scrypt$ln=4,r=8,p=1${plain[0]}${plain[1]}"


BCRYPT = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
ARGON2 = argon2.PasswordHasher(1, 64, 1).hash(PASSWORD)
# openssl passwd -6, -5 and -apr1
SHA512 = (
    "$6$doorward$AZJgXsBO.KKKyU0BsrFAw1EpLEyL2l31Q1rTGbkc2MGfOWGvcAsV1hOvcYcupRxkV6j"
    "/9MPrigGH7uEhNBaco0"
)
SHA256 = "$5$doorward$OlDontJ.h29WrILPfI5of48F59o6osnwfYrLGP4hbJ9"
APR1 = "$apr1$doorward$8fDkjoWl7Ohi2xFET5yhX0"
SHA1 = "{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()  # noqa: S324

HASHES = {
    BCRYPT: "bcrypt cost=4",
    BCRYPT.replace("$2b$", "$2y$"): "bcrypt cost=4",
    BCRYPT.replace("$2b$", "$2a$"): "bcrypt cost=4",
    SHA512: "sha512-crypt",
    SHA256: "sha256-crypt",
    APR1: "apr1",
    SHA1: "sha1",
    ARGON2: "argon2 m=64,t=1,p=1",
    pbkdf2("sha1", 1000): "pbkdf2 rounds=1000",
    pbkdf2("sha256", 1000): "pbkdf2-sha256 rounds=1000",
    pbkdf2("sha512", 1000): "pbkdf2-sha512 rounds=1000",
    scrypt(): "scrypt ln=4,r=8,p=1",
}


@pytest.mark.parametrize(("stored", "scheme"), HASHES.items(), ids=HASHES.values())
async def test_an_imported_hash_is_replaced_after_it_verifies(
    passwords: Passwords, stored: str, scheme: str
) -> None:
    assert imported.get_scheme(stored) == scheme
    assert len(scheme) <= 32, "the column's width"
    assert imported.is_weak(scheme) == (scheme == "sha1")
    verdict = await passwords.verify(stored, scheme, PASSWORD)
    assert verdict.ok and verdict.rehash is not None and verdict.rehash.startswith("$argon2id$")
    again = await passwords.verify(verdict.rehash, OURS, PASSWORD)
    assert again.ok and again.rehash is None
    for wrong in ("", "correct hors", "correct horse ", "correct\0horse", "\ud800", stored):
        assert not (await passwords.verify(stored, scheme, wrong)).ok


@pytest.mark.parametrize("stored", HASHES, ids=HASHES.values())
async def test_every_failure_costs_the_same_with_imported_hashes(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2026-77582: the time of the answer told whether a user exists."""
    tried: list[str] = []
    real = imported.matches

    def counted(stored: str, scheme: str, password: str) -> bool:
        tried.append(scheme)
        return real(stored, scheme, password)

    monkeypatch.setattr(imported, "matches", counted)
    counting = Counting()
    counting.expect([(scheme, one) for one, scheme in HASHES.items()] + [(OURS, "x")])
    ours = (await counting.new(PASSWORD)).hash
    for wrong in ("wrong", "wro\u0302ng"):  # the second differs in NFC
        every = sorted([*set(HASHES.values())] * len(list_forms(wrong)))
        spent = PasswordVerdict(True, None, 1, HASHES[stored], 1)
        for failure in (
            counting.verify(stored, HASHES[stored], wrong),
            counting.verify(ours, OURS, wrong),
            counting.waste(wrong),
            counting.waste(wrong, spent),
        ):
            tried.clear()
            counting.count = 0
            if await failure is None and len(tried) < len(every):  # the reported cost was spent
                tried.append(HASHES[stored])
                counting.count += 1
            assert sorted(tried) == every
            assert counting.count == HASHES_PER_FAILURE * len(list_forms(wrong))
    counting.close()


@pytest.mark.parametrize("wrong", ["wrong", "w" * 1000, "wro\u0302ng", PasswordDigest("0" * 64)])
async def test_a_decoy_hashes_the_presented_password(
    wrong: Password, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SHA-crypt and apr1 take longer for a longer password: 4,096 bytes took 177 ms for a user with
    SHA-crypt, and 81 ms for others, whose decoy was short."""
    work: list[tuple[str, int]] = []

    def worked(stored: str, scheme: str, password: str) -> bool:
        work.append((scheme, len(password)))
        return False

    monkeypatch.setattr(imported, "matches", worked)
    counting = Counting()
    counting.expect((scheme, one) for one, scheme in HASHES.items())
    ours, spent = (await counting.new(PASSWORD)).hash, []
    for stored, scheme in [*HASHES.items(), (ours, OURS), (ours, FILE), ("", "")]:
        work.clear()
        counting.count = 0
        if scheme:
            assert not (await counting.verify(stored, scheme, wrong)).ok
        else:  # an unused name
            await counting.waste(wrong)
        spent.append((counting.count, sorted(work)))
    counting.close()
    assert all(one == spent[0] for one in spent)


def test_the_work_of_a_sha_crypt_hash_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = replace(imported.KINDS["sha512-crypt"], verify=lambda password, stored: True)
    monkeypatch.setattr(imported, "KINDS", {**imported.KINDS, "sha512-crypt": slow})
    for rounds, length, is_hashed in [
        ("", 1024, True),
        ("rounds=656000$", 152, True),
        ("rounds=656000$", 153, False),
        ("rounds=1000000$", 8, True),
        ("rounds=1000001$", 8, False),
        ("rounds=999999999$", 8, False),
    ]:
        stored = SHA512.replace("$6$", f"$6${rounds}")
        assert imported.matches(stored, "sha512-crypt", "x" * length) == is_hashed, (rounds, length)


async def test_bcrypt_reads_only_72_bytes(passwords: Passwords) -> None:
    stored = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4)).decode()
    scheme = imported.get_scheme(stored)
    assert (await passwords.verify(stored, scheme, "a" * 72 + "and more")).ok
    assert not (await passwords.verify(stored, scheme, "a" * 71)).ok


@pytest.mark.parametrize(
    "stored",
    [
        "", "plain", "$1$salt$hash", "rqXexS6ZhobKA", "{SSHA}x", "{SHA}", f"{SHA1}\n", f" {SHA1}",
        BCRYPT[:-1], BCRYPT.replace("$2b$", "$2x$"), SHA512[:-1], f"{APR1}x", "$argon2id$",
        "*", "!", "\ud800",
    ],
)  # fmt: skip
def test_an_unknown_kind_of_hash_is_refused(stored: str) -> None:
    with pytest.raises(InvalidHash, match="cannot verify this kind"):
        imported.get_scheme(stored)


@pytest.mark.parametrize(
    "stored",
    [
        BCRYPT.replace("$04$", "$31$"),
        SHA512.replace("$6$", "$6$rounds=999999999$"),
        ARGON2.replace("m=64", "m=99999999"),
        ARGON2.replace("t=1", "t=9999"),
        ARGON2.replace("m=64,t=1", "m=1048576,t=5"),
        scrypt().replace("ln=4", "ln=20"),
        pbkdf2("sha1", 1).replace("$1$", "$99999999$"),
    ],
)
def test_a_hash_that_is_too_expensive_is_refused(stored: str) -> None:
    with pytest.raises(InvalidHash, match="too much"):
        imported.get_scheme(stored)
    name = next(name for name, kind in imported.KINDS.items() if kind.form.fullmatch(stored))
    assert not imported.matches(stored, name, PASSWORD), "nor is one that got into the table"


def test_a_damaged_hash_matches_nothing() -> None:
    for stored in ("", "$2b$04$", "\ud800"):
        for scheme in [*HASHES.values(), "unheard of"]:
            assert not imported.matches(stored, scheme, PASSWORD)


@pytest.mark.usefixtures("full_price")
async def test_a_hash_from_a_doorward_file_verifies_after_an_import() -> None:
    pool = Passwords(threads=1)
    try:
        stored = (await pool.new(PASSWORD)).hash
    finally:
        pool.close()
    assert stored.startswith(imported.MADE_HERE)
    scheme = imported.get_scheme(stored)
    assert imported.matches(stored, scheme, PASSWORD)
    assert not imported.matches(stored, scheme, f"{PASSWORD}.")
