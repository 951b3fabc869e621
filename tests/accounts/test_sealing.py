"""Secrets at rest: decrypted with any key of the instance, and only for their user and purpose."""

from __future__ import annotations

import pytest
from doorward.accounts.keys import Keys
from doorward.accounts.sealing import Sealing, UnreadableSecret

OLD, NEW = b"o" * 32, b"n" * 32


def sealing(*secrets: bytes, purpose: str = "test") -> Sealing:
    return Sealing(Keys(secrets), purpose)


def test_a_secret_can_be_decrypted_and_is_not_in_the_ciphertext() -> None:
    sealed = sealing(OLD).seal(b"the secret", "user 1")
    assert b"secret" not in sealed
    assert sealing(OLD).open(sealed, "user 1") == b"the secret"


def test_encrypting_a_secret_twice_gives_different_ciphertexts() -> None:
    assert sealing(OLD).seal(b"x", "user 1") != sealing(OLD).seal(b"x", "user 1")


def test_a_ciphertext_is_bound_to_its_user() -> None:
    sealed = sealing(OLD).seal(b"the secret", "user 1")
    with pytest.raises(UnreadableSecret):
        sealing(OLD).open(sealed, "user 2")


def test_a_ciphertext_is_bound_to_its_purpose() -> None:
    """CVE-2024-47616: a value made for one use was accepted in another."""
    sealed = sealing(OLD).seal(b"the secret", "user 1")
    with pytest.raises(UnreadableSecret):
        sealing(OLD, purpose="other").open(sealed, "user 1")


def test_every_changed_or_cut_byte_is_noticed() -> None:
    sealed = sealing(OLD).seal(b"the secret", "user 1")
    broken = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for text in [*broken, *(sealed[:i] for i in range(len(sealed)))]:
        with pytest.raises(UnreadableSecret):
            sealing(OLD).open(text, "user 1")


def test_an_older_key_decrypts_until_secrets_are_renewed() -> None:
    sealed = sealing(OLD).seal(b"the secret", "user 1")
    both = sealing(NEW, OLD)
    assert both.open(sealed, "user 1") == b"the secret"
    renew = both.renew(sealed, "user 1")
    assert renew is not None
    assert sealing(NEW).open(renew, "user 1") == b"the secret"
    assert both.renew(renew, "user 1") is None


def test_a_secret_of_a_removed_key_cannot_be_read() -> None:
    sealed = sealing(OLD).seal(b"the secret", "user 1")
    with pytest.raises(UnreadableSecret):
        sealing(NEW).renew(sealed, "user 1")
