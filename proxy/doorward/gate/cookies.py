"""The session cookie on the wire: its names, the lines that set and expire it, and taking it out.

Must not know what a token means or whether it is valid.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import structlog

_log = structlog.get_logger("doorward.gate")

COOKIE_NAMES = (b"__Host-doorward", b"doorward")

# "<43-character token>.<signature>": what a value of ours looks like, valid or not.
_OUR_FORM = re.compile(rb"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{20,128}")

# RFC 6265bis 5.6: user agents cut longer lives to 400 days.
MAX_AGE_LIMIT_S = 400 * 24 * 3600

# Longer Cookie lines are sorted each time, so that what is remembered stays within 4 MiB.
REMEMBERED_BYTES = 1024

Header = tuple[bytes, bytes]


def of_our_form(value: bytes) -> bool:
    """True for a value that only we could have set, whoever signed it. One quote alone is a slip
    of whoever sent it, and still not for an application."""
    return _OUR_FORM.fullmatch(value.strip(b'"')) is not None


def unquoted(value: bytes) -> bytes:
    """A cookie's value without the quotes that a client may put around it (RFC 6265 4.1.1)."""
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value


def pairs_of(line: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Each pair of a Cookie line as it stands, with its name and its value as they are read."""
    for pair in line.split(b";"):
        name, _, value = pair.partition(b"=")
        yield pair, name.strip(b" \t"), unquoted(value.strip(b" \t"))


def cookie_of(headers: Iterable[Header], name: str) -> str | None:
    """The value of a cookie of our pages; None where there is none, or two that differ."""
    wanted = name.encode()
    lines = [value for header, value in headers if header == b"cookie" and wanted in value]
    found = {value for line in lines for _, told, value in pairs_of(line) if told == wanted}
    return found.pop().decode("latin-1") if len(found) == 1 else None


@dataclass(slots=True)
class Crumbs:
    """What one request's Cookie lines hold: our values, and the lines without what is ours."""

    ours: tuple[bytes, ...]
    rest: tuple[bytes, ...]


_NONE = Crumbs((), ())


class Cookies:
    """The cookie as this deployment sets it; `same_site` is `lax`, `strict` or `none`.

    `name` is `__Host-doorward` where cookies are Secure, `doorward` on plain http.
    """

    __slots__ = ("_remembered", "name", "same_site", "secure")

    def __init__(self, secure: bool, same_site: str = "lax") -> None:
        self.secure = secure
        self.same_site = same_site
        self.name = COOKIE_NAMES[0] if secure else COOKIE_NAMES[1]
        # A browser repeats its line on every request; sorting it again costs 4 microseconds.
        self._remembered = lru_cache(maxsize=4096)(lambda line: self._taken([line]))

    def take(self, lines: list[bytes]) -> Crumbs:
        """Our cookie's values in these Cookie lines, and the lines to forward.

        Pairs of other names pass byte for byte. A pair that carries one of our names and a value
        of our form never passes, even under the name that this deployment does not use.
        """
        if not lines:
            return _NONE
        if len(lines) == 1 and len(lines[0]) <= REMEMBERED_BYTES:
            return self._remembered(lines[0])
        return self._taken(lines)

    def _taken(self, lines: list[bytes]) -> Crumbs:
        ours: list[bytes] = []
        rest: list[bytes] = []
        for line in lines:
            if b"doorward" not in line:
                rest.append(line)
            elif kept := self._without_ours(line, ours):
                rest.append(kept)
        return Crumbs(tuple(ours), tuple(rest))

    def _without_ours(self, line: bytes, ours: list[bytes]) -> bytes:
        kept = []
        for pair, name, value in pairs_of(line):
            if name == self.name:
                ours.append(value)
            if name not in COOKIE_NAMES or not of_our_form(value):
                kept.append(pair)
        return b";".join(kept).strip(b" \t")

    def set_line(self, value: str, max_age_s: float | None) -> Header:
        """The Set-Cookie line for a signed token; without an age it ends with the browser."""
        age = "" if max_age_s is None else f"; Max-Age={min(int(max_age_s), MAX_AGE_LIMIT_S)}"
        return b"set-cookie", self.name + f"={value}{age}".encode() + self._attributes(self.secure)

    def expire_lines(self, host: str = "") -> list[Header]:
        """Lines that end every variant a browser may hold, so that the next login is unambiguous.

        With `host`, also those that a sibling or an older set-up left on the domain or a parent
        of it. Only the plain name can carry a Domain (RFC 6265bis 4.1.3.2).
        """
        lines = [b"__Host-doorward=; Max-Age=0" + self._attributes(True)] if self.secure else []
        lines.append(b"doorward=; Max-Age=0" + self._attributes(self.secure))
        for domain in _domains(host):
            lines.append(
                b"doorward=; Max-Age=0; Domain=" + domain.encode() + self._attributes(self.secure)
            )
        return [(b"set-cookie", line) for line in lines]

    def _attributes(self, secure: bool) -> bytes:
        site = f"; Path=/; HttpOnly; SameSite={self.same_site.capitalize()}"
        return (site + ("; Secure" if secure else "")).encode()

    def sets_ours(self, line: bytes) -> bool:
        """True for an upstream's Set-Cookie value that would replace our cookie.

        Browsers keep `=name=x` as a cookie without a name, and send it as `name=x`.
        """
        pair = line.partition(b";")[0].lstrip(b" \t=")
        return pair.partition(b"=")[0].rstrip(b" \t") == self.name


# Whoever overwrites our cookie does so with every answer; one line a minute says it.
_SAY_AGAIN_S = 60.0


def logged(sets_ours: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """The same, telling the log of what is dropped: the name alone, a value could be a secret."""
    told_at = -_SAY_AGAIN_S

    def ask(line: bytes) -> bool:
        nonlocal told_at
        if not sets_ours(line):
            return False
        if (now := time.monotonic()) - told_at >= _SAY_AGAIN_S:
            told_at = now
            _log.warning("upstream_cookie_dropped", reason="it has the name of Doorward's own")
        return True

    return ask


def _domains(host: str) -> list[str]:
    """`a.b.example.com` and its parents of two labels and more; nothing for addresses."""
    name = host.rpartition(":")[0] if ":" in host else host
    labels = name.strip(".").split(".")
    if len(labels) < 2 or labels[-1].isdigit() or name.startswith("["):
        return []
    return [".".join(labels[at:]) for at in range(min(len(labels) - 1, 5))]
