"""The settings of Basic and API keys, and their findings."""

from __future__ import annotations

from typing import Any

import pytest
from doorward.settings import BasicSettings, InvalidSettings, settings_from

from tests.conftest import Make

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (True, BasicSettings()),
        ("on", BasicSettings()),
        ({}, BasicSettings()),
        ({"passwords": True}, BasicSettings(passwords=True)),
        (False, None),
        ("off", None),
    ],
)
def test_basic_is_a_switch_and_a_section(settings: Make, written: Any, read: Any) -> None:
    made = settings(routes=[{"upstream": URL, "basic": written}])
    assert made.routes[0].basic == read
    made = settings(access={"rules": [{"path": "/x", "basic": written}]})
    assert made.access.rules[0].basic == read


@pytest.mark.parametrize("written", ["maybe", 1, [True], {"password": True}, None])
def test_anything_else_is_a_fault(settings: Make, written: Any) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings(routes=[{"upstream": URL, "basic": written}])
    assert "routes[0].basic" in str(caught.value)


def test_a_password_is_no_second_factor(settings: Make) -> None:
    rule = {"path": "/x", "require": "two_factor", "basic": {"passwords": True}}
    with pytest.raises(InvalidSettings, match="no second factor"):
        settings(access={"rules": [rule]})
    settings(access={"rules": [rule | {"basic": True, "tokens": True}]})


def test_basic_on_http_is_warned_of(settings: Make) -> None:
    routes = [{"upstream": URL, "basic": True}]
    rules = [{"path": "/x", "basic": True}]
    for chosen in ({"routes": routes}, {"access": {"rules": rules}}):
        plain = settings(public_url="http://wiki.example.com", **chosen).warnings
        assert any("basic" in one and "is http" in one for one in plain)
        secure = settings(public_url="https://wiki.example.com", **chosen).warnings
        assert not any("is http" in one for one in secure)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (True, "X-Api-Key"),
        ("X-Api-Key", "X-Api-Key"),
        ("x-gotify-key", "x-gotify-key"),
        ("X-Emby-Token", "X-Emby-Token"),
        ("off", None),
        (False, None),
    ],
)
def test_a_valid_api_key_header_is_accepted(settings: Make, written: Any, read: str | None) -> None:
    made = settings(routes=[{"upstream": URL, "api_key_header": written}])
    assert made.routes[0].api_key_header == read


@pytest.mark.parametrize("written", ["Authorization", "Cookie", "X-Auth-Token", "X-Key: a", ""])
def test_an_invalid_api_key_header_is_refused(settings: Make, written: str) -> None:
    with pytest.raises(InvalidSettings, match="api_key_header"):
        settings(routes=[{"upstream": URL, "api_key_header": written}])


def test_basic_on_http_is_a_warning_at_every_place() -> None:
    rule = {"path": "/dav/*", "basic": True}
    route = {"upstream": "http://127.0.0.1:9", "basic": True, "rules": [rule]}
    values = {"routes": [route], "access": {"rules": [rule]}, "public_url": "http://wiki.test"}
    places = ("routes[0].basic", "routes[0].rules[0].basic", "access.rules[0].basic")
    said = "public_url is http, so tokens and passwords are sent unencrypted"
    assert settings_from(values).warnings == tuple(f"{place}: {said}" for place in places)
    assert settings_from(values | {"public_url": "https://wiki.test"}).warnings == ()
