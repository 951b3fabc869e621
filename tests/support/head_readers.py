"""Three readers of one message head: the compiled one, the one in Python, and llhttp with `scan`.

The third reads the heads that the other two do not accept. `Heads` contains each of the first two
as a module.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import httptools
from doorward.http1 import head_tables, heads
from doorward.http1.head_tables import is_usual_target
from doorward.http1.headers import BadHeaders, Header, ParsedHeaders, parse_headers
from doorward.http1.response_head import ResponseHead
from doorward.rewrite import answer_headers as answers
from doorward.rewrite.answer_headers import AnswerAction, answer_headers
from doorward.rewrite.caching import private_control
from doorward.upstream.failures import InvalidAnswer
from doorward.upstream.framing import body_length, read_terms

# Values from which `server/request_parser.py` strips final spaces, because llhttp keeps them.
SPECIAL = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")

_ANSWER_ACTIONS = {
    AnswerAction.PASS: head_tables.PASS,
    AnswerAction.DROP: head_tables.DROP,
    AnswerAction.CONNECTION: head_tables.UNUSUAL,  # the reader itself knows it
    AnswerAction.SET_COOKIE: head_tables.SET_COOKIE,
    AnswerAction.CACHE_CONTROL: head_tables.CACHE_CONTROL,
    AnswerAction.SHARED_CACHES: head_tables.SHARED_CACHES,
}


def answer_action(name: bytes) -> int:
    """The reader's action for an answer's header, according to `rewrite/answer_headers.py`."""
    return _ANSWER_ACTIONS[answers._remember_action(name)]


@dataclass(frozen=True)
class Heads:
    """`heads.py` with one of its readers."""

    module: ModuleType
    read_request: Any
    read_answer: Any

    @classmethod
    def of(cls, runs: str) -> Heads:
        """Load the module again, so that it chooses this reader."""
        before = os.environ.get(heads.PURE_PYTHON)
        os.environ[heads.PURE_PYTHON] = "1" if runs == "python" else "0"
        try:
            spec = importlib.util.spec_from_file_location(f"heads_{runs}", heads.__file__)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        finally:
            if before is None:
                del os.environ[heads.PURE_PYTHON]
            else:
                os.environ[heads.PURE_PYTHON] = before
        return cls(module, module.read_request, module.answer_reader(answer_action).read)

    @property
    def runs(self) -> str:
        return str(self.module.RUNS)


class _Noted:
    """Callbacks that record llhttp's results. It clears flags at the end of the message."""

    def __init__(self, kind: Any) -> None:
        self.parser = kind(self)
        self.keep_alive = self.upgrade = False
        self.url = b""
        self.headers: list[Header] = []
        self.heads = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.heads += 1
        self.keep_alive = self.parser.should_keep_alive()
        self.upgrade = self.parser.should_upgrade()


class _NotedRequest(_Noted):
    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value.rstrip(b" \t") if name in SPECIAL else value))


def _fed(noted: _Noted, text: bytes) -> bool:
    """Feed a head. Whether llhttp accepts it, and finds its end at the last byte."""
    try:
        noted.parser.feed_data(text[:-1])
        if noted.heads > 0:
            return False
        noted.parser.feed_data(text[-1:])
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    return noted.heads == 1 and noted.parser.get_http_version() == "1.1"


def request_by_llhttp(text: bytes) -> dict[str, Any] | None:
    """The result of llhttp and `scan`, with the fields of `RequestHead`; None if it is refused."""
    noted = _NotedRequest(httptools.HttpRequestParser)
    if not _fed(noted, text) or noted.upgrade:
        return None
    try:
        found: ParsedHeaders = parse_headers(noted.headers)
    except BadHeaders:
        return None
    return {
        "method": noted.parser.get_method(),
        "target": noted.url,
        "path": noted.url.partition(b"?")[0],
        "has_usual_target": is_usual_target(noted.url),
        "keep_alive": noted.keep_alive,
        "text": text,
        "headers": noted.headers,
        "passing_text": b"".join(b"%b: %b\r\n" % line for line in found.passing),
        **{name: _same(getattr(found, name)) for name in SCANNED},
    }


SCANNED = (
    "passing", "overrides", "hosts", "cookies", "authorizations", "pairs", "targets", "forwarded",
    "forwarded_for", "forwarded_proto", "forwarded_host", "forwarded_port", "forwarded_prefix",
    "request_id", "content_length", "chunked", "expects", "trailers", "announced", "max_forwards",
    "has_body",
)  # fmt: skip
REQUEST = (
    "method", "target", "path", "has_usual_target", "keep_alive", "text", "headers", "passing_text",
    *SCANNED,
)  # fmt: skip


def _same(value: Any) -> Any:
    """Whether values are equal, without distinguishing lists from tuples."""
    return tuple(value) if isinstance(value, list) else value


def said_of_request(head: Any) -> dict[str, Any]:
    said = {name: getattr(head, name) for name in REQUEST}
    return {**said, **{name: _same(said[name]) for name in SCANNED}}


def answer_by_llhttp(text: bytes, private: bool) -> dict[str, Any] | None:
    """The result of llhttp, `upstream` and `rewrite`; None if it is refused."""
    noted = _Noted(httptools.HttpResponseParser)
    if not _fed(noted, text):
        return None
    status = noted.parser.get_status_code()
    try:
        length, _ = body_length(noted.headers)
    except InvalidAnswer:
        return None
    kept = answer_headers(noted.headers, lambda cookie: False, private)
    prepared = ResponseHead(status, kept)
    codings = [value for name, value in noted.headers if name.lower() == b"transfer-encoding"]
    return {
        "status": status,
        "keep_alive": noted.keep_alive,
        "length": length,
        "chunked": bool(codings),
        "text": text,
        "headers": noted.headers,
        "set_cookies": tuple(value for name, value in kept if name.lower() == b"set-cookie"),
        "is_dated": prepared.is_dated,
        "terms": read_terms(noted.headers),
        "sent": prepared.text.partition(b"\r\n")[2],
    }


def said_of_answer(head: Any, private: bool) -> dict[str, Any]:
    plain = ("status", "keep_alive", "length", "chunked", "text", "headers", "set_cookies")
    kept = [] if head.kept is None else [(b"keep-alive", head.kept)]
    return {
        **{name: getattr(head, name) for name in (*plain, "is_dated")},
        "terms": read_terms(kept),
        "sent": sent_of(head, private),
    }


def sent_of(head: Any, private: bool) -> bytes:
    """The header lines that a client gets, if no cookie of the answer has Doorward's name."""
    if not private:
        return bytes(head.passing_text)
    control, without_expires = private_control(head.cache_control or b"")
    text = head.without_expires if without_expires else head.passing_text
    return b"%bcache-control: %b\r\n" % (text, control)


def both() -> Iterator[Heads]:
    """The available readers: without a compiler, only the one in Python."""
    found = [Heads.of("python"), Heads.of("compiled")]
    return iter({one.runs: one for one in found}.values())
