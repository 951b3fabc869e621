"""Return addresses: where a user goes after a login, and how the pages carry that address.

Knows which addresses are on this very host, or on another that a login here holds for, and nowhere
else; must not know users.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from doorward import paths
from doorward.gate.rules import host_matches

# A path of this host and nothing that any browser reads as another host: one slash first, no
# backslash, no control byte or white space anywhere (CVE-2020-5233, CVE-2020-11053, CVE-2020-4037).
_SAFE_RETURN = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
# In the query of an internal page, in place of an address that is too long to be carried.
LOST = "lost"

# What a second decoding, or a dot segment, could turn into `//host`.
_MISREAD = re.compile(
    r"/(?:%25)*%(?:25)*(?:2f|5c|0[09ad])|(?:[^?]*/)?(?:\.|%2e){1,2}(?:[/?]|$)", re.I
)


def safe_return(rd: str | None) -> str:
    """Where to go after a login: `rd` when it is a path on this very host, otherwise `/`.

    Its length is bounded where requests are read, see `page_bytes`."""
    if rd is None or _SAFE_RETURN.fullmatch(rd) is None:
        return "/"
    if _MISREAD.match(rd) or rd.startswith((paths.LOGIN, paths.LOGOUT)):
        return "/"
    return rd


# Scheme, host, port and the rest of an absolute address that browsers read in one way only: names
# in lower case as they are in every address that Doorward makes, no user, no final dot.
_SITE = re.compile(
    r"(https?)://([a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*)"
    r"(?::[1-9][0-9]{0,4})?(/.*)?"
)


@dataclass(frozen=True, slots=True)
class ReturnAddresses:
    """Where a login or logout may lead. `hosts` are others than the one that is asked, exact or
    `*.example.com`; without `allows_http` they are reached by https alone."""

    hosts: Sequence[str] = ()
    allows_http: bool = False

    def check(self, rd: str | None) -> str:
        """`rd` when it is a path on this very host, or an address on one of the hosts, otherwise
        `/` (CVE-2026-41569, CVE-2024-52289: never by how an address begins or ends)."""
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
    """The origin that an address leads to, where it is another than the one that shows it."""
    return "/".join(target.split("/", 3)[:3]) if _SITE.fullmatch(target) else ""


def referring_page(headers: Iterable[tuple[bytes, bytes]], host: str) -> str:
    """The page of this host that a form or frame stood on, by its Referer; otherwise `/`.

    `host` is the authority that was asked, lower-case (CVE-2024-21496: never a link elsewhere).
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
    """Most bytes of the target of an internal page: it carries any target of an application's of at
    most `target_bytes`, each byte of which may take three when it is quoted."""
    return 3 * target_bytes + 64


def address(page: str, target: str) -> str:
    """The address of a page that leads on to `target`."""
    return page if target == "/" else f"{page}?rd={quote(target, safe='/')}"
