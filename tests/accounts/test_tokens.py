"""Keys, tokens and randomness."""

from __future__ import annotations

import string

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from doorward.accounts import randomness
from doorward.accounts.keys import Keys
from doorward.accounts.sessions.tokens import Tokens, is_token
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_signed_token_can_be_read_back() -> None:
    tokens = Tokens(Keys((NEW,)))
    token = randomness.session_token()
    value = tokens.sign(token)
    assert value.startswith(f"{token}.") and value.isascii()
    assert tokens.unsign(value.encode()) == token


def test_the_first_key_signs_and_all_verify() -> None:
    token = randomness.session_token()
    before, during, after = (Tokens(Keys(secrets)) for secrets in ((OLD,), (NEW, OLD), (NEW,)))
    assert during.unsign(before.sign(token).encode()) == token
    assert after.unsign(during.sign(token).encode()) == token
    assert after.unsign(before.sign(token).encode()) is None


def test_each_purpose_has_its_own_key() -> None:
    """CVE-2024-47616: a token made for one purpose was accepted for another."""
    keys = Keys((NEW,))
    assert (
        keys.follow(lambda derive: derive("session cookie"))()
        != keys.follow(lambda derive: derive("trusted browser"))()
    )
    assert len(Keys((NEW, OLD)).follow(lambda derive: derive("x"))()) == 2
    assert (
        Keys((NEW, OLD)).follow(lambda derive: derive("x"))()[1]
        == Keys((OLD,)).follow(lambda derive: derive("x"))()[0]
    )
    assert (
        keys.follow(lambda derive: derive("x"))()[0] != NEW
        and len(keys.follow(lambda derive: derive("x"))()[0]) == 32
    )


@given(st.binary(min_size=1, max_size=200), st.text(string.printable, max_size=80))
def test_keys_are_derived_as_rfc_5869_says(secret: bytes, purpose: str) -> None:
    info = f"doorward {purpose}".encode()
    wanted = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)
    assert Keys((secret,)).follow(lambda derive: derive(purpose))() == (wanted,)


def test_keys_are_not_in_the_repr_and_cannot_be_empty() -> None:
    assert "nnn" not in repr(Keys((NEW,)))
    for none in ((), (b"",), (NEW, b"")):
        with pytest.raises(ValueError):
            Keys(none)


SIGNED = Tokens(Keys((NEW,)))
VALUE = SIGNED.sign("A" * 43).encode()


@given(st.integers(0, len(VALUE) - 2), st.integers(1, 255))
def test_one_changed_byte_makes_it_invalid(position: int, change: int) -> None:
    forged = bytearray(VALUE)
    forged[position] ^= change
    assert SIGNED.unsign(bytes(forged)) is None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_token_and_raise_no_error(value: bytes) -> None:
    assert SIGNED.unsign(value) is None


@pytest.mark.parametrize("text", ["short", "A" * 44, "A" * 42 + "~", "A" * 42 + "\n", "A" * 4000])
def test_a_signed_value_that_is_no_token_is_refused(text: str) -> None:
    assert SIGNED.unsign(SIGNED.sign(text).encode()) is None


def test_random_values_have_the_documented_forms() -> None:
    token = randomness.session_token()
    assert is_token(token.encode()) and len(token) == 43
    assert len(randomness.public_id()) == 17 and set(randomness.public_id()) <= set(
        randomness.ALPHABET
    )
    assert set(randomness.request_id()) <= set(string.hexdigits.lower())
    assert len(randomness.password()) >= 16
    assert not set("01OIlUVu") & set(randomness.ALPHABET) - set("u")
    assert set(randomness.ALPHABET) <= set(string.ascii_letters + string.digits)


def test_random_values_do_not_repeat() -> None:
    """CVE-2024-21495: predictable randomness."""
    assert len({randomness.session_token() for _ in range(1000)}) == 1000
    assert len({randomness.public_id() for _ in range(1000)}) == 1000
    assert len({randomness.request_id() for _ in range(1000)}) == 1000
