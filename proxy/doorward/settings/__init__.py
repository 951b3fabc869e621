"""Knows what a deployer sets: the YAML file, the environment, secret files, as frozen models.
It must not know any other part of Doorward."""

from doorward.settings.access import Access, ConfigUser, Route, Rule, Timeouts
from doorward.settings.addresses import Listen, Network, Upstream
from doorward.settings.balance import Concurrency, Failover, HealthCheck
from doorward.settings.dialects import (
    DialectAlekeagle,
    DialectDatepoll,
    DialectRocketchat,
    Dialects,
    DialectXhr,
    Rate,
)
from doorward.settings.faults import Fault, InvalidSettings
from doorward.settings.gone import unbuilt_keys
from doorward.settings.limits import Limits
from doorward.settings.load import (
    find_config_file,
    load_settings,
    load_settings_in_process,
    settings_from,
    settings_in_process,
)
from doorward.settings.log import Log
from doorward.settings.models import Email, Regulation, SecondFactor, Sessions, Settings
from doorward.settings.rewriting import Rewrite, RouteCookies
from doorward.settings.tls import Tls, UpstreamTls

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
    "load_settings_in_process",
    "settings_from",
    "settings_in_process",
    "unbuilt_keys",
]
