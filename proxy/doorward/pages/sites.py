"""The host names that pages may show: only those in the settings, never one that a client made up.

A page that repeated any Host would show a name of an attacker's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from doorward.gate.rules import host_matches
from doorward.settings import Settings


def known_hosts(settings: Settings) -> Callable[[str], bool]:
    """A function that tells whether public_url or a route contains this authority (lower-case, any
    port)."""
    own = urlsplit(settings.public_origin).hostname
    routes = [route.host.lower() for route in settings.routes if route.host is not None]

    def is_known(authority: str) -> bool:
        try:
            host = urlsplit(f"//{authority}").hostname or ""
        except ValueError:
            return False
        host = host.rstrip(".")
        return host == own or any(host_matches(route, host) for route in routes)

    return is_known
