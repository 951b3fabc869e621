"""Browser and system in a User-Agent, for lists of sessions."""

from __future__ import annotations

import pytest
from doorward.accounts.devices import Device, describe_agent, parse_device
from hypothesis import given
from hypothesis import strategies as st

LINUX, WINDOWS, OLDER = "X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Windows NT 6.1"
KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
FIREFOX = f"Mozilla/5.0 ({LINUX}; rv:69.0) Gecko/20100101 Firefox/69.0"
CHROME = f"Mozilla/5.0 ({LINUX}) {KHTML} Chrome/77.0.3865.90 Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 13_1 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/13.0.1 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone;", "iPad;").replace("iPhone OS", "OS")
PIXEL = f"Mozilla/5.0 (Linux; Android 10) {KHTML} Chrome/77.0.3865.90 Mobile Safari/537.36"
FENNEC = "Mozilla/5.0 (Android 10; Mobile; rv:118.0) Gecko/118.0 Firefox/118.0"
EDGE = f"Mozilla/5.0 ({WINDOWS}) {KHTML} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.61"
OLD_EDGE = f"Mozilla/5.0 ({WINDOWS}) {KHTML} Chrome/64.0.3282.140 Safari/537.36 Edge/18.17763"
OPERA = f"Mozilla/5.0 ({OLDER}) {KHTML} Chrome/78.0.3904.70 Safari/537.36 OPR/65.0.3467.38"
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/17.1 Safari/605.1.15"
)
EXPLORER = f"Mozilla/5.0 ({OLDER}; WOW64; Trident/7.0; rv:11.0) like Gecko"


@pytest.mark.parametrize(
    ("user_agent", "said"),
    [
        (FIREFOX, "Firefox - 69; OS: Linux; Phone: false"),
        (CHROME, "Chrome - 77; OS: Linux; Phone: false"),
        (IPHONE, "Safari - 13; OS: iOS; Phone: true"),
        (PIXEL, "Chrome - 77; OS: Android; Phone: true"),
        (FENNEC, "Firefox - 118; OS: Android; Phone: true"),
        (EDGE, "Chrome - 120; OS: Windows 10; Phone: false"),
        (OLD_EDGE, "Microsoft Edge - 18; OS: Windows 10; Phone: false"),
        (OPERA, "Opera - 65; OS: Windows 7; Phone: false"),
        (SAFARI, "Safari - 17; OS: Mac OS X; Phone: false"),
        (EXPLORER, "Microsoft Internet Explorer - 11; OS: Windows 7; Phone: false"),
        ("curl/8.5.0", "- - -; OS: -; Phone: false"),
        ("", "- - -; OS: -; Phone: false"),
    ],
)
def test_the_description_is_the_one_of_the_datepoll_client(user_agent: str, said: str) -> None:
    assert describe_agent(user_agent) == said


@pytest.mark.parametrize(
    ("user_agent", "seen"),
    [
        (FIREFOX, Device("browser", "Firefox", "69.0", "Linux")),
        (CHROME, Device("browser", "Chrome", "77.0.3865", "Linux")),
        (EDGE, Device("browser", "Edge", "120.0.2210", "Windows", "10")),
        (IPHONE, Device("mobile", "Mobile Safari", "13.0.1", "iOS", "13.1")),
        (IPAD, Device("tablet", "Mobile Safari", "13.0.1", "iOS", "13.1")),
        (FENNEC, Device("mobile", "Firefox Mobile", "118.0", "Android", "10")),
        ("curl/8.5.0", Device("other", "curl", "8.5.0")),
        ("", Device("other")),
    ],
)
def test_a_device_has_a_type_a_name_and_versions(user_agent: str, seen: Device) -> None:
    assert parse_device(user_agent) == seen


def test_apps_are_recognized_by_their_user_agent() -> None:
    assert parse_device("RC Mobile; ios 17.1; v4.43.0 (1)").type == "mobile-app"
    assert parse_device(f"{CHROME} Electron/25.8").type == "desktop-app"


def test_the_version_is_the_first_three_numbers() -> None:
    assert Device("browser", long_version="77.0.3865.90").version == "77.0.3865"
    assert Device("browser", long_version="11").version == "11"
    assert Device("other").version == ""


@given(st.text(max_size=512))
def test_any_user_agent_can_be_parsed(user_agent: str) -> None:
    assert parse_device(user_agent).type
    assert describe_agent(user_agent)
