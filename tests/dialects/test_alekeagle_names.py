"""The names of sessions in the `alekeagle` dialect: those of the original API, without its
errors."""

from __future__ import annotations

import pytest
from doorward.dialects.alekeagle.names import session_name
from hypothesis import given
from hypothesis import strategies as st

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
MEASURED = [
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:95.0) Gecko/20100101 Firefox/95.0",
        "Firefox v95.0 on Linux x86_64 amd64",
    ),
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/96.0.4664.110 Safari/537.36",
        "Chrome v96.0.4664.110 on Windows 10 amd64",
    ),
    (
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/15.1 Safari/605.1.15",
        "Safari v15.1 on Mac OS 10.15.7",  # the original adds "undefined"
    ),
    ("curl/7.80.0", "curl/7.80.0"),
    ("", ""),
    ("Cumulonimbus-Wrapper: v1.0.9", "Cumulonimbus-Wrapper: v1.0.9"),
    ("Cumulonimbus-Wrapper/2.0.0", "Cumulonimbus-Wrapper/2.0.0"),
]
OTHERS = [
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/96.0.4664.55 Safari/537.36"
        " Edg/96.0.1054.43",
        "Edge v96.0.1054.43 on Windows 10 amd64",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 12; Pixel 6) {BLINK} Chrome/96.0.4664.45 Mobile"
        " Safari/537.36",
        "Chrome v96.0.4664.45 on Android 12",
    ),
    (
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 15_1 like Mac OS X) {WEBKIT} Version/15.1"
        " Mobile/15E148 Safari/604.1",
        "Mobile Safari v15.1 on iOS 15.1",
    ),
    (
        "Mozilla/5.0 (X11; Ubuntu; Linux aarch64; rv:95.0) Gecko/20100101 Firefox/95.0",
        "Firefox v95.0 on Ubuntu arm64",
    ),
    ("Mozilla/5.0 (compatible; Googlebot/2.1)", "Mozilla/5.0 (compatible; Googlebot/2.1)"),
]


@pytest.mark.parametrize(("user_agent", "name"), MEASURED + OTHERS)
def test_a_session_is_named_after_its_browser_and_system(user_agent: str, name: str) -> None:
    assert session_name(user_agent) == name


PIECES = ["Version/1", " ", "Mobile/a", "Safari/", "; wv)", "Chrome/1", "iPhone", " OS 1", "rv:1"]


@given(st.lists(st.sampled_from([*PIECES, "Trident/"]) | st.text(max_size=5), max_size=80))
def test_any_user_agent_has_a_name(pieces: list[str]) -> None:
    user_agent = "".join(pieces)[:512]
    assert session_name(user_agent) or not user_agent


def test_every_user_agent_is_parsed_quickly() -> None:
    """A pattern that backtracks takes longer than the limit of a test."""
    for piece in (*PIECES, "Trident/rv:"):
        assert session_name((piece * 512)[:512])
