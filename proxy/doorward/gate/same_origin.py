"""The site whose page sent a request: the only place that decides what is same-origin.

Knows how browsers name origins; must not know what is refused to pages of other sites.
"""

import re
from collections.abc import Iterable
from enum import Enum, auto

_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Sender(Enum):
    """The sender of a request, according to its browser."""

    OWN = auto()  # this site's
    TYPED = auto()  # no page: an address that the user typed, or chose from a list
    OTHER = auto()  # another site's
    # unknown: a program, which has no cookie that another site could use, or an old browser
    UNSAID = auto()


_SITES = {b"same-origin": Sender.OWN, b"none": Sender.TYPED}


def detect_sender(
    headers: Iterable[tuple[bytes, bytes]],
    scheme: str,
    authority: str,
    public_origin: str,
    route_host: str | None = None,
) -> Sender:
    """The sender of a request with these headers (names in lower case) for this scheme and
    authority.

    A page of public_url counts as this site's, whatever host it requests. For others,
    Sec-Fetch-Site decides, which also covers redirects; if it is missing, Origin does (RFC 6454).
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
    """The origins of public_url, of the requested host (`authority`, in lower case) and of the
    route's host, if it has one.

    If a proxy in front uses https and does not say so, the page's origin is an https one.
    """
    hosts = [authority]
    if route_host is not None and not route_host.startswith("*."):
        hosts.append(route_host.lower())
    named = {build_origin(each, host) for each in {scheme, "https"} for host in hosts}
    return frozenset((*named, public_origin))


def normalize_origin(origin: str) -> str | None:
    """An Origin in the form in which they are compared; None for `null` and invalid ones (RFC 6454
    7)."""
    match = _ORIGIN.fullmatch(origin.lower())
    return None if match is None else build_origin(match[1], match[2])


def build_origin(scheme: str, authority: str) -> str:
    """The origin of a scheme and a lower-case authority, the scheme's own port left out."""
    return f"{scheme}://{authority.removesuffix(_DEFAULT_PORTS[scheme])}"
