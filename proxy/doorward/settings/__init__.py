"""Knows what a deployer sets: the YAML file, the environment, secret files, as frozen models.
It must not know any other part of Doorward."""

from doorward.settings.access import AccessSettings, ConfigUser, Route, Timeouts
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
from doorward.settings.faults import Fault, InvalidSettings, run_checks
from doorward.settings.findings import list_findings
from doorward.settings.gone import list_unbuilt_keys
from doorward.settings.limits import LimitSettings
from doorward.settings.load import (
    find_config_file,
    load_settings,
    load_settings_in_process,
    settings_from,
    settings_in_process,
)
from doorward.settings.log import LogSettings
from doorward.settings.models import (
    EmailSettings,
    RegulationSettings,
    SecondFactor,
    SessionSettings,
    Settings,
)
from doorward.settings.protection import AppLogout, RouteRate, SecurityHeaders
from doorward.settings.rewriting import Rewrite, RouteCookies
from doorward.settings.rules import BasicSettings, Rule
from doorward.settings.tls import Tls, UpstreamTls

__all__ = [
    "AccessSettings",
    "AppLogout",
    "BasicSettings",
    "Concurrency",
    "ConfigUser",
    "DialectAlekeagle",
    "DialectDatepoll",
    "DialectRocketchat",
    "DialectXhr",
    "Dialects",
    "EmailSettings",
    "Failover",
    "Fault",
    "HealthCheck",
    "InvalidSettings",
    "LimitSettings",
    "Listen",
    "LogSettings",
    "Network",
    "Rate",
    "RegulationSettings",
    "Rewrite",
    "Route",
    "RouteCookies",
    "RouteRate",
    "Rule",
    "SecondFactor",
    "SecurityHeaders",
    "SessionSettings",
    "Settings",
    "Timeouts",
    "Tls",
    "Upstream",
    "UpstreamTls",
    "find_config_file",
    "list_findings",
    "list_unbuilt_keys",
    "load_settings",
    "load_settings_in_process",
    "run_checks",
    "settings_from",
    "settings_in_process",
]
