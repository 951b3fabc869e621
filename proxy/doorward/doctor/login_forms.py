"""Checks of applications' login forms: whether the page that `credentials.form` names can be opened
and has the form.

Knows how Doorward opens the page, because it does so itself; sends no name or password.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from doorward.doctor.findings import Finding
from doorward.doctor.upstreams import AGENT
from doorward.gate.accept import Accept, Accepted
from doorward.http1.arrival import Arrival
from doorward.relay.form_login import FormLogins
from doorward.rewrite.form_page import UnfitPage
from doorward.rewrite.login_form import ApplicationForm
from doorward.settings import InvalidSettings, Route, Settings
from doorward.upstream.balance import build_upstreams
from doorward.upstream.failures import ConnectFailed, UpstreamFailure
from doorward.upstream.pool import Pools

_ADVICE = "correct page, url or the name of the field with the password"


async def check_login_forms(settings: Settings) -> list[Finding]:
    """Open each page as before a login, for a client on this host."""
    found, pools = [], Pools()
    try:
        for number, route in enumerate(settings.routes):
            fault = await _find_fault(settings, route, pools)
            if fault is not None:
                found.append(Finding(f"routes[{number}].credentials.form: {fault}", _ADVICE))
    finally:
        pools.close()
    return found


async def _find_fault(settings: Settings, route: Route, pools: Pools) -> str | None:
    form = None if route.credentials is None else route.credentials.form
    if form is None or form.page is None:
        return None
    try:
        upstreams = build_upstreams(route, pools)
        logins = FormLogins(route, ApplicationForm(route, form), upstreams, time.time)
        await logins.open_page(_build_request(settings, route))
    except (InvalidSettings, ConnectFailed):
        return None  # which is another check's finding
    except (UnfitPage, UpstreamFailure) as fault:
        return str(fault)
    return None


def _build_request(settings: Settings, route: Route) -> Accepted:
    """A request for the route, as its users' browsers send."""
    public = urlsplit(settings.public_url)
    host = public.netloc if route.host is None or route.host.startswith("*") else route.host
    headers = [(b"host", host.encode()), (b"user-agent", AGENT.encode())]
    arrival = Arrival(b"GET", b"/", headers, "127.0.0.1", public.scheme)
    return Accept((), lambda host: True)(arrival)
