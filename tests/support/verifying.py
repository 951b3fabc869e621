"""Verifications as sent by front proxies (forward-auth)."""

from __future__ import annotations

from typing import Any

from tests.support.asgi import ask, scope
from tests.support.front import Build, Front
from tests.support.wire import Answer, Header

PROXY = "10.0.0.1"
SITE = "app.example.com"
FORWARD_AUTH = {"hosts": ["app.example.com", "*.sister.test"], "portal": "https://auth.example.com"}
RULES = [
    {"path": "/public/*", "require": "public"},
    {"path": "/admin/*", "groups": ["admins"]},
    {"path": "/second/*", "require": "two_factor"},
    {"path": "/write/*", "methods": ["GET", "HEAD"], "require": "public"},
    {"path": "/inside/*", "networks": ["192.168.0.0/16"], "require": "public"},
]
NAVIGATES: tuple[Header, ...] = ((b"sec-fetch-mode", b"navigate"), (b"accept", b"text/html"))


async def verifying(fronts: Build, **values: Any) -> Front:
    chosen: dict[str, Any] = {
        "trusted_proxies": ["10.0.0.0/8"],
        "forward_auth": FORWARD_AUTH,
        "routes": [{}],
        "access": {"rules": RULES},
    }
    return await fronts(**chosen | values)


def forwarded(
    method: str = "GET", target: str = "/", scheme: str = "https", host: str = SITE
) -> list[Header]:
    return [
        (b"x-forwarded-method", method.encode()),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-host", host.encode()),
        (b"x-forwarded-uri", target.encode("latin-1")),
    ]


def original(
    method: str = "GET", target: str = "/", scheme: str = "https", host: str = SITE
) -> list[Header]:
    url = f"{scheme}://{host}{target}".encode("latin-1")
    return [(b"x-original-method", method.encode()), (b"x-original-url", url)]


async def verify(
    front: Front,
    endpoint: str = "",
    *headers: Header,
    method: str = "GET",
    target: str = "/",
    scheme: str = "https",
    host: str = SITE,
    peer: str = PROXY,
    client: str = "203.0.113.9",
) -> Answer:
    """The answer to a front proxy's verification at this endpoint."""
    path, asked_by = f"/.doorward/verify{endpoint}", "GET"
    lines: list[Header] = [(b"host", b"doorward.internal")]
    if endpoint == "/envoy":
        path, asked_by = path + target, method
        lines = [(b"host", host.encode()), (b"x-forwarded-proto", scheme.encode())]
    elif endpoint == "/nginx":
        lines += original(method, target, scheme, host)
    else:
        lines += forwarded(method, target, scheme, host)
    if client:
        lines.append((b"x-forwarded-for", client.encode()))
    return await ask(front.app, scope(path, [*lines, *headers], method=asked_by, peer=peer))
