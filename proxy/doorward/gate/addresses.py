"""Addresses from connections and headers, in a canonical form.

Knows spellings; must not know which addresses are trusted.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

# The longest address, with brackets, port and zone. Longer text is refused, so that it cannot fill
# the cache.
ADDRESS_CHARACTERS = 128


def parse_address(text: str) -> Address | None:
    """An IP address without zone or IPv4-mapping (GHSA-7jmw-8259-q9jx), or None."""
    return _parsed(text) if len(text) <= ADDRESS_CHARACTERS else None


@lru_cache(maxsize=8192)
def _parsed(text: str) -> Address | None:
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
