"""Everything that a decision needs, joined as the settings say: the gate, the pages and dialects
whose paths it has to know, and the heads that are built from it. Must not know how a request is
forwarded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.routing import Route

from doorward.dialects.openapi_route import build_description_route
from doorward.gate.accept import Accept
from doorward.gate.access_tokens import AccessCarrier
from doorward.gate.authorize import Authorize
from doorward.gate.cookies import Cookies, build_cookies
from doorward.gate.front_proxies import Endpoints
from doorward.gate.gate import Gate
from doorward.gate.handover import HandoverCarrier
from doorward.gate.identify import Identify
from doorward.gate.policy import PolicyFunction, load_policy
from doorward.gate.policy_gate import AllowingAuthorize, PolicyGate
from doorward.gate.tokens import TokenCarrier
from doorward.header_names import add_identity_names
from doorward.pages.pages import Pages
from doorward.rewrite.request_head import RequestHeads
from doorward.rewrite.route_credentials import RouteCredentials
from doorward.settings import Settings
from doorward.settings.application_secrets import ApplicationSecrets
from doorward.storage.rates import Rates
from doorward.web.application_logout import ApplicationLogouts
from doorward.web.endpoint import internal_paths, shadowed_paths
from doorward.web.explanation import Explainer, Explanation, Question
from doorward.wiring.accounts import Accounts, Clock
from doorward.wiring.credentials import build_credentials
from doorward.wiring.endpoints import build_dialects, build_pages, build_session_service
from doorward.wiring.identity import build_tells

_log = structlog.get_logger("doorward")


@dataclass(frozen=True, slots=True)
class Deciding:
    """`routes` are those of Doorward's own endpoints; `access` reads access tokens, if their
    dialect is on; `credentials` are those of routes that have any, and `secrets` their files."""

    accept: Accept
    gate: Gate
    authorize: Authorize
    heads: RequestHeads
    cookies: Cookies
    access: AccessCarrier | None
    pages: Pages
    routes: list[Route]
    is_internal: Callable[[bytes], bool]
    explainer: Explainer
    applications: ApplicationLogouts
    credentials: dict[int, RouteCredentials]
    secrets: ApplicationSecrets


def build_deciding(settings: Settings, accounts: Accounts, rates: Rates, clock: Clock) -> Deciding:
    """Raises InvalidSettings for the operator's files that cannot be used."""
    cookies = build_cookies(settings)
    datepoll = settings.dialects.datepoll
    access = None if datepoll is None else AccessCarrier(accounts.live, accounts.access)
    api_tokens = TokenCarrier(
        accounts.live, accounts.api_tokens, accounts.token_uses, accounts.basic
    )
    handover = None
    if settings.handover is not None:
        handover = HandoverCarrier(
            settings.handover.hosts, accounts.live, accounts.handovers, cookies
        )
    identify = Identify(
        accounts.live,
        accounts.tokens,
        cookies,
        bare_tokens=settings.dialects.alekeagle is not None,
        takes_pair=settings.dialects.rocketchat is not None,
        access=access,
        takes_linked=datepoll is not None and datepoll.token_on_upstream,
        api_tokens=api_tokens,
        handover=handover,
    )
    service = build_session_service(settings, accounts, identify, cookies, clock, handover)

    async def explain(question: Question) -> Explanation:
        return await explainer.explain(question, clock())

    pages = build_pages(settings, accounts, service, explain)

    tables = build_dialects(settings, accounts, service, rates, explain)
    dialects = [route for found in tables.values() for route in found]
    if paths := shadowed_paths(dialects, [route.path for route in settings.routes]):
        _log.info("paths_of_dialects", paths=paths, reason="no upstream gets requests for these")
    routes = [
        *build_key_routes(settings, accounts),
        *dialects,
        build_description_route(settings, tables),
        *pages.routes(),
    ]
    is_internal = with_aliases(settings, internal_paths(routes))
    authorize = Authorize(settings.routes, settings.access)
    add_identity_names(
        header.header.encode() for route in authorize.routes for header in route.identity_headers
    )
    parts = (
        identify,
        cookies,
        is_internal,
        accounts.second_factors.may_be_led,
        build_tells(authorize.routes, accounts.keys, settings.public_url),
        settings.public_origin,
        api_tokens,
    )
    gate = build_gate(settings, authorize, parts, clock)
    own_hosts = find_own_hosts(settings)
    accept = Accept(
        settings.trusted_proxies,
        lambda host: authorize.serves(host) or host in own_hosts,
        settings.public_origin,
        settings.trusted_headers,
    )
    secrets = ApplicationSecrets(settings)
    credentials = build_credentials(authorize.routes, secrets, accounts.credentials, clock)
    heads = RequestHeads(authorize.routes, credentials)
    explainer = Explainer(settings, accept, gate, authorize, heads, credentials, is_internal)
    return Deciding(
        accept,
        gate,
        authorize,
        heads,
        cookies,
        access,
        pages,
        routes,
        is_internal,
        explainer,
        service.applications,
        credentials,
        secrets,
    )


def build_key_routes(settings: Settings, accounts: Accounts) -> list[Route]:
    """Where the keys that verify assertions are read, if a route has assertions."""
    signed = {route.assertion.algorithm for route in settings.routes if route.assertion}
    if not signed:
        return []
    from doorward.web.public_keys import build_key_route  # with PyJWT, 2 MiB

    return [build_key_route(accounts.keys, sorted(signed))]


def build_gate(
    settings: Settings, authorize: Authorize, parts: tuple[Any, ...], clock: Clock
) -> Gate:
    """The gate over these rules, with the operator's decision in Python if there is one. Raises
    InvalidSettings."""
    decide = load_policy(settings)
    if decide is None:
        return Gate(authorize, *parts)
    gate = PolicyGate(authorize, *parts)
    allowing = Gate(AllowingAuthorize(settings.routes, settings.access), *parts)
    policy = PolicyFunction(decide, settings.access.decide_timeout.total_seconds())
    gate.begin(allowing, policy.ask, clock)
    return gate


def with_aliases(
    settings: Settings, is_internal: Callable[[bytes], bool]
) -> Callable[[bytes], bool]:
    """Tells which paths are Doorward's own, including aliases of endpoints for front proxies."""
    asked = settings.forward_auth
    if asked is None or not asked.aliases:
        return is_internal
    is_among = Endpoints(asked.aliases).is_among
    return lambda path: is_internal(path) or is_among(path)


def find_own_hosts(settings: Settings) -> frozenset[str]:
    """Hosts that serve only Doorward's own pages; the applications are behind front proxies."""
    if settings.forward_auth is None:
        return frozenset()
    sites = (settings.public_origin, settings.portal_origin)
    return frozenset(host for site in sites if (host := urlsplit(site).hostname) is not None)
