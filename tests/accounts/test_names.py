"""Names and addresses are compared in a normal form."""

from __future__ import annotations

import unicodedata

import pytest
from doorward.accounts.names import (
    check_display_name,
    check_group,
    display,
    normalise,
    normalise_address,
    parse_handle,
)
from doorward.accounts.refusals import InvalidEmail, InvalidGroup, InvalidName
from doorward.text import CHARACTERS as NAME_CHARACTERS
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("straße", "STRASSE"),
        ("ﬁona", "FIONA"),
        ("e\u0301va", "Éva"),
        ("\uff21lice", "alice"),
        ("\u212bngström", "ångström"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_spellings_of_a_name_are_one_name(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " alice",
        "alice\u00a0",
        "al\nice",
        "al\x00ice",
        "al\x7fice",
        "al\u200bice",
        "\u202eecila",
        "al\ud800ice",
        "al\u2028ice",
        "a" * (NAME_CHARACTERS + 1),
        "\ufdfa" * 100,  # each becomes eighteen characters
        "\u00a8a",  # becomes a space and a combining mark: an edge of white space
    ],
)
def test_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        normalise(name)


@pytest.mark.parametrize(
    "typed", ["Alice", "alice ", " alice", "\u00a0alice\n", "alice" + " " * 9999]
)
def test_white_space_around_a_typed_name_is_ignored(typed: str) -> None:
    assert parse_handle(typed) == "alice"


@pytest.mark.parametrize("typed", ["", " ", "al ice\u200b", "alice\0", "a" * 191, "a@b " * 50])
def test_text_that_is_no_valid_name_or_address_is_refused(typed: str) -> None:
    assert parse_handle(typed) is None


@pytest.mark.parametrize("text", [*"aé\0\u200b\ud800", "\ufdfa" * 1000, "x" * 100_000])
def test_a_typed_name_is_shortened_for_messages(text: str) -> None:
    assert display(text).isprintable() and len(display(text)) <= 12 * NAME_CHARACTERS


@given(st.text(max_size=200))
def test_normalising_a_name_twice_changes_nothing(name: str) -> None:
    try:
        key = normalise(name)
    except InvalidName:
        return
    assert normalise(key) == key
    assert key == unicodedata.normalize("NFKC", key) == key.casefold()
    assert key == key.strip() and 0 < len(key) <= NAME_CHARACTERS


@pytest.mark.parametrize("address", ["a@b", "Alice@Example.COM", "first.last+tag@mail.example"])
def test_an_address_is_compared_folded(address: str) -> None:
    assert normalise_address(address) == address.casefold()


@pytest.mark.parametrize(
    "address",
    [
        "alice",
        "@example.com",
        "alice@",
        "alice@evil.example@example.com",
        "alice @example.com",
        "alice@example.com\r\nBcc: x@y",
        "alice@example.com,bob@example.com",
        "<alice@example.com>",
        "a" * 250 + "@b.de",
        "alice\uff20evil@example.com",
        "al\ud800ice@example.com",
    ],
)
def test_an_invalid_address_is_refused(address: str) -> None:
    """CVE-2026-40574: an address with several @ passed the check of its domain."""
    with pytest.raises(InvalidEmail):
        normalise_address(address)


@given(st.text(max_size=300))
def test_any_text_is_normalised_or_refused_as_an_address(text: str) -> None:
    try:
        key = normalise_address(text)
    except InvalidEmail:
        return
    assert key.count("@") == 1 and normalise_address(key) == key


@pytest.mark.parametrize("group", ["", "a,admins", " a", "a\n", "a" * 191])
def test_a_group_name_with_a_delimiter_is_refused(group: str) -> None:
    with pytest.raises(InvalidGroup):
        check_group(group)
    assert check_group("wiki editors") == "wiki editors"


def test_a_display_name_is_one_line() -> None:
    assert check_display_name("Alice Ω") == "Alice Ω"
    with pytest.raises(InvalidName):
        check_display_name("Alice\r\nRemote-User: root")
