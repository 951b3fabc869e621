"""The gate, the pages and the dialects over one core, joined as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.routing import Router
from starlette.types import ASGIApp

from doorward.gate.authorize import Authorize
from doorward.gate.front_proxies import list_presets
from doorward.gate.rules import host_matches
from doorward.gate.verification import Verifications
from doorward.http1.client_exchange import TunnelLimits
from doorward.observe.counters import Counters
from doorward.observe.observer import Observer
from doorward.observe.refusals import Refusals
from doorward.relay.application_logout import LogoutCalls
from doorward.relay.form_login import FormLogins
from doorward.relay.forwarder import AddingForwarder, Forwarder
from doorward.relay.gateway import Gateway
from doorward.relay.maintenance import maintenance_pages
from doorward.relay.passage import Passages
from doorward.relay.rate_limits import RouteLimits
from doorward.relay.tunnels import Tunnels
from doorward.relay.verifier import Verifier
from doorward.relay.watch import Watch
from doorward.rewrite.added_headers import build_added_headers
from doorward.rewrite.form_credentials import FormCredentials
from doorward.rewrite.relocation import Relocate, build_relocation
from doorward.rewrite.route_credentials import drop_challenges
from doorward.rewrite.verification_head import VerificationHeads
from doorward.settings import Route, Settings
from doorward.settings.application_secrets import ApplicationSecrets
from doorward.storage.rates import Rates
from doorward.upstream.balance import build_upstreams
from doorward.upstream.failures import Page
from doorward.upstream.pool import Pools
from doorward.web.answers import Answers
from doorward.web.explanation import Explainer
from doorward.web.return_address import page_bytes
from doorward.web.verification_answers import VerificationAnswers
from doorward.wiring.accounts import Accounts, Clock
from doorward.wiring.credentials import select_prepared
from doorward.wiring.deciding import Deciding, build_deciding
from doorward.wiring.observation import build_observer, count, name_routes

OTHER_LINES_BYTES = 8 * 1024  # for the rest of a request's head, mainly cookies


@dataclass(frozen=True, slots=True)
class Joined:
    """Everything that answers requests. `routes` are the names of routes, by number."""

    gateway: Gateway
    observer: Observer
    routes: tuple[str, ...]
    prepare: Callable[[], None]  # does what the first requests would wait for; call it in a thread
    explainer: Explainer
    secrets: ApplicationSecrets  # to be read again when their files change


def join(
    settings: Settings,
    accounts: Accounts,
    pools: Pools,
    rates: Rates,
    clock: Clock,
    counters: Counters,
    inner: ASGIApp | None = None,
    refusals: Refusals | None = None,
) -> Joined:
    """The gate, the pages and the dialects over one core, in front of upstreams or of `inner`, an
    application in this process. `refusals` records refused requests."""
    deciding = build_deciding(settings, accounts, rates, clock)
    gate, authorize, cookies = deciding.gate, deciding.authorize, deciding.cookies
    watch = Watch(accounts.live, gate.ask, clock)
    tunnels = Tunnels(
        settings.public_origin,
        authorize.routes,
        settings.limits.tunnels,
        TunnelLimits(
            settings.limits.tunnel_idle_timeout.total_seconds(), settings.limits.message_bytes
        ),
    )
    answers = Answers(deciding.pages.messages, most_page_bytes(settings))
    maintenance = maintenance_pages(settings)
    forwarders = tuple(
        build_forwarder(settings, route, deciding, pools, maintenance, clock)
        for route in (authorize.routes if inner is None else ())
    )
    passages = None
    if inner is not None:
        passages = Passages(
            inner, settings, authorize.routes, deciding.heads, cookies, authorize.is_public, clock
        )
        pools.swept.append(passages.sweep)
    for number, forwarder in enumerate(forwarders):
        credentials = deciding.credentials.get(number)
        if isinstance(credentials, FormCredentials):
            route = authorize.routes[number]
            credentials.log_in = FormLogins(
                route, credentials.form, forwarder.upstreams, clock
            ).log_in
    count(counters, forwarders, pools, tunnels, accounts.live)
    names = name_routes(authorize.routes)
    verifier = build_verifier(settings, authorize, answers, tunnels)
    deciding.applications.call = LogoutCalls(
        deciding.accept, gate, authorize.routes, forwarders, passages, clock
    )
    rate_limits = RouteLimits(rates, authorize.routes)
    observer = build_observer(settings.log, counters, names, deciding.access)
    gateway = Gateway(
        accept=deciding.accept,
        gate=gate,
        forwarders=forwarders,
        tunnels=tunnels,
        watch=watch,
        internal=Router(routes=deciding.routes, redirect_slashes=False),
        is_internal=deciding.is_internal,
        answers=answers,
        clock=clock,
        observer=observer,
        keep=deciding.pages.preserve,
        passages=passages,
        refusals=refusals,
        verifier=verifier,
        rate_limits=rate_limits if rate_limits.has_any else None,
        added=tuple(map(build_added_headers, authorize.routes)),
        credentials=select_prepared(deciding.credentials),
    )
    return Joined(
        gateway, observer, names, deciding.pages.prepare, deciding.explainer, deciding.secrets
    )


def build_answer_editing(route: Route) -> Relocate | None:
    """The function that a route's settings apply to headers of answers, or None."""
    relocate = build_relocation(route)
    if route.credentials is None:
        return relocate
    if relocate is None:
        return lambda headers, request: drop_challenges(headers)
    return lambda headers, request: relocate(drop_challenges(headers), request)


def build_forwarder(
    settings: Settings,
    route: Route,
    deciding: Deciding,
    pools: Pools,
    maintenance: Mapping[Path | None, Page],
    clock: Clock,
) -> Forwarder:
    parts = (
        build_upstreams(route, pools),
        route.timeouts.response.total_seconds(),
        route.timeouts.idle.total_seconds(),
        deciding.cookies,
        deciding.heads,
        settings.body_bytes(route),
        maintenance.get(route.maintenance),
        build_answer_editing(route),
    )
    added = build_added_headers(route)
    if added is None:
        return Forwarder(*parts)
    return AddingForwarder(*parts, added=added, clock=clock)


def build_verifier(
    settings: Settings, authorize: Authorize, answers: Answers, tunnels: Tunnels
) -> Verifier | None:
    """The part that answers front proxies, if the settings name hosts that they may ask about."""
    asked = settings.forward_auth
    if asked is None:
        return None
    heads = VerificationHeads(authorize.routes, list_presets(asked.aliases))
    verifications = Verifications(
        settings.trusted_proxies,
        asked.hosts,
        settings.public_origin,
        asked.aliases,
        managed=heads.managed,
        scheme=urlsplit(settings.portal_origin).scheme,
    )
    return Verifier(
        verifications,
        authorize,
        heads,
        VerificationAnswers(
            answers,
            settings.portal_origin,
            most_page_bytes(settings),
            lambda host: any(host_matches(one, host) for one in settings.handover_hosts),
        ),
        tunnels,
    )


def most_page_bytes(settings: Settings) -> int:
    """The maximum length of an internal page's target, which leaves room for the rest of the
    head."""
    limits = settings.limits
    room = max(limits.header_bytes - OTHER_LINES_BYTES, limits.header_bytes // 2)
    return min(page_bytes(limits.target_bytes), room)
