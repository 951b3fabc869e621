"""Return addresses: where a user goes after a login, and how pages carry that address.

Knows which addresses are on this host, or on another for which a login here is valid; must not know
users.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from doorward import paths
from doorward.gate.rules import host_matches

# A path of this host that no browser reads as another host: one slash at the start, no backslash,
# control byte or white space (CVE-2020-5233, CVE-2020-11053, CVE-2020-4037).
_SAFE_RETURN = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
# In the query of an internal page, in place of an address that is too long.
LOST = "lost"

# What a second decoding, or a dot segment, could turn into `//host`.
_MISREAD = re.compile(
    r"/(?:%25)*%(?:25)*(?:2f|5c|0[09ad])|(?:[^?]*/)?(?:\.|%2e){1,2}(?:[/?]|$)", re.I
)


def safe_return(rd: str | None) -> str:
    """Where to go after a login: `rd` if it is a path on this host, otherwise `/`.

    Its length is limited where requests are read, see `page_bytes`.
    """
    if rd is None or _SAFE_RETURN.fullmatch(rd) is None:
        return "/"
    if _MISREAD.match(rd) or rd.startswith((paths.LOGIN, paths.LOGOUT)):
        return "/"
    return rd


# Scheme, host, port and the rest of an absolute address that browsers read in only one way: a
# lower-case host, as in every address that Doorward makes, no user, no final dot.
_SITE = re.compile(
    r"(https?)://([a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*)"
    r"(?::[1-9][0-9]{0,4})?(/.*)?"
)


@dataclass(frozen=True, slots=True)
class ReturnAddresses:
    """Where a login or logout may lead. `hosts` are hosts other than the requested one, exact or
    `*.example.com`; without `allows_http`, only https leads to them."""

    hosts: Sequence[str] = ()
    allows_http: bool = False

    def check(self, rd: str | None) -> str:
        """`rd` if it is a path on this host, or an address on one of the hosts, otherwise `/`
        (CVE-2026-41569, CVE-2024-52289: never by the beginning or end of an address)."""
        if rd is None or rd.startswith("/"):
            return safe_return(rd)
        match = _SITE.fullmatch(rd)
        if match is None or not any(host_matches(one, match[2]) for one in self.hosts):
            return "/"
        if match[1] == "http" and not self.allows_http:
            return "/"
        path = match[3] or "/"
        return rd if path == "/" or safe_return(path) == path else "/"


def find_site(target: str) -> str:
    """The origin of an address, if it is not the origin of the page that shows it."""
    return "/".join(target.split("/", 3)[:3]) if _SITE.fullmatch(target) else ""


def referring_page(headers: Iterable[tuple[bytes, bytes]], host: str) -> str:
    """The page of this host that contained a form or frame, by its Referer; otherwise `/`.

    `host` is the requested authority in lower case (CVE-2024-21496: never a link to another host).
    """
    referer = next((value for name, value in headers if name == b"referer"), b"")
    try:
        came_from = urlsplit(referer.decode("latin-1"))
    except ValueError:
        return "/"
    if came_from.scheme not in ("http", "https") or came_from.netloc.lower() != host:
        return "/"
    return safe_return(came_from.path + (f"?{came_from.query}" if came_from.query else ""))


def page_bytes(target_bytes: int) -> int:
    """Maximum bytes of an internal page's target: it can contain any target of an application of at
    most `target_bytes`, each byte of which may take three when quoted."""
    return 3 * target_bytes + 64


def address(page: str, target: str) -> str:
    """The address of a page that leads to `target` afterwards."""
    return page if target == "/" else f"{page}?rd={quote(target, safe='/')}"
