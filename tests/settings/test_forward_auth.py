"""The settings of forward-auth: what routes may omit, and invalid values."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from doorward.settings import InvalidSettings, settings_from
from doorward.settings.show import plain, yaml_text

ROUTES = [{"upstream": "http://127.0.0.1:9"}]
ASKED = {"hosts": ["app.example.com", "*.Example.org"]}


def test_one_route_without_a_host_covers_every_host() -> None:
    settings = settings_from({"forward_auth": ASKED, "trusted_proxies": ["10.0.0.1"]})
    (route,) = settings.routes
    assert (route.host, route.path, route.upstream, route.base) == (None, "/", (), "")
    assert settings.forward_auth is not None
    assert settings.forward_auth.hosts == ("app.example.com", "*.example.org")
    assert settings.portal_origin == settings.public_origin


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
        ({"forward_auth": {"hosts": ["https://a.test"]}}, "contains more than a host"),
        ({"forward_auth": {**ASKED, "portal": "auth.example.com"}}, "forward_auth.portal: "),
        ({"forward_auth": {**ASKED, "portal": "https://a.test/x"}}, "forward_auth.portal: "),
        ({"forward_auth": {**ASKED, "aliases": ["okta"]}}, "forward_auth.aliases"),
        (
            {"forward_auth": ASKED, "routes": [{"security_headers": {"nosniff": True}}]},
            r"routes\[0\].security_headers: has no effect, because the front proxy",
        ),
    ],
)
def test_errors_are_reported(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidSettings, match=fault):
        settings_from(values)


def test_missing_trusted_proxies_are_a_warning() -> None:
    (warning, *_) = settings_from({"forward_auth": ASKED}).warnings
    assert "trusted_proxies" in warning


SISTERS = {
    "trusted_proxies": ["10.0.0.1"],
    "public_url": "https://auth.example.com",
    "sessions": {"cookie": {"domain": "example.com"}},
}


def test_a_login_holds_for_the_hosts_of_the_domain_of_its_cookie() -> None:
    hosts = ["example.com", "app.example.com", "*.x.example.com", "*.example.com"]
    settings = settings_from({**SISTERS, "forward_auth": {"hosts": [*hosts, "badexample.com"]}})
    assert settings.login_hosts == tuple(hosts)
    (warning,) = settings.warnings
    assert "forward_auth.hosts[4]: badexample.com: " in warning
    asked = {"hosts": ["auth.example.com", "app.example.com"]}
    alone = settings_from({**SISTERS, "sessions": {}, "forward_auth": asked})
    assert alone.login_hosts == ("auth.example.com",)


@pytest.mark.parametrize(
    ("domain", "fault"),
    [
        ("com", "is a whole top-level domain"),
        (".example.com", "is not a host name"),
        ("*.example.com", "is not a domain"),
        ("192.0.2.1", "is not a domain"),
        ("example.com:443", "contains more than a host"),
        ("example.org", "public_url: https://auth.example.com is outside of example.org"),
    ],
)
def test_a_domain_that_browsers_would_not_take_is_refused(domain: str, fault: str) -> None:
    with pytest.raises(InvalidSettings, match=fault):
        settings_from({**SISTERS, "sessions": {"cookie": {"domain": domain}}, "routes": ROUTES})


def test_a_portal_outside_of_the_domain_is_refused() -> None:
    asked = {**ASKED, "portal": "https://auth.example.org"}
    with pytest.raises(InvalidSettings, match=r"forward_auth.portal: https://auth\.example\.org"):
        settings_from({**SISTERS, "forward_auth": asked})


def test_shown_settings_can_be_loaded_again() -> None:
    settings = settings_from({"forward_auth": ASKED, "trusted_proxies": ["10.0.0.1"]})
    again = settings_from(yaml.safe_load(yaml_text(settings)))
    assert plain(again) == plain(settings)
