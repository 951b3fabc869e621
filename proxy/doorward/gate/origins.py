"""Origins as browsers name them, and which of them are this very site's.

Knows their spelling; must not know what is refused to a page of another site.
"""

import re

from doorward.gate.accept import Accepted

_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def own_origins(request: Accepted, public_origin: str, host: str | None) -> set[str]:
    """Of public_url, of the host that is asked and of the route's, if it names one.

    Where a proxy before us speaks https and does not say so, the page is an https one.
    """
    hosts = [request.authority]
    if host is not None and not host.startswith("*."):
        hosts.append(host.lower())
    schemes = {request.scheme, "https"}
    named = {bare(scheme, host) for scheme in schemes for host in hosts}
    return named | {public_origin}


def normal(origin: str) -> str | None:
    """An Origin as they are compared; None for `null` and what is none (RFC 6454 7)."""
    match = _ORIGIN.fullmatch(origin.lower())
    return None if match is None else bare(match[1], match[2])


def bare(scheme: str, authority: str) -> str:
    """The origin of a scheme and a lower-case authority, the scheme's own port left out."""
    return f"{scheme}://{authority.removesuffix(_DEFAULT_PORTS[scheme])}"
