"""The cookies that an application sets for one session. They are kept here and never reach the
browser.

Knows lines of Cookie and Set-Cookie (RFC 6265); must not know whose session it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from doorward.http1.headers import Header

# Browsers keep 50 of a host, of 4 KiB each; applications use a handful. The oldest goes.
COOKIES = 50
JAR_BYTES = 16 * 1024
_DATE_BYTES = 64


@dataclass(frozen=True, slots=True)
class _KeptCookie:
    value: bytes
    path: bytes


class CookieJar:
    """Grows no larger than its limits. Attributes other than Path, Max-Age and Expires are for
    browsers: whatever the application sets over this connection is sent over it only."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, bytes], _KeptCookie] = {}

    @property
    def names(self) -> frozenset[bytes]:
        return frozenset(name for name, _ in self._kept)

    def take(self, line: bytes, now: float) -> None:
        """Store what a Set-Cookie sets, or forget what it expires."""
        pair, *attributes = line.split(b";")
        name, equals, value = pair.partition(b"=")
        name, value = name.strip(), value.strip()
        if not name or not equals or len(name) + len(value) > JAR_BYTES:
            return
        said = _read_attributes(attributes)
        path = said.get(b"path", b"/")
        path = path if path.startswith(b"/") else b"/"
        self._kept.pop((name, path), None)
        if _is_over(said, now):
            return
        self._kept[name, path] = _KeptCookie(value, path)
        while len(self._kept) > COOKIES or self._bytes > JAR_BYTES:
            del self._kept[next(iter(self._kept))]

    def take_all(self, headers: Iterable[Header], now: float) -> None:
        """Store what an answer's headers set."""
        for name, value in headers:
            if name.lower() == b"set-cookie":
                self.take(value, now)

    @property
    def _bytes(self) -> int:
        return sum(len(name) + len(one.value) for (name, _), one in self._kept.items())

    def write(self, head: bytes) -> bytes:
        """A request's head with these cookies in place of the browser's with the same names."""
        line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        path = line.split(b" ")[1].partition(b"?")[0]
        others = [each for each in lines if not each.startswith(b"cookie: ")]
        sent = [each[len(b"cookie: ") :] for each in lines if each.startswith(b"cookie: ")]
        names = self.names
        pairs = [pair.strip() for each in sent for pair in each.split(b";")]
        kept = [pair for pair in pairs if pair and pair.partition(b"=")[0].strip() not in names]
        kept += [
            b"%b=%b" % (name, one.value)
            for (name, _), one in self._kept.items()
            if _covers(one.path, path)
        ]
        if kept:
            others.append(b"cookie: " + b"; ".join(kept))
        return b"\r\n".join([line, *others]) + b"\r\n\r\n"


def _read_attributes(attributes: list[bytes]) -> dict[bytes, bytes]:
    """The last of each name counts (RFC 6265 5.3)."""
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
