"""Knows the settings of routes, access rules and the configuration file's users.
It must not apply them; the gate and the accounts do."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import model_validator

from doorward.settings import values
from doorward.settings.balance import (
    Concurrency,
    Failover,
    HealthCheck,
    PoolSettings,
    RouteBody,
)
from doorward.settings.credentials import CredentialSettings
from doorward.settings.faults import Wrong
from doorward.settings.fields import (
    ApiKeyHeader,
    DisplayName,
    Duration,
    EmailAddress,
    Group,
    Host,
    Listed,
    Parsed,
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
from doorward.settings.protection import AppLogout, RouteRate, SecurityHeaders
from doorward.settings.rewriting import CacheControl, Rewrite, RouteCookies
from doorward.settings.rules import Basic, Requirement, Rule
from doorward.settings.tls import UpstreamTls


def policy_name(value: object) -> str:
    """The import path of a function, as module:name."""
    found = values.text(value)
    if not re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", found):
        raise Wrong(
            f"{values.quote(found)} is not a function", "write it as mypackage.policy:decide"
        )
    return found


PolicyName = Annotated[str, Parsed(policy_name, {"type": "string"})]
Groups = Annotated[tuple[Group, ...], Listed()]


class Timeouts(Section):
    connect: Duration = key("5s", "Time to connect.")
    response: Duration = key("60s", "Time to wait for the status and headers of the answer.")
    idle: Duration = key(
        "5m", "Time without data from either side, after which the request is aborted."
    )


class Route(Section):
    host: Annotated[Host | None, Unless()] = key(
        None,
        "Host to match, exact or *.example.com. If unset, every host.",
        validate_default=False,
    )
    path: RoutePath = key("/", "Path to match, with everything below it.")
    upstream: Annotated[tuple[UpstreamUrl, ...], Listed()] = key(
        [],
        "Address of the application: http://host:port, https://, unix:/run/app.sock, or a list.",
    )
    identity: Annotated[tuple[Told, ...], Listed(off=True)] = key(
        ["remote-user"],
        "Headers that identify the user: presets, or your own as {header, value, delimiter}.",
    )
    encoding: Encoding = key(
        "percent", "Encoding of non-ASCII text: percent, utf-8, rfc2047, or refuse."
    )
    assertion: Annotated[Assertion | None, Unless("off")] = key(
        "off", "Signed token that identifies the user, sent as X-Doorward-Assertion, or off."
    )
    identity_on_public: Switch = key(
        True, "Whether to send these headers on public paths too; answers are then private."
    )
    tls: UpstreamTls = key({}, "TLS settings for an https upstream.")
    timeouts: Timeouts = key({}, "Timeouts for the upstream.")
    rewrite: Rewrite = key({}, "Rewriting for an application that expects another host or path.")
    cookies: RouteCookies = key({}, "Attributes to add to the application's cookies.")
    cache_control: CacheControl = key(
        "private",
        "Cache-Control of answers to a session: private, or keep the application's.",
    )
    same_origin: Switch = key(
        False, "Whether to refuse POST, PUT, PATCH and DELETE from pages of other sites."
    )
    security_headers: Annotated[SecurityHeaders | None, Unless("off")] = key(
        "off", "Security headers to add to answers of an application that sets none, or off."
    )
    session_expires: Switch = key(
        False, "Whether to add X-Doorward-Session-Expires-In, in seconds, to answers to a session."
    )
    close_websockets: Switch = key(
        False, "Whether to close WebSockets with code 4401 when their session ends."
    )
    logout: Annotated[AppLogout | None, Unless("off")] = key(
        "off", "What ends at the application when a user logs out of Doorward, or off."
    )
    rate_limit: Annotated[RouteRate | None, Unless("off")] = key(
        "off", "Limit on requests to the application, or off; others get 429."
    )
    body_bytes: RouteBody = key(
        "auto", "Largest request body: a size, none, or auto for limits.body_bytes."
    )
    concurrency: Concurrency = key({}, "Limit on concurrent requests to each upstream.")
    pool: PoolSettings = key({}, "Connections to the upstream that are kept open between requests.")
    lenient: Switch = key(
        False, "Whether to accept header lines that end with a bare line feed, as old servers send."
    )
    failover: Failover = key({}, "When to stop using one of several upstreams for a while.")
    health: Annotated[HealthCheck | None, Unless("off")] = key(
        "off", "Health check of each upstream, or off."
    )
    basic: Basic = key(
        "off",
        "Whether to ask programs for a user name and token by HTTP Basic authentication.",
    )
    api_key_header: Annotated[ApiKeyHeader | None, Unless("off")] = key(
        "off", "Another header in which programs may send a token, such as X-Api-Key, or off."
    )
    rules: Annotated[tuple[Rule, ...], Listed(single=False)] = key(
        [], "Access rules for this route, tried before access.rules."
    )
    maintenance: Annotated[Place | None, Unless("none")] = key(
        "none", "HTML file to serve with 503 while no upstream can be reached, or none."
    )
    credentials: Annotated[CredentialSettings | None, Unless("off")] = key(
        "off", "Credentials that Doorward sends to the application, or off."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> Route:
        if "none" in self.identity and len(self.identity) > 1:
            raise Wrong("none cannot be combined with other presets", "remove it", key="identity")
        if self.logout is not None and self.logout.url is not None:
            if not f"{self.logout.url}/".startswith(f"{self.path.rstrip('/')}/"):
                hint = f"write it as browsers do, such as {self.path.rstrip('/')}/logout"
                raise Wrong("logout.url is not below the route's path", hint, key="logout")
        if self.session_expires and self.cache_control == "keep":
            message = "would be stored with answers that shared caches may keep"
            raise Wrong(message, "remove cache_control: keep", key="session_expires")
        try:
            list_headers(self.identity)
        except Wrong as wrong:
            raise Wrong(wrong.message, wrong.hint, key="identity") from None
        return self

    @property
    def name(self) -> str:
        """The route's name in commands and in storage: its host, if it has one, and its path."""
        return f"{self.host or ''}{self.path}"

    @property
    def base(self) -> str:
        """The path prefix at its upstreams, the same for all of them."""
        return self.upstream[0].base if self.upstream else ""

    @property
    def identity_headers(self) -> tuple[IdentityHeader, ...]:
        """The headers that identify the user to the application."""
        return list_headers(self.identity)


class AccessSettings(Section):
    default: Requirement = key(
        "authenticated",
        "Requirement if no rule applies: deny, public, authenticated or two_factor.",
    )
    rules: Annotated[tuple[Rule, ...], Listed(single=False)] = key(
        [], "List of rules. The first rule that applies decides."
    )
    decide: Annotated[PolicyName | None, Unless("off")] = key(
        "off", "Python function that decides in addition to the rules, as module:function, or off."
    )
    decide_timeout: Duration = key(
        "1s", "Time for it to answer. After that, the request is refused."
    )


class ConfigUser(Section):
    username: Username = required("Name to log in with, 1 to 190 characters.")
    password_hash: PasswordHash = required("Output of `doorward hash-password`.")
    super_admin: Switch = key(
        False, "Whether the user is a super administrator, who can do everything."
    )
    groups: Groups = key([], "The user's groups.")
    roles: Groups = key([], "The user's roles.")
    email: Annotated[EmailAddress | None, Unless(empty=None)] = key(
        None, "The user's e-mail address, which counts as verified."
    )
    name: Annotated[DisplayName | None, Unless(empty=None)] = key(None, "Display name.")
