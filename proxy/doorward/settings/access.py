"""Knows the settings of routes, access rules and the configuration file's users.
It must not decide by them; the gate and the accounts do."""

from __future__ import annotations

from typing import Annotated

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
    PasswordHash,
    Place,
    RoutePath,
    Section,
    Switch,
    Unless,
    UpstreamUrl,
    Username,
    key,
    required,
)
from doorward.settings.identity import Assertion, Encoding, IdentityHeader, Told, list_headers
from doorward.settings.rewriting import CacheControl, Rewrite, RouteCookies
from doorward.settings.rules import Basic, Requirement, Rule
from doorward.settings.tls import UpstreamTls

Groups = Annotated[tuple[Group, ...], Listed()]


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
    upstream: Annotated[tuple[UpstreamUrl, ...], Listed()] = key(
        [],
        "Where it leads: http://host:port, also with a path; https://, unix:/run/app.sock; a list.",
    )
    identity: Annotated[tuple[Told, ...], Listed(off=True)] = key(
        ["remote-user"],
        "Headers that say who asks: presets, and {header, value, delimiter} of your own.",
    )
    encoding: Encoding = key(
        "percent", "How they say what is not ASCII: percent, utf-8, rfc2047, or refuse."
    )
    assertion: Annotated[Assertion | None, Unless("off")] = key(
        "off", "Signed statement of who asks, sent as X-Doorward-Assertion, or off."
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
    basic: Basic = key(
        "off",
        "Whether programs are asked for name and token by Basic: true, off, or as here.",
    )
    api_key_header: Annotated[ApiKeyHeader | None, Unless("off")] = key(
        "off", "Header that may carry an API token of Doorward's, such as X-Api-Key, or off."
    )
    rules: Annotated[tuple[Rule, ...], Listed(single=False)] = key(
        [], "Rules of this route alone, asked before those of `access`."
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
        return self.upstream[0].base if self.upstream else ""

    @property
    def identity_headers(self) -> tuple[IdentityHeader, ...]:
        """What tells its application who asks."""
        return list_headers(self.identity)


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
