"""The session cookie in headers: its names, the lines that set and expire it, and removing it from
requests.

Must not know what a token means or whether it is valid. See docs/decisions/012-cookie-names.md.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from doorward.settings import Settings

_log = structlog.get_logger("doorward.gate")

DEFAULT_NAME = "doorward"
_ANY = DEFAULT_NAME.encode()  # part of the name of every instance's cookie that has no other name
# RFC 6265bis 4.1.3, and the prefixes of its later drafts; browsers ignore their case.
_PREFIXES = rb"(?:__(?:host-http|host|secure|http)-)*"

# "<43-character token>.<signature>": the form of Doorward's values, valid or not.
_OUR_FORM = re.compile(rb"[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{20,128}")

# RFC 6265bis 5.6: browsers limit lifetimes to 400 days.
MAX_AGE_LIMIT_S = 400 * 24 * 3600

# Characters of a cookie's name that some readers ignore: controls, white space, quotes.
_IGNORED = bytes((*range(0x21), 0x22, 0x7F))

Header = tuple[bytes, bytes]


def has_our_form(value: bytes) -> bool:
    """Whether only Doorward can have set this value, whichever key signed it. A value with one
    quote is a client's error, but must not reach an application either."""
    return _OUR_FORM.fullmatch(value.strip(b'"')) is not None


def strip_quotes(value: bytes) -> bytes:
    """A cookie's value without the quotes that a client may add (RFC 6265 4.1.1)."""
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value


def iterate_pairs(line: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Each pair of a Cookie line unchanged, with its parsed name and value."""
    for pair in line.split(b";"):
        name, _, value = pair.partition(b"=")
        yield pair, name.strip(b" \t"), strip_quotes(value.strip(b" \t"))


def read_cookie(headers: Iterable[Header], name: str) -> str | None:
    """The value of a cookie of Doorward's pages; None if there is none, or if two differ."""
    wanted = name.encode()
    lines = [value for header, value in headers if header == b"cookie" and wanted in value]
    found = {
        value
        for line in lines
        for _, found_name, value in iterate_pairs(line)
        if found_name == wanted
    }
    return found.pop().decode("latin-1") if len(found) == 1 else None


def host_cookie(name: str, value: str, *, same_site: str, secure: bool) -> Header:
    """The Set-Cookie line of a cookie for one host only, as __Host- requires. `value` may be
    followed by more attributes; without `same_site`, the browser's default applies."""
    line = f"{name}={value}; Path=/; HttpOnly"
    line += f"; SameSite={same_site}" if same_site else ""
    return b"set-cookie", (line + ("; Secure" if secure else "")).encode()


KNOWN = "known"  # the companion cookie that marks a known browser; see `companion_name`


# The content of one request's Cookie lines: Doorward's values, and the lines without them.
SplitCookies = tuple[tuple[bytes, ...], tuple[bytes, ...]]
NO_COOKIES: SplitCookies = ((), ())


@dataclass(slots=True)
class NamedValues:
    """The values under the instance's own name, and under the default name if that is different."""

    own: tuple[bytes, ...]
    default: tuple[bytes, ...]


class Cookies:
    """The cookie as configured; `same_site` is `lax`, `strict` or `none`.

    `own` is its name, with `__Host-` in front if cookies are Secure. If a request has no cookie of
    that name, the default name counts. `name` is the one that is set: `own`, or with
    `prefers_default` the default name until another instance uses that. With `domain`, the cookie
    is sent to every host of the domain. `__Host-` does not allow that, so its prefix is then
    `__Secure-`.
    """

    __slots__ = (
        "_default",
        "_has_any_mark",
        "_mark",
        "_may_begin",
        "_of_any",
        "_reserved",
        "_usual",
        "domain",
        "host_name",
        "name",
        "own",
        "same_site",
        "secure",
    )

    def __init__(
        self,
        secure: bool,
        same_site: str = "lax",
        name: str = DEFAULT_NAME,
        *,
        prefers_default: bool = False,
        domain: str | None = None,
    ) -> None:
        self.secure = secure
        self.same_site = same_site
        self.domain = domain
        prefix = "" if not secure else "__Host-" if domain is None else "__Secure-"
        self.own = (prefix + name).encode()
        self._default = (prefix + DEFAULT_NAME).encode()
        self.name = self._default if prefers_default else self.own
        # The cookie of sessions that were handed over from another root domain.
        self.host_name = f"{'__Host-' if secure else ''}{name}-host"
        self._mark = name.encode()  # in every line that has a cookie with this name
        self._has_any_mark = _ANY in self._mark
        names = b"|".join(re.escape(each) for each in {self.own, self._default})
        self._usual = re.compile(
            rb"[ \t]*(?:%b)[ \t]*=(%b)(?=;|\Z)" % (names, _OUR_FORM.pattern)
        ).match
        plain = re.escape(self._mark)
        # Browsers send cookies to every port of a host, so other instances' cookies arrive too and
        # must not reach an application.
        self._of_any = re.compile(
            rb"(?:__Host-|__Secure-)?(?:doorward(?:-[0-9]{1,5})?|"
            + plain
            + rb")(?:-host|(-known|-handover))?"
        )
        self._reserved = re.compile(
            _PREFIXES + rb"(?:doorward(?:-.*)?|" + plain + rb"(?:-(?:browser|host|known))?)",
            re.IGNORECASE,
        )
        # The first byte distinguishes nearly every other cookie from Doorward's.
        begins = b"_=" + _ANY[:1] + self._mark[:1] + _IGNORED
        self._may_begin = frozenset(
            bytes((byte,)) for byte in b"".join((begins, begins.lower(), begins.upper()))
        )

    def take(self, lines: Sequence[bytes]) -> SplitCookies:
        """The values of Doorward's cookie in these Cookie lines, and the lines to forward.

        Pairs with other names are forwarded byte for byte. A pair with a name that any Doorward
        instance uses and a value in Doorward's form is never forwarded.
        """
        if len(lines) == 1 and (found := self._take_usual(lines[0])) is not None:
            return found
        return self._take_any(lines)

    def _take_any(self, lines: Sequence[bytes]) -> SplitCookies:
        own: list[bytes] = []
        default: list[bytes] = []
        rest: list[bytes] = []
        for line in lines:
            if _ANY in line or self._mark in line:
                line = self._without_ours(line, own, default)
            if line:
                rest.append(line)
        return tuple(own or default), tuple(rest)

    def _take_usual(self, line: bytes) -> SplitCookies | None:
        """The same for the line that nearly every browser sends: Doorward's cookie once or not at
        all. None for any other line. Takes half as long as the general way."""
        if not self._has_any_mark:
            return None  # a configured name has no fixed part to search for
        at = line.find(_ANY)
        if at < 0:
            return ((), (line,)) if line else None
        if line.find(_ANY, at + 1) >= 0:
            return None
        start = line.rfind(b";", 0, at) + 1
        found = self._usual(line, start)
        if found is None:
            return None
        end = found.end()
        rest = line[: start - 1] + line[end:] if start else line[end + 1 :]
        rest = rest.strip(b" \t")
        return ((found[1],), (rest,) if rest else ())

    def _without_ours(self, line: bytes, own: list[bytes], default: list[bytes]) -> bytes:
        kept = []
        for pair, name, value in iterate_pairs(line):
            if name == self.own:
                own.append(value)
            elif name == self._default:
                default.append(value)
            ours = self._of_any.fullmatch(name)
            if ours is None or not (ours[1] or has_our_form(value)):
                kept.append(pair)
        return b";".join(kept).strip(b" \t")

    def held(self, lines: Sequence[bytes]) -> NamedValues:
        """The values that the browser sent under each of the two names."""
        own: list[bytes] = []
        default: list[bytes] = []
        for line in lines:
            self._without_ours(line, own, default)
        return NamedValues(tuple(own), tuple(default))

    def set_line(self, value: str, max_age_s: float | None, *, to_own: bool = False) -> Header:
        """The Set-Cookie line for a signed token. Without an age, the cookie lasts until the
        browser closes.

        `to_own`: the browser has a cookie under the instance's own name, which takes precedence
        over the default one, or another instance's under the default name.
        """
        age = "" if max_age_s is None else f"; Max-Age={min(int(max_age_s), MAX_AGE_LIMIT_S)}"
        name = self.own if to_own else self.name
        domain = "" if self.domain is None else f"; Domain={self.domain}"
        line = f"={value}{age}{domain}".encode()
        return b"set-cookie", name + line + self._attributes(self.secure)

    def expire_lines(self, host: str = "", *, of_default: bool = True) -> list[Header]:
        """Lines that expire every variant that a browser may have, so that the next login is
        unambiguous.

        With `host`, also those that a sibling host or an older configuration set for the domain or
        a parent of it. Only the plain name can have a Domain (RFC 6265bis 4.1.3.2). Without
        `of_default`, the default name is not expired, because it may belong to another instance.
        """
        names = list(dict.fromkeys((self._default, self.own))) if of_default else [self.own]
        names = [_plain(name) for name in names]
        lines = []
        if self.secure:
            lines = [self._end(b"__Host-" + name, None, True) for name in names]
        if self.secure and self.domain is not None:
            for name in names:
                lines.append(self._end(b"__Secure-" + name, None, True))
                lines.append(self._end(b"__Secure-" + name, self.domain, True))
        for name in names:
            lines.append(self._end(name, None, self.secure))
            lines += [self._end(name, domain, self.secure) for domain in list_domains(host)]
        return [(b"set-cookie", line) for line in lines]

    def _end(self, name: bytes, domain: str | None, secure: bool) -> bytes:
        """The Set-Cookie value that expires one variant."""
        within = b"" if domain is None else b"; Domain=" + domain.encode()
        return name + b"=; Max-Age=0" + within + self._attributes(secure)

    def clearing_lines(self, lines: Sequence[bytes], host: str) -> list[Header]:
        """Lines that expire cookies that came more than once. If the own name is there too, the
        default name may be another instance's and is not expired."""
        return self.expire_lines(host, of_default=not self.held(lines).own)

    def companion_name(self, what: str) -> str:
        """The name of another cookie of Doorward, for its own paths only: `doorward-browser`."""
        name = _plain(self.own).decode()
        return f"{'__Secure-' if self.secure else ''}{name}-{what}"

    def _attributes(self, secure: bool) -> bytes:
        site = f"; Path=/; HttpOnly; SameSite={self.same_site.capitalize()}"
        return (site + ("; Secure" if secure else "")).encode()

    def sets_ours(self, line: bytes) -> bool:
        """Whether an upstream's Set-Cookie value could replace a cookie of any Doorward.

        Browsers store `=name=x` as a cookie without a name, and send it as `name=x`. Some servers
        ignore quotes, white space and case when they read it.
        """
        if line[:1] not in self._may_begin:
            return False
        pair = line.partition(b";")[0].translate(None, _IGNORED).lstrip(b"=")
        return self._reserved.fullmatch(pair.partition(b"=")[0]) is not None


def build_cookies(settings: Settings) -> Cookies:
    """The cookie as configured in these settings."""
    return Cookies(
        settings.secure_cookies,
        settings.sessions.cookie.same_site,
        settings.cookie_name,
        prefers_default=settings.prefers_default_cookie,
        domain=settings.sessions.cookie.domain,
    )


# An application that overwrites the cookie does so with every answer, so one line a minute is
# logged.
_SAY_AGAIN_S = 60.0


def log_drops(sets_ours: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """The same, with a log line for each dropped cookie. It contains only the name, because a value
    could be a secret."""
    told_at = -_SAY_AGAIN_S

    def ask(line: bytes) -> bool:
        nonlocal told_at
        if not sets_ours(line):
            return False
        if (now := time.monotonic()) - told_at >= _SAY_AGAIN_S:
            told_at = now
            _log.warning("upstream_cookie_dropped", reason="it has the name of Doorward's cookie")
        return True

    return ask


def _plain(name: bytes) -> bytes:
    """One of Doorward's names without the prefix of a secure cookie."""
    return name.removeprefix(b"__Host-").removeprefix(b"__Secure-")


def list_domains(host: str) -> list[str]:
    """`a.b.example.com` and its parents with at least two labels; nothing for addresses."""
    name = host.rpartition(":")[0] if ":" in host else host
    labels = name.strip(".").split(".")
    if len(labels) < 2 or labels[-1].isdigit() or name.startswith("["):
        return []
    return [".".join(labels[at:]) for at in range(min(len(labels) - 1, 5))]
