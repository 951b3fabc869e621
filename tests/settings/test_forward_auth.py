"""The settings of forward-auth: what they allow routes to leave out, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from doorward.settings import InvalidSettings, settings_from
from doorward.settings.show import plain, yaml_text

ASKED = {"hosts": ["app.example.com", "*.Example.org"]}


def test_one_route_covers_every_host_where_none_is_named() -> None:
    settings = settings_from({"forward_auth": ASKED, "trusted_proxies": ["10.0.0.1"]})
    (route,) = settings.routes
    assert (route.host, route.path, route.upstream, route.base) == (None, "/", (), "")
    assert settings.forward_auth is not None
    assert settings.forward_auth.hosts == ("app.example.com", "*.example.org")
    assert settings.portal_origin == settings.public_origin
    assert settings.warnings == ()


def test_the_portal_is_public_url_unless_it_is_named() -> None:
    values = {"public_url": "https://a.example.com"}
    assert settings_from({**values, "forward_auth": ASKED}).portal_origin == values["public_url"]
    asked = {**ASKED, "portal": "https://Auth.example.com:443/"}
    assert settings_from({"forward_auth": asked}).portal_origin == "https://auth.example.com"


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"routes": [{}]}, r"routes\[0\].upstream: is required"),
        ({"forward_auth": {}}, "forward_auth.hosts: is required"),
        ({"forward_auth": {"hosts": []}}, "forward_auth.hosts: must not be empty"),
        ({"forward_auth": {"hosts": ["*"]}}, r"forward_auth.hosts\[0\]: '\*' is not a host"),
        ({"forward_auth": {"hosts": ["https://a.test"]}}, "is more than a host"),
        ({"forward_auth": {**ASKED, "portal": "auth.example.com"}}, "forward_auth.portal: "),
        ({"forward_auth": {**ASKED, "portal": "https://a.test/x"}}, "forward_auth.portal: "),
        ({"forward_auth": {**ASKED, "aliases": ["okta"]}}, "forward_auth.aliases"),
    ],
)
def test_what_is_wrong_is_told(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidSettings, match=fault):
        settings_from(values)


def test_a_file_by_which_nobody_may_ask_is_warned_of() -> None:
    (warning,) = settings_from({"forward_auth": ASKED}).warnings
    assert "trusted_proxies" in warning


def test_what_is_shown_reads_back() -> None:
    settings = settings_from({"forward_auth": ASKED, "trusted_proxies": ["10.0.0.1"]})
    again = settings_from(yaml.safe_load(yaml_text(settings)))
    assert plain(again) == plain(settings)
