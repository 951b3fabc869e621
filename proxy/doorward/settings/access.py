"""Knows the settings of routes, access rules and the configuration file's users.
It must not decide by them; the gate and the accounts do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from doorward.settings.balance import (
    Concurrency,
    Failover,
    HealthCheck,
    PoolSettings,
    RouteBody,
)
from doorward.settings.faults import Wrong
from doorward.settings.fields import (
    ApiKeyHeader,
    DisplayName,
    Duration,
    EmailAddress,
    Group,
    Host,
    Listed,
    Method,
    NetworkRange,
    PasswordHash,
    Place,
    RoutePath,
    RulePath,
    Section,
    Switch,
    Unless,
    UpstreamUrl,
    Username,
    key,
    required,
    word_from,
)
from doorward.settings.identity import Encoding, IdentityHeader, Told, list_headers
from doorward.settings.rewriting import CacheControl, Rewrite, RouteCookies
from doorward.settings.tls import UpstreamTls

REQUIREMENTS = ("deny", "public", "authenticated", "two_factor")

Requirement = Annotated[
    Literal["deny", "public", "authenticated", "two_factor"], word_from(*REQUIREMENTS)
]
Groups = Annotated[tuple[Group, ...], Listed()]
# In a rule an empty list would be a condition that is always met, or never: it is refused.
Demanded = Annotated[tuple[Group, ...], Listed(least=1)]


class Timeouts(Section):
    connect: Duration = key("5s", "How long an upstream may take to accept a connection.")
    response: Duration = key("60s", "How long until the head of its response has come.")
    idle: Duration = key("5m", "How long either side may be silent after that.")


class Route(Section):
    host: Annotated[Host | None, Unless()] = key(
        None,
        "Host it is for, exact or *.example.com; left out: all.",
        validate_default=False,
    )
    path: RoutePath = key("/", "Path it is for, with everything beneath it.")
    upstream: Annotated[tuple[UpstreamUrl, ...], Listed(least=1)] = required(
        "Where it leads: http://host:port, also with a path; https://, unix:/run/app.sock; a list."
    )
    identity: Annotated[tuple[Told, ...], Listed(off=True)] = key(
        ["remote-user"],
        "Headers that say who asks: presets, and {header, value, delimiter} of your own.",
    )
    encoding: Encoding = key(
        "percent", "How they say what is not ASCII: percent, utf-8, rfc2047, or refuse."
    )
    identity_on_public: Switch = key(
        True, "Whether public paths get these headers too; their answers are private then."
    )
    tls: UpstreamTls = key({}, "How an https upstream is known, and we to it.")
    timeouts: Timeouts = key({}, "How long the upstream is waited for.")
    rewrite: Rewrite = key({}, "What is put right for an application that stands elsewhere.")
    cookies: RouteCookies = key({}, "What is added to the application's cookies.")
    cache_control: CacheControl = key(
        "private",
        "What becomes of answers for one session: private, or keep what the application says.",
    )
    same_origin: Switch = key(
        False, "Whether requests that change something must come from pages of this site."
    )
    body_bytes: RouteBody = key(
        "auto", "Most bytes of a request's body: a size, none, or auto, which is limits.body_bytes."
    )
    concurrency: Concurrency = key({}, "How many requests an upstream gets at a time.")
    pool: PoolSettings = key({}, "Connections to the upstream that are kept between requests.")
    lenient: Switch = key(
        False, "Whether answers of an old upstream may end lines with a bare line feed."
    )
    failover: Failover = key({}, "When one of several upstreams is left out for a while.")
    health: Annotated[HealthCheck | None, Unless("off")] = key(
        "off", "How each upstream is asked whether it is well, or off."
    )
    api_key_header: Annotated[ApiKeyHeader | None, Unless("off")] = key(
        "off", "Header that may carry an API token of Doorward's, such as X-Api-Key, or off."
    )
    maintenance: Annotated[Place | None, Unless("none")] = key(
        "none", "File that is served with 503 when no upstream can be reached, or none."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> Route:
        if "none" in self.identity and len(self.identity) > 1:
            raise Wrong("none says nothing beside others", "remove it", key="identity")
        try:
            list_headers(self.identity)
        except Wrong as wrong:
            raise Wrong(wrong.message, wrong.hint, key="identity") from None
        return self

    @property
    def base(self) -> str:
        """What stands before every path at its upstreams; they all have the same."""
        return self.upstream[0].base

    @property
    def identity_headers(self) -> tuple[IdentityHeader, ...]:
        """What tells its application who asks."""
        return list_headers(self.identity)


class Rule(Section):
    path: Annotated[RulePath | None, Unless()] = key(
        None, "Path it is for; * is one segment, /* at the end all beneath.", validate_default=False
    )
    host: Annotated[tuple[Host, ...], Listed(least=1)] = key(
        (), "Hosts it is for, exact or *.example.com.", validate_default=False
    )
    methods: Annotated[tuple[Method, ...], Listed(least=1)] = key(
        (), "Methods it is for, in upper case.", validate_default=False
    )
    networks: Annotated[tuple[NetworkRange, ...], Listed(least=1)] = key(
        (), "Networks the client must be in for it to apply.", validate_default=False
    )
    require: Requirement = key(
        "authenticated", "What it demands: deny, public, authenticated or two_factor."
    )
    groups: Demanded = key((), "Groups, one of which the user must be in.", validate_default=False)
    users: Annotated[tuple[Username, ...], Listed(least=1)] = key(
        (), "Users, one of whom it must be.", validate_default=False
    )
    roles: Demanded = key((), "Roles, one of which the user must have.", validate_default=False)
    tokens: Switch = key(
        False, "Whether API tokens may do what wants two_factor: programs have no second factor."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> Rule:
        demanding = self.require in {"authenticated", "two_factor"}
        for name in () if demanding else ("groups", "users", "roles"):
            if getattr(self, name):
                hint = f"remove {name}, or require authenticated"
                raise Wrong(f"says nothing beside require: {self.require}", hint, key=name)
        return self


class AccessSettings(Section):
    default: Requirement = key(
        "authenticated",
        "What is demanded where no rule applies: deny, public, authenticated or two_factor.",
    )
    rules: Annotated[tuple[Rule, ...], Listed(single=False)] = key(
        [], "Rules, of which the first that applies decides."
    )


class ConfigUser(Section):
    username: Username = required("Name to log in with, 1 to 190 characters.")
    password_hash: PasswordHash = required("What `doorward hash-password` prints.")
    super_admin: Switch = key(False, "Whether this user may do everything an administrator may.")
    groups: Groups = key([], "Groups the user is in.")
    roles: Groups = key([], "Roles the user has.")
    email: Annotated[EmailAddress | None, Unless(empty=None)] = key(
        None, "The user's e-mail address, taken as verified."
    )
    name: Annotated[DisplayName | None, Unless(empty=None)] = key(None, "Name to show.")
