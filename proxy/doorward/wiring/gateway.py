"""The gate, the pages and the dialects over one core, joined as the settings say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from starlette.routing import Router
from starlette.types import ASGIApp

from doorward.dialects import openapi
from doorward.gate.accept import Accept
from doorward.gate.access_tokens import AccessCarrier
from doorward.gate.authorize import Authorize
from doorward.gate.cookies import build_cookies
from doorward.gate.gate import Gate
from doorward.gate.identify import Identify
from doorward.gate.tokens import TokenCarrier
from doorward.header_names import add_identity_names
from doorward.http1.client_exchange import TunnelLimits
from doorward.observe.counters import Counters
from doorward.observe.observer import Observer
from doorward.relay.forwarder import Forwarder
from doorward.relay.gateway import Gateway
from doorward.relay.maintenance import maintenance_pages
from doorward.relay.passage import Passages
from doorward.relay.tunnels import Tunnels
from doorward.relay.watch import Watch
from doorward.rewrite.identity_headers import IdentityHeaders
from doorward.rewrite.relocation import build_relocation
from doorward.rewrite.request_head import RequestHeads
from doorward.settings import Settings
from doorward.storage.rates import Rates
from doorward.upstream.balance import build_upstreams
from doorward.upstream.pool import Pools
from doorward.web.answers import Answers
from doorward.web.endpoint import internal_paths, shadowed_paths
from doorward.web.return_address import page_bytes
from doorward.wiring.accounts import Accounts, Clock
from doorward.wiring.endpoints import build_dialects, build_pages, build_session_service
from doorward.wiring.observation import build_observer, count, name_routes

_log = structlog.get_logger("doorward")

OTHER_LINES_BYTES = 8 * 1024  # of a request's head beside its target, cookies above all


@dataclass(frozen=True, slots=True)
class Joined:
    """All that answers requests. `routes` are what routes are called, by their numbers."""

    gateway: Gateway
    observer: Observer
    routes: tuple[str, ...]
    prepare: Callable[[], None]  # what the first requests would wait for; for a thread


def join(
    settings: Settings,
    accounts: Accounts,
    pools: Pools,
    rates: Rates,
    clock: Clock,
    counters: Counters,
    inner: ASGIApp | None = None,
) -> Joined:
    """The gate, the pages and the dialects over one core, before upstreams or before `inner`, an
    application in this process."""
    cookies = build_cookies(settings)
    datepoll = settings.dialects.datepoll
    access = None if datepoll is None else AccessCarrier(accounts.live, accounts.access)
    api_tokens = TokenCarrier(
        accounts.live, accounts.api_tokens, accounts.token_uses, accounts.basic
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
    )
    service = build_session_service(settings, accounts, identify, cookies, clock)
    pages = build_pages(settings, accounts, service)
    tables = build_dialects(settings, accounts, service, rates)
    dialects = [route for found in tables.values() for route in found]
    if paths := shadowed_paths(dialects, [route.path for route in settings.routes]):
        _log.info("paths_of_dialects", paths=paths, reason="no upstream gets requests for these")
    routes = [*dialects, openapi.route(settings, tables), *pages.routes()]
    is_internal = internal_paths(routes)
    authorize = Authorize(settings.routes, settings.access)
    add_identity_names(
        header.header.encode() for route in authorize.routes for header in route.identity_headers
    )
    gate = Gate(
        authorize,
        identify,
        cookies,
        is_internal,
        accounts.second_factors.may_be_led,
        tuple(map(IdentityHeaders, authorize.routes)),
        settings.public_origin,
        api_tokens,
    )
    watch = Watch(accounts.live, gate.ask, clock)
    tunnels = Tunnels(
        settings.public_origin,
        authorize.routes,
        settings.limits.tunnels,
        TunnelLimits(
            settings.limits.tunnel_idle_timeout.total_seconds(), settings.limits.message_bytes
        ),
    )
    accept = Accept(
        settings.trusted_proxies,
        authorize.serves,
        settings.public_origin,
        settings.trusted_headers,
    )
    answers = Answers(pages.message, most_page_bytes(settings))
    maintenance = maintenance_pages(settings)
    heads = RequestHeads(authorize.routes)
    forwarders = tuple(
        Forwarder(
            build_upstreams(route, pools),
            route.timeouts.response.total_seconds(),
            route.timeouts.idle.total_seconds(),
            cookies,
            heads,
            settings.body_bytes(route),
            maintenance.get(route.maintenance),
            build_relocation(route),
        )
        for route in (authorize.routes if inner is None else ())
    )
    passages = None
    if inner is not None:
        passages = Passages(inner, settings, authorize.routes, cookies, authorize.is_public)
        pools.swept.append(passages.sweep)
    count(counters, forwarders, pools, tunnels, accounts.live)
    names = name_routes(authorize.routes)
    observer = build_observer(settings.log, counters, names, access)
    gateway = Gateway(
        accept=accept,
        gate=gate,
        forwarders=forwarders,
        tunnels=tunnels,
        watch=watch,
        internal=Router(routes=routes, redirect_slashes=False),
        is_internal=is_internal,
        answers=answers,
        clock=clock,
        observer=observer,
        keep=pages.preserve,
        passages=passages,
    )
    return Joined(gateway, observer, names, pages.prepare)


def most_page_bytes(settings: Settings) -> int:
    """Of the target of an internal page: there has to be room for the other lines of its head."""
    limits = settings.limits
    room = max(limits.header_bytes - OTHER_LINES_BYTES, limits.header_bytes // 2)
    return min(page_bytes(limits.target_bytes), room)
