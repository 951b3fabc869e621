"""Which site's page sent a request: the one place that decides what is same-origin.

Knows how browsers name origins; must not know what is refused to a page of another site.
"""

import re
from collections.abc import Iterable
from enum import Enum, auto

_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Sender(Enum):
    """Whose page sent a request, as far as its browser says."""

    OWN = auto()  # this site's
    TYPED = auto()  # nobody's: an address that a person typed, or chose from a list
    OTHER = auto()  # another site's
    UNSAID = auto()  # not told: a program, which rides on nobody's cookie, or an old browser


_SITES = {b"same-origin": Sender.OWN, b"none": Sender.TYPED}


def detect_sender(
    headers: Iterable[tuple[bytes, bytes]],
    scheme: str,
    authority: str,
    public_origin: str,
    route_host: str | None = None,
) -> Sender:
    """Whose page sent a request with these headers (names in lower case), asked for by this scheme
    under this authority.

    A page of public_url is ours, whatever host it asks. For others Sec-Fetch-Site decides, which
    also knows by which redirects a request came; where it is not sent, Origin (RFC 6454).
    """
    sites: set[bytes] = set()
    origins: set[str | None] = set()
    for name, value in headers:
        if name == b"sec-fetch-site":
            sites.add(value)
        elif name == b"origin":
            origins.add(normalize_origin(value.decode("latin-1")))
    if origins == {public_origin}:
        return Sender.OWN
    if sites:
        return _SITES.get(sites.pop(), Sender.OTHER) if len(sites) == 1 else Sender.OTHER
    if not origins:
        return Sender.UNSAID
    own = own_origins(scheme, authority, public_origin, route_host)
    return Sender.OWN if origins <= own else Sender.OTHER


def own_origins(
    scheme: str, authority: str, public_origin: str, route_host: str | None = None
) -> frozenset[str]:
    """Of public_url, of the host that is asked (`authority`, lower-case) and of the route's, if it
    names one.

    Where a proxy before us speaks https and does not say so, the page is an https one.
    """
    hosts = [authority]
    if route_host is not None and not route_host.startswith("*."):
        hosts.append(route_host.lower())
    named = {build_origin(each, host) for each in {scheme, "https"} for host in hosts}
    return frozenset((*named, public_origin))


def normalize_origin(origin: str) -> str | None:
    """An Origin as they are compared; None for `null` and what is none (RFC 6454 7)."""
    match = _ORIGIN.fullmatch(origin.lower())
    return None if match is None else build_origin(match[1], match[2])


def build_origin(scheme: str, authority: str) -> str:
    """The origin of a scheme and a lower-case authority, the scheme's own port left out."""
    return f"{scheme}://{authority.removesuffix(_DEFAULT_PORTS[scheme])}"
