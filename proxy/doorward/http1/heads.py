"""The one reader of plain message heads: of clients' requests and of upstreams' answers.

It reads a complete head in one pass. The result is one object with everything that the gate,
`rewrite` and the connections need, and with the forwarded lines already joined. The reader is far
stricter than llhttp: if a head is incomplete, not plainly valid or unusual, it returns None, and
the caller lets llhttp read it. So it never rejects a message. Tests check that llhttp reads every
head that it accepts in the same way, with the compiled reader and with the one in Python.

`_heads.pyx` is the compiled reader and `_heads_py.py` the one in Python; `RUNS` says which is in
use. Must not know access rules. For answers, the caller's function decides what is done with a
name. See docs/decisions/013-two-head-readers.md.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doorward.header_names import (
    REPEATING_ANSWER_NAMES,
    REPEATING_REQUEST_NAMES,
    USUAL_ANSWER_NAMES,
    USUAL_REQUEST_NAMES,
)
from doorward.http1 import head_tables as tables
from doorward.http1.head_tables import Actions
from doorward.http1.headers import OWS, Header, HeaderAction, classify_header

SOURCE = Path(__file__).with_name("_heads.pyx")
PURE_PYTHON = "DOORWARD_PURE_PYTHON"


def _compiled() -> tuple[Any, str]:
    """The compiled module, or None and the reason. A module that was compiled from another version
    of the source is not used."""
    if os.environ.get(PURE_PYTHON, "") not in ("", "0"):
        return None, f"as {PURE_PYTHON} asks"
    try:
        from doorward.http1 import _heads
    except ImportError:
        return None, "the extension is not installed"
    if SOURCE.exists() and hashlib.sha256(SOURCE.read_bytes()).hexdigest() != _heads.DIGEST:
        return None, "the extension is of another version; install Doorward again"
    return _heads, ""


if TYPE_CHECKING:
    from doorward.http1 import _heads_py as reader

    REASON = ""
else:
    reader, REASON = _compiled()
    if reader is None:
        from doorward.http1 import _heads_py as reader

RUNS = "python" if REASON else "compiled"
DESCRIPTION = f"{RUNS} ({REASON})" if REASON else RUNS


def _lines(text: bytes) -> list[Header]:
    found = [line.partition(b":") for line in text.split(b"\r\n") if line]
    return [(name, value.strip(OWS)) for name, _, value in found]


def _find_line(text: bytes, name: bytes, after: int) -> int:
    """Where the next line with this name begins after an end of line; -1 if there is none."""
    at = text.find(b"\r\n" + name + b": ", after)
    return at if at < 0 else at + 2


class RequestHead(reader.RequestFields):
    """A client's request head, with the fields of `ParsedHeaders`, so that the gate accepts either.

    `text` is the head as it was received. `passing_text` has the lines that are forwarded, with
    names in lower case, each with its CRLF. The fields that only unusual requests need are always
    empty: llhttp reads those.
    """

    __slots__ = ()

    overrides: tuple[Header, ...] = ()
    targets: tuple[Header, ...] = ()
    announced: tuple[bytes, ...] = ()
    max_forwards: bytes | None = None
    expects = False

    @property
    def headers(self) -> list[Header]:
        """Every header with its name in lower case, built at each call."""
        lines = _lines(self.text.partition(b"\r\n")[2])
        return [(name.lower(), value) for name, value in lines]

    @property
    def passing(self) -> list[Header]:
        """The headers that are forwarded, built at each call."""
        return _lines(self.passing_text)

    @property
    def hosts(self) -> tuple[bytes, ...]:
        return (self.host,)

    def find_value(self, begin: bytes) -> bytes | None:
        """The value of a forwarded header. `begin` is an end of line, its name in lower case, a
        colon and a space. Only for names in `SINGLE`, which have at most one line."""
        text = self.passing_text
        if text.startswith(begin[2:]):
            return text[len(begin) - 2 : text.index(b"\r\n")]
        at = text.find(begin)
        if at < 0:
            return None
        at += len(begin)
        return text[at : text.index(b"\r\n", at)]

    def select(self, names: Iterable[bytes]) -> list[Header]:
        """The forwarded headers with these lower-case names. Lines of one name keep their order."""
        found: list[Header] = []
        text = self.passing_text
        for name in names:
            at = 0 if text.startswith(name + b": ") else _find_line(text, name, 0)
            while at >= 0:
                start, end = at + len(name) + 2, text.index(b"\r\n", at)
                found.append((name, text[start:end]))
                at = _find_line(text, name, end)
        return found

    @property
    def user_agent(self) -> bytes | None:
        return self.find_value(b"\r\nuser-agent: ")

    @property
    def origin(self) -> bytes | None:
        return self.find_value(b"\r\norigin: ")

    @property
    def sec_fetch_site(self) -> bytes | None:
        return self.find_value(b"\r\nsec-fetch-site: ")

    @property
    def sec_fetch_mode(self) -> bytes | None:
        return self.find_value(b"\r\nsec-fetch-mode: ")

    @property
    def sec_fetch_dest(self) -> bytes | None:
        return self.find_value(b"\r\nsec-fetch-dest: ")


class AnswerHead(reader.AnswerFields):
    """The head of an upstream's final answer.

    `text` is the head as it was received. `passing_text` has the lines that a client gets,
    unchanged, with Set-Cookie, whose values are also in `set_cookies`. `length` is -1 if no header
    states it; `kept` is the value of Keep-Alive. If the head was read as `private`, `passing_text`
    is without headers for shared caches and without Cache-Control, whose value is in
    `cache_control`.
    """

    __slots__ = ()

    binds = False  # the connection to one client; llhttp reads such heads

    @property
    def headers(self) -> list[Header]:
        """Every header as it was received, built at each call."""
        return _lines(self.text.partition(b"\r\n")[2])

    @property
    def without_expires(self) -> bytes:
        """`passing_text` without Expires."""
        return self.passing_text[: self.expires_at] + self.passing_text[self.expires_end :]


# Read by the gate. Two lines with one of these names would be ambiguous.
SINGLE = (
    b"user-agent",
    b"origin",
    b"referer",
    b"sec-fetch-site",
    b"sec-fetch-mode",
    b"sec-fetch-dest",
    b"content-type",
    b"x-requested-with",
)
# These control the connection, so llhttp and its caller have to see them.
_STEERING = frozenset((b"upgrade", b"proxy-connection"))

# Other headers that the gate treats specially are unusual: method overrides, second targets,
# Expect, Trailer and Max-Forwards.
_REQUEST_ACTIONS = {
    HeaderAction.PASS: tables.PASS,
    HeaderAction.DROP: tables.DROP,
    HeaderAction.HOST: tables.HOST,
    HeaderAction.COOKIE: tables.COOKIE,
    HeaderAction.AUTHORIZATION: tables.AUTHORIZATION,
    HeaderAction.CONNECTION: tables.CONNECTION,
    HeaderAction.CONTENT_LENGTH: tables.CONTENT_LENGTH,
    HeaderAction.TRANSFER_ENCODING: tables.TRANSFER_ENCODING,
    HeaderAction.TE: tables.TE,
    HeaderAction.FORWARDED: tables.FORWARDED,
    HeaderAction.FORWARDED_FOR: tables.FORWARDED_FOR,
    HeaderAction.FORWARDED_PROTO: tables.FORWARDED_PROTO,
    HeaderAction.FORWARDED_HOST: tables.FORWARDED_HOST,
    HeaderAction.FORWARDED_PORT: tables.FORWARDED_PORT,
    HeaderAction.FORWARDED_PREFIX: tables.FORWARDED_PREFIX,
    HeaderAction.REQUEST_ID: tables.REQUEST_ID,
    HeaderAction.PAIR: tables.PAIR,
}


def request_action(name: bytes) -> int:
    """What the reader does with a request header that has this lower-case name."""
    if name in _STEERING:
        return tables.UNUSUAL
    action = _REQUEST_ACTIONS.get(classify_header(name), tables.UNUSUAL)
    if action == tables.PASS and name in SINGLE:
        return tables.ONCE + SINGLE.index(name)
    return action


# Headers of an answer that the reader itself uses, whether or not the line is forwarded; and
# headers about the connection that it leaves to llhttp (see `upstream/framing.py`).
_ANSWER_FRAMING = {
    b"content-length": tables.CONTENT_LENGTH,
    b"transfer-encoding": tables.TRANSFER_ENCODING,
    b"connection": tables.CONNECTION,
    b"keep-alive": tables.KEEP_ALIVE,
    b"date": tables.DATE,
    b"expires": tables.EXPIRES,
    b"upgrade": tables.UNUSUAL,
    b"proxy-connection": tables.UNUSUAL,
    b"www-authenticate": tables.UNUSUAL,
    b"proxy-authenticate": tables.UNUSUAL,
    b"persistent-auth": tables.UNUSUAL,
}

# `read_request(data, start=0, head_bytes, target_bytes, lines)` returns the request head that is at
# `start` and len(text) bytes long, or None if llhttp has to read it. Limits, in bytes and lines,
# apply in addition to those in `head_tables`.
read_request = reader.RequestReader(
    Actions(request_action, USUAL_REQUEST_NAMES, REPEATING_REQUEST_NAMES), RequestHead
).read


def answer_reader(action_of: Callable[[bytes], int]) -> "reader.AnswerReader[AnswerHead]":
    """A reader of answers' heads. `action_of` returns PASS, DROP, SET_COOKIE, CACHE_CONTROL,
    SHARED_CACHES or UNUSUAL for a lower-case name (see `head_tables`). It is not called for framing
    headers.

    `read(data, start=0, private, head_bytes, lines)` returns the head that begins at `start`, or
    None if llhttp has to read it, as for 1xx and statuses above 599.
    """

    def action(name: bytes) -> int:
        framing = _ANSWER_FRAMING.get(name)
        return action_of(name) if framing is None else framing

    actions = Actions(action, USUAL_ANSWER_NAMES, REPEATING_ANSWER_NAMES)
    return reader.AnswerReader(actions, AnswerHead)
