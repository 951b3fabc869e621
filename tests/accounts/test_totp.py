"""Codes of authenticator apps: the vectors of RFC 6238, the window, secrets and their URI."""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from doorward.accounts.factors import totp

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()

# RFC 6238, appendix B, SHA-1: the time and its code of eight digits. Our codes are the last six.
VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]


@pytest.mark.parametrize(("time", "code"), VECTORS)
def test_the_vectors_of_rfc_6238(time: int, code: str) -> None:
    step = time // 30
    assert totp.code_at(RFC_SECRET, step) == code[-6:]
    assert totp.matched_step(RFC_SECRET, code[-6:], float(time)) == step


@pytest.mark.parametrize(("seconds", "right"), [(-60, 0), (-30, 1), (0, 1), (30, 1), (60, 0)])
def test_a_clock_may_be_one_step_early_or_late(seconds: int, right: bool) -> None:
    step = totp.step_at(1_700_000_010.0)
    matched = totp.matched_step(
        RFC_SECRET, totp.code_at(RFC_SECRET, step), 1_700_000_010.0 + seconds
    )
    assert matched == (step if right else None)


@pytest.mark.parametrize("time_zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_the_time_zone_of_the_machine_does_not_matter(
    time_zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", time_zone)
    time.tzset()
    try:
        assert totp.matched_step(RFC_SECRET, "287082", 59.0) == 1
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "typed",
    [
        "287 082",
        " 287082\n",
        "287-082",
        "287\u2011082",
        "\uff12\uff18\uff17\uff10\uff18\uff12",
        "287\u200b082",
        "\ufeff287082",
        "٢٨٧٠٨٢",
    ],
)
def test_codes_are_read_as_people_type_them(typed: str) -> None:
    assert totp.matched_step(RFC_SECRET, typed, 59.0) == 1


@pytest.mark.parametrize(
    "typed",
    ["", "28708", "2870820", "94287082", "287082x", "2" * 1000, "\ud800"],
)
def test_an_invalid_code_matches_nothing(typed: str) -> None:
    assert totp.matched_step(RFC_SECRET, typed, 59.0) is None


def test_codes_are_valid_in_the_first_step_of_the_epoch() -> None:
    assert totp.matched_step(RFC_SECRET, totp.code_at(RFC_SECRET, 0), 0.0) == 0


def test_a_secret_has_160_bits_and_no_padding() -> None:
    secret = totp.new_secret()
    assert re.fullmatch("[A-Z2-7]{32}", secret)
    assert len(base64.b32decode(secret)) == 20
    assert totp.new_secret() != secret


@pytest.mark.parametrize("given", [RFC_SECRET.lower(), f" {RFC_SECRET[:4]} {RFC_SECRET[4:]}\n"])
def test_a_secret_is_accepted_in_every_spelling_of_clients(given: str) -> None:
    assert totp.normalise_secret(given) == RFC_SECRET


@pytest.mark.parametrize("given", ["", "JBSWY3DPEHPK3PXP", "1" * 32, "é" * 32, "\ud800" * 32])
def test_an_invalid_or_short_secret_is_refused(given: str) -> None:
    assert totp.normalise_secret(given) is None


def test_the_uri_names_issuer_user_and_secret() -> None:
    uri = totp.provisioning_uri(RFC_SECRET, "zoë:o'hara@example.com", "Door & Ward")
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert unquote(parts.path) == "/Door & Ward:zoë:o'hara@example.com"
    assert parse_qs(parts.query) == {"secret": [RFC_SECRET], "issuer": ["Door & Ward"]}
