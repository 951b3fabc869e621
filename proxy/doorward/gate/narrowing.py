"""The users that a verification asks for in its query (`?allowed_groups=`, as in oauth2-proxy).

Knows the parameters of that query; must not know rules. It can only restrict what rules allow.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from doorward.accounts.names import normalise_address
from doorward.accounts.refusals import InvalidEmail
from doorward.accounts.user import User

GROUPS, EMAILS, DOMAINS = "allowed_groups", "allowed_emails", "allowed_email_domains"
_BEGIN = "allowed_"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The users that one verification asks for. Of each set that is not None, a user needs one
    item; an empty set admits no user. `unknown`: unsupported parameters that begin with
    `allowed_`."""

    groups: frozenset[str] | None = None
    emails: frozenset[str] | None = None
    domains: frozenset[str] | None = None
    unknown: tuple[str, ...] = ()

    def admits(self, user: User) -> bool:
        """Only verified addresses count."""
        addresses = _fold(one.address for one in user.emails if one.verified)
        return (
            not self.unknown
            and (self.groups is None or not self.groups.isdisjoint(user.groups))
            and (self.emails is None or not self.emails.isdisjoint(addresses))
            and (self.domains is None or any(self._has_domain(one) for one in addresses))
        )

    def _has_domain(self, address: str) -> bool:
        """Exactly one `@` (CVE-2026-40574), and names compared by label (CVE-2021-21291)."""
        name, _, domain = address.partition("@")
        if not name or not domain or "@" in domain:
            return False
        return any(_covers(one, domain) for one in self.domains or ())


def _covers(pattern: str, domain: str) -> bool:
    """Exact, or all subdomains for `.example.com` and `*.example.com`."""
    below = pattern.removeprefix("*")
    if below.startswith("."):
        return domain.endswith(below) and len(domain) > len(below)
    return domain == pattern


@lru_cache(maxsize=256)
def read_narrowing(query: bytes) -> Narrowing | None:
    """Parse the query of a verification. None if it restricts nothing."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    said: dict[str, set[str]] = {}
    for name, values in pairs:
        if name.startswith(_BEGIN):
            said.setdefault(name, set()).update(one for one in values.split(",") if one)
    if not said:
        return None
    groups, emails, domains = (said.pop(name, None) for name in (GROUPS, EMAILS, DOMAINS))
    return Narrowing(
        None if groups is None else frozenset(groups),
        None if emails is None else _fold(emails),
        None if domains is None else frozenset(one.lower() for one in domains),
        tuple(sorted(said)),
    )


def _fold(addresses: Iterable[str]) -> frozenset[str]:
    """Addresses in normal form; anything else is left out."""
    found: set[str] = set()
    for address in addresses:
        with suppress(InvalidEmail):
            found.add(normalise_address(address))
    return frozenset(found)
