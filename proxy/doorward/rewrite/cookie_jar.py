"""The cookies that an application sets for one session. They are kept here and never reach the
browser.

Knows lines of Cookie and Set-Cookie (RFC 6265); must not know whose session it is.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_to_bytes

from doorward.bounds import remove_oldest
from doorward.http1.headers import Header

# Browsers keep 50 cookies per host, of 4 KiB each; applications use a few. The oldest is removed.
COOKIES = 50
JAR_BYTES = 16 * 1024
# Names of cookies that the browser cannot send any more, even after the application has removed its
# own.
WITHHELD = 4 * COOKIES
_DATE_BYTES = 64

# Some applications also separate pairs with commas (RFC 2965), and ignore these bytes in names.
_SEPARATORS = re.compile(rb"[;,]")
_IGNORED = bytes((*range(0x20), 0x22, 0x7F))
_PHP = bytes.maketrans(b". ", b"__")


@dataclass(frozen=True, slots=True)
class _KeptCookie:
    value: bytes
    path: bytes


class CookieJar:
    """Grows no larger than its limits. Attributes other than Path, Max-Age and Expires are for
    browsers: cookies set over this connection are only sent over it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, bytes], _KeptCookie] = {}
        self._withheld: dict[bytes, None] = {}  # as `_fold` returns them

    @property
    def names(self) -> frozenset[bytes]:
        return frozenset(name for name, _ in self._kept)

    def take(self, line: bytes, now: float) -> None:
        """Store the cookie that a Set-Cookie sets, or remove the one that it expires."""
        pair, *attributes = line.split(b";")
        name, equals, value = pair.partition(b"=")
        name, value = name.strip(), value.strip()
        said = _read_attributes(attributes)
        path = said.get(b"path", b"/")
        path = path if path.startswith(b"/") else b"/"
        if not name or not equals or len(name) + len(value) + len(path) > JAR_BYTES:
            return
        self._withhold(_fold(name))
        self._kept.pop((name, path), None)
        if _is_over(said, now):
            return
        self._kept[name, path] = _KeptCookie(value, path)
        while len(self._kept) > COOKIES or self._bytes > JAR_BYTES:
            remove_oldest(self._kept)

    def take_all(self, headers: Iterable[Header], now: float) -> None:
        """Store the cookies that an answer's headers set."""
        for name, value in headers:
            if name.lower() == b"set-cookie":
                self.take(value, now)

    def succeed(self, earlier: "CookieJar") -> None:
        """Withhold the same names as the session's earlier jar."""
        for name in earlier._withheld:
            self._withhold(name)

    def _withhold(self, name: bytes) -> None:
        self._withheld.setdefault(name)
        while len(self._withheld) > WITHHELD or sum(map(len, self._withheld)) > JAR_BYTES:
            remove_oldest(self._withheld)

    @property
    def _bytes(self) -> int:
        return sum(
            len(name) + len(path) + len(one.value) for (name, path), one in self._kept.items()
        )

    def write(self, head: bytes) -> bytes:
        """A request's head with these cookies. The browser's pass if the application has never set
        any of that name, in a spelling that some application could take for it."""
        line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        path = line.split(b" ")[1].partition(b"?")[0]
        others = [each for each in lines if not each.startswith(b"cookie: ")]
        sent = [each[len(b"cookie: ") :] for each in lines if each.startswith(b"cookie: ")]
        pairs = [pair.strip() for each in sent for pair in each.split(b";")]
        kept = [pair for pair in pairs if pair and self._withheld.keys().isdisjoint(_names(pair))]
        kept += [
            b"%b=%b" % (name, one.value)
            for (name, _), one in self._kept.items()
            if _covers(one.path, path)
        ]
        if kept:
            others.append(b"cookie: " + b"; ".join(kept))
        return b"\r\n".join([line, *others]) + b"\r\n\r\n"


def _names(pair: bytes) -> Iterator[bytes]:
    """The names that applications may read in a pair of a Cookie line."""
    for part in _SEPARATORS.split(pair):
        yield _fold(part.strip(b"= \t").partition(b"=")[0])


def _fold(name: bytes) -> bytes:
    """The same for all spellings of a name. ASP.NET ignores case. PHP reads dots and spaces as
    underscores and ends a name at a bracket, and before 7.4.11 it decoded percent signs
    (CVE-2020-7070)."""
    plain = unquote_to_bytes(name).translate(None, _IGNORED).strip()
    return plain.partition(b"[")[0].translate(_PHP).lower()


def _read_attributes(attributes: list[bytes]) -> dict[bytes, bytes]:
    """For each name, the last attribute counts (RFC 6265 5.3)."""
    found = {}
    for attribute in attributes:
        name, _, value = attribute.partition(b"=")
        found[name.strip().lower()] = value.strip()
    return found


def _is_over(said: dict[bytes, bytes], now: float) -> bool:
    """Max-Age takes precedence over Expires (RFC 6265 5.3)."""
    age = said.get(b"max-age")
    if age is not None and age.removeprefix(b"-").isdigit():
        return age.startswith(b"-") or not age.strip(b"0")
    text = said.get(b"expires", b"")
    if not text or len(text) > _DATE_BYTES:
        return False
    try:
        return parsedate_to_datetime(text.decode("latin-1")).timestamp() <= now
    except (ValueError, OverflowError):
        return False


def _covers(cookie_path: bytes, path: bytes) -> bool:
    """RFC 6265 5.1.4."""
    if not path.startswith(cookie_path):
        return False
    return (
        len(path) == len(cookie_path)
        or cookie_path.endswith(b"/")
        or path[len(cookie_path) : len(cookie_path) + 1] == b"/"
    )
