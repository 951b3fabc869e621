"""The site whose page sent a request: the same answer for pages, dialects, routes and tunnels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from doorward.gate.accept import Accept, Client
from doorward.gate.decision import Forward, Refuse
from doorward.gate.same_origin import Sender
from doorward.http1.client_exchange import TunnelLimits
from doorward.relay.tunnels import Tunnels
from doorward.web.endpoint import get_sender
from starlette.requests import Request

from tests.support.asgi import scope
from tests.support.front import HOST, Build, Front, arrival
from tests.support.origin import Origin
from tests.support.wire import Header

OWN, TYPED, OTHER, UNSAID = Sender
SAYINGS: list[tuple[list[Header], Sender]] = [
    ([], UNSAID),
    ([(b"sec-fetch-site", b"same-origin")], OWN),
    ([(b"sec-fetch-site", b"none")], TYPED),
    ([(b"sec-fetch-site", b"same-site")], OTHER),
    ([(b"sec-fetch-site", b"cross-site")], OTHER),
    ([(b"sec-fetch-site", b"")], OTHER),
    ([(b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")], OTHER),
    ([(b"sec-fetch-site", b"cross-site"), (b"origin", b"http://app.test")], OTHER),
    ([(b"sec-fetch-site", b"cross-site"), (b"origin", b"https://public.test")], OWN),
    ([(b"sec-fetch-site", b"same-site"), (b"origin", b"https://app.test")], OTHER),
    ([(b"origin", b"http://app.test")], OWN),
    ([(b"origin", b"http://app.test:80")], OWN),
    ([(b"origin", b"HTTP://APP.test")], OWN),
    ([(b"origin", b"https://public.test")], OWN),
    ([(b"origin", b"https://app.test")], OWN),  # a proxy that ends TLS and does not say so
    ([(b"origin", b"http://public.test")], OTHER),
    ([(b"origin", b"http://app.test.evil.test")], OTHER),
    ([(b"origin", b"http://evil-app.test")], OTHER),
    ([(b"origin", b"http://app.test:8080")], OTHER),
    ([(b"origin", b"null")], OTHER),
    ([(b"origin", b"")], OTHER),
    ([(b"origin", b"http://app.test"), (b"origin", b"http://evil.test")], OTHER),
]


def request(*headers: Header) -> Request:
    made = scope("/", [(b"host", b"app.test"), *headers])
    client = Client("192.0.2.1", "http", "app.test", "id", "")
    return Request({**made, "state": {"client": client}})


@pytest.mark.parametrize(("headers", "expected"), SAYINGS)
def test_requests_of_another_site_are_recognized_by_their_origin(
    headers: list[Header], expected: Sender
) -> None:
    """CVE-2017-1000069, CVE-2026-27589, CVE-2021-41247: no protection from cross-site requests;
    CVE-2026-40110: an origin was matched with an unanchored pattern."""
    assert get_sender(request(*headers), "https://public.test") is expected


Refused = Callable[[Front, list[Header]], Awaitable[bool]]


async def by_route(front: Front, headers: list[Header]) -> bool:
    return (await front.get("/", *headers, method="POST")).status == 403


async def by_page(front: Front, headers: list[Header]) -> bool:
    return (await front.get("/.doorward/logout", *headers, method="POST")).status == 403


async def by_dialect(front: Front, headers: list[Header]) -> bool:
    answer = await front.get("/xhr/login", *headers, method="POST")
    return answer.status == 403 and b"foreign_origin" in answer.body


async def by_upgrade(front: Front, headers: list[Header]) -> bool:
    asked = Accept((), lambda host: True)(arrival(b"/", [*HOST, *headers]))
    limits = TunnelLimits(60.0, 1024)
    tunnels = Tunnels("https://public.test", front.app._settings.routes, 10, limits)
    return isinstance(tunnels.judge(asked, Forward(0, None)), Refuse)


@pytest.mark.parametrize("refused", [by_route, by_page, by_dialect, by_upgrade])
async def test_every_entrance_refuses_the_same_senders(
    fronts: Build, origin: Origin, refused: Refused
) -> None:
    """A new entrance with its own check would answer one of these differently."""
    routes = [{"upstream": origin.url, "same_origin": True}]
    public = {"default": "public"}
    front = await fronts(routes=routes, public_url="https://public.test", access=public)
    for headers, expected in SAYINGS:
        assert await refused(front, headers) is (expected is OTHER), headers
