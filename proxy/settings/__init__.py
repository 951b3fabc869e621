"""Knows what a deployer sets: the YAML file, the environment, secret files, as frozen models.
It must not know any other part of Doorward."""

from proxy.settings.access import Access, ConfigUser, Route, Rule, Timeouts
from proxy.settings.addresses import Listen, Network, Upstream
from proxy.settings.balance import Concurrency, Failover, HealthCheck
from proxy.settings.comforts import Rewrite, RouteCookies
from proxy.settings.dialects import (
    DialectAlekeagle,
    DialectDatepoll,
    DialectRocketchat,
    Dialects,
    DialectXhr,
    Rate,
)
from proxy.settings.faults import Fault, InvalidSettings
from proxy.settings.limits import Limits
from proxy.settings.load import find_config_file, load_settings, settings_from
from proxy.settings.log import Log
from proxy.settings.models import Email, Regulation, SecondFactor, Sessions, Settings
from proxy.settings.tls import Tls, UpstreamTls
from proxy.settings.unbuilt import unbuilt_keys

__all__ = [
    "Access",
    "Concurrency",
    "ConfigUser",
    "DialectAlekeagle",
    "DialectDatepoll",
    "DialectRocketchat",
    "DialectXhr",
    "Dialects",
    "Email",
    "Failover",
    "Fault",
    "HealthCheck",
    "InvalidSettings",
    "Limits",
    "Listen",
    "Log",
    "Network",
    "Rate",
    "Regulation",
    "Rewrite",
    "Route",
    "RouteCookies",
    "Rule",
    "SecondFactor",
    "Sessions",
    "Settings",
    "Timeouts",
    "Tls",
    "Upstream",
    "UpstreamTls",
    "find_config_file",
    "load_settings",
    "settings_from",
    "unbuilt_keys",
]
