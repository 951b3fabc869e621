"""Which tunnels are allowed, by origin and number; and tunnels under other servers."""

from __future__ import annotations

from typing import Any

import pytest
from doorward.gate.accept import Accept, Accepted
from doorward.gate.decision import Forward, Refuse
from doorward.http1.arrival import Arrival
from doorward.http1.client_exchange import TunnelLimits
from doorward.relay.tunnels import Tunnels
from doorward.server.tunnel import asked_protocols
from doorward.settings import Route

from tests.conftest import Make
from tests.support.asgi import ask, scope
from tests.support.front import Front
from tests.support.wire import values_of

FORWARD = Forward(0, None)


def routes(settings: Make, *hosts: str | None) -> tuple[Route, ...]:
    return settings(
        routes=[
            {"upstream": "http://127.0.0.1:9"} | ({"host": host} if host else {}) for host in hosts
        ]
    ).routes


def request(origin: str | None, host: str = "a.test", scheme: str = "http") -> Accepted:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    arrival = Arrival(b"GET", b"/", headers, "192.0.2.1", scheme, b"websocket")
    return Accept((), lambda _: True)(arrival)


LIMITS = TunnelLimits(60.0, 1024)


def judged(tunnels: Tunnels, *asked: Any, **more: Any) -> str:
    decision = tunnels.judge(request(*asked, **more), FORWARD)
    return decision.code if isinstance(decision, Refuse) else "forward"


@pytest.mark.parametrize(
    ("origin", "scheme", "code"),
    [
        (None, "http", "forward"),
        ("https://x.a.test", "http", "forward"),
        ("http://x.a.test", "http", "forward"),
        ("http://x.a.test", "https", "cross_origin"),
        ("https://x.a.test", "https", "forward"),
        ("https://y.a.test", "https", "cross_origin"),
        ("https://a.test", "https", "cross_origin"),
        ("https://public.test", "https", "forward"),
        ("http://public.test", "https", "cross_origin"),
        ("null", "https", "cross_origin"),
    ],
)
def test_only_the_same_host_of_a_wildcard_is_allowed(
    settings: Make, origin: str | None, scheme: str, code: str
) -> None:
    """CVE-2024-28233: a page of one subdomain must not act for another. And a page loaded without
    TLS, which an attacker may have changed, must not act for a site with TLS."""
    tunnels = Tunnels("https://public.test", routes(settings, "*.a.test"), 10, LIMITS)
    assert judged(tunnels, origin, "x.a.test", scheme=scheme) == code


def test_tunnels_are_limited(settings: Make) -> None:
    tunnels = Tunnels("http://a.test", routes(settings, None), 1, LIMITS)
    assert judged(tunnels, None) == "forward"
    tunnels.open = 1
    assert judged(tunnels, None) == "too_many_tunnels"


@pytest.mark.parametrize(
    ("lines", "protocols"),
    [
        ([], b""),
        ([b"websocket"], b"websocket"),
        ([b"WebSocket , foo/1.2"], b"WebSocket, foo/1.2"),
        ([b"a", b"b"], b"a, b"),
        ([b"h2c"], b""),
        ([b"h2c-14"], b""),
        ([b"echo, H2-17, h2c-16/1"], b"echo"),
        ([b"H2C, websocket"], b"websocket"),
        ([b"HTTP/2.0, TLS/1.3, h3, https"], b""),
        ([b"a b", b"a/b/c", b"/", b",,", b""], b""),
    ],
)
def test_only_allowed_protocols_of_an_upgrade_remain(lines: list[bytes], protocols: bytes) -> None:
    headers = [(b"upgrade", line) for line in lines]
    assert asked_protocols([(b"host", b"a"), *headers]) == protocols


async def test_under_another_server_an_upgrade_is_an_ordinary_request(front: Front) -> None:
    lines = [
        (b"host", b"app.test"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    answer = await ask(front.app, scope("/public/x", lines))
    assert answer.status == 200
    assert values_of(front.origin.heads[-1], b"upgrade") == []
    assert values_of(front.origin.heads[-1], b"connection") == []
