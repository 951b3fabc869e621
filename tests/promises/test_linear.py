"""Every reader of foreign bytes takes time proportional to their number, up to its limit.

Each parser is fed adversarial input at its limit and at half of it. Patterns are found in the
modules themselves, so that a new one is tested without being named here.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import inspect
import json
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_network
from types import ModuleType, SimpleNamespace
from typing import Any

import doorward
import pytest
from doorward import text
from doorward.accounts import devices
from doorward.accounts.factors import emailed, recovery, totp
from doorward.accounts.keys import Keys
from doorward.accounts.names import parse_handle
from doorward.accounts.passwords import hashing
from doorward.accounts.refusals import Refusal
from doorward.accounts.sessions.access_token import HEADER
from doorward.accounts.sessions.access_tokens import AccessTokens
from doorward.accounts.tokens.form import read_text
from doorward.accounts.tokens.scopes import parse_route
from doorward.dialects import context, fields
from doorward.dialects.alekeagle.names import session_name
from doorward.directories.formats import FormatFault
from doorward.directories.htpasswd import read_htpasswd
from doorward.directories.tinyauth import read_tinyauth
from doorward.gate.accept import Accept
from doorward.gate.access_tokens import AccessCarrier
from doorward.gate.client_kind import detect_client_kind
from doorward.gate.cookies import Cookies, read_cookie
from doorward.gate.forwarded import BadForwarded, read_forwarded
from doorward.gate.targets import LastHop, Unfit, origin_form
from doorward.gate.tokens import read_authorization, take_api_key
from doorward.http1 import headers as gate_headers
from doorward.http1.head_tables import is_usual_target
from doorward.http1.headers import BadHeaders, parse_headers, select_trailers
from doorward.http1.turns import Turns
from doorward.pages import languages
from doorward.path_readings import BadPath, find_other_reading, list_readings
from doorward.rewrite.added_headers import build_added_headers
from doorward.rewrite.answer_headers import answer_headers
from doorward.rewrite.form_page import PAGE_BYTES
from doorward.rewrite.html_forms import TAGS_LIMIT, TooManyTags, read_page
from doorward.rewrite.relocation import build_relocation
from doorward.server.proxy_protocol import BadHeader, read_line
from doorward.server.tunnel import asked_protocols
from doorward.server.websocket_frames import FrameReader
from doorward.settings import settings_from
from doorward.upstream.framing import read_keep_alive, read_terms
from doorward.web import forms, return_address
from starlette.requests import Request

from tests.support.exchanges import Reader
from tests.support.front import arrival
from tests.support.head_readers import Heads, both

HEAD = 64 * 1024  # bytes; `limits.header_bytes` is less
BODY = 64 * 1024
SANE_S = 0.5  # CPU time allowed for any reader at its limit
NOTICED_S = 0.01  # a reader that takes less at its limit is not compared
GROWTH = 3.4  # twice the input; four times would be quadratic
# How often each is run. The minimum counts, because other work on the machine only adds. A reader
# that seems to grow too fast is measured again, more often.
RUNS = (1, 3, 15)

REFUSALS = (
    Refusal, BadForwarded, BadHeaders, BadPath, BadHeader, Unfit, LastHop, FormatFault,
    context.Malformed, forms.UnreadableForm, forms.NotAForm, text.UnfitText, ValueError,
    TooManyTags,
)  # fmt: skip

# Pieces that are repeated, with `a` or `b` around them.
PIECES = [
    " ", "\t", ",", ";", "; ", ", ", "=", "a=", "a=;", '"', 'a="', '\\"', "\\", "/", "//", "/.",
    "%", "%25", "%2", "&", "a&", "token=&", "0", "1.", "-", ":", "[", "]", "{", "a", "aA", "é",
    "\u0315\u0300", "\ufdfa", "$", "@", "a@", "'", "for=a,", "for=", "url=", "q=,", "\u200b",
    "Android ", "Mobile/a ", "Version/1 ", "Chrome/1", "; wv) ", "iPhone ", "Trident/ ", "rv:",
]  # fmt: skip
AROUND = [("", ""), ("a", "b"), ("0;url=a", "b"), ('a="', "x"), ("bearer ", " x"), ("//a", " ")]


def cost_s(run: Callable[[Any], object], given: Any, runs: int) -> float:
    """The minimum CPU time of the call."""
    least = float("inf")
    for _ in range(runs):
        started = time.process_time()
        with contextlib.suppress(*REFUSALS):
            run(given)
        least = min(least, time.process_time() - started)
    return least


def is_linear(run: Callable[[Any], object], shape: Callable[[int], Any], limit: int) -> None:
    whole = half = 0.0
    for runs in RUNS:
        whole = cost_s(run, shape(limit), runs)
        if whole < NOTICED_S:
            return
        half = cost_s(run, shape(limit // 2), runs)
        if whole < SANE_S and whole < GROWTH * half + NOTICED_S:
            return
    raise AssertionError(f"{half:.4f} s for half, {whole:.4f} s for all of it")


def shapes() -> Iterator[tuple[str, Callable[[int], str]]]:
    for before, after in AROUND:
        for piece in PIECES:
            yield f"{before}{piece}…{after}", repeated(before, piece, after)


def encoded(of: Callable[[int], str], size: int) -> bytes:
    return of(size).encode()


def cut_text(of: Callable[[int], str], size: int) -> str:
    return of(size)[:size]


def cut_octets(of: Callable[[int], str], size: int) -> bytes:
    return octets(of(size))[:size]


def repeated(before: str, piece: str, after: str) -> Callable[[int], str]:
    return lambda size: before + piece * (size // len(piece)) + after


def octets(told: str) -> bytes:
    return told.encode("utf-8", "surrogatepass")


# Parsers, each with its limit


def by_authorization(value: bytes) -> object:
    return [read_authorization(scheme + value) for scheme in (b"bearer ", b"basic ", b"")]


def by_header(name: bytes) -> Callable[[bytes], object]:
    accept = Accept((ip_network("10.0.0.0/8"),), lambda host: True)
    cookies = Cookies(secure=False)

    def read(value: bytes) -> object:
        lines = [(name, value)] if name == b"host" else [(b"host", b"a"), (name, value)]
        select_trailers(lines)
        cookies.take([value] if name == b"cookie" else [])
        read_cookie(lines, "doorward-kept")
        detect_client_kind("GET", lines)
        asked_protocols(lines)
        parse_headers(lines)
        return accept(arrival(headers=lines, peer="10.0.0.1"))

    return read


def by_answer_header(name: bytes) -> Callable[[bytes], object]:
    route = {
        "path": "/wiki",
        "upstream": "http://127.0.0.1:9",
        "rewrite": {"strip_path": True, "answers": True},
        "cookies": {"http_only": True},
    }
    relocate = build_relocation(settings_from({"routes": [route]}).routes[0])
    request = Accept((), lambda host: True)(arrival())
    cookies = Cookies(secure=False)
    assert relocate is not None

    def read(value: bytes) -> object:
        return relocate(answer_headers([(name, value)], cookies.sets_ours, True), request)

    return read


ADDED = build_added_headers(
    settings_from(
        {
            "routes": [
                {
                    "upstream": "http://127.0.0.1:9",
                    "security_headers": {"frame": "deny", "csp": "default-src 'self'"},
                }
            ]
        }
    ).routes[0]
)


def by_added_header(value: bytes) -> object:
    assert ADDED is not None
    return ADDED.missing([(b"content-security-policy", value)], 200, secure=True)


def by_frames(stream: bytes) -> object:
    """Feed frames at once, and a few bytes at a time."""
    whole, pieces, taken = FrameReader(), FrameReader(), 0
    while taken < len(stream):
        taken += whole.read(stream[taken:])
    for at in range(0, len(stream), 3):
        pieces.read(stream[at : at + 3])
    return whole.is_between


def by_access(value: bytes) -> object:
    """As a query, and after a token in a header that contains an address."""
    tokens: Any = SimpleNamespace(tokens=AccessTokens(Keys((b"k" * 32,))))
    nobody: Any = None
    carrier = AccessCarrier(nobody, tokens)
    repeated = b"referer: /?token=" + HEADER + b"&" + value
    return carrier.take(b"/?" + value), carrier.take_repeated(repeated)


# The places in a head for bytes of a client or an upstream.
PLACES: dict[str, Callable[[bytes], bytes]] = {
    "all": lambda value: value,
    "target": lambda value: b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % value,
    "name": lambda value: b"GET / HTTP/1.1\r\nHost: a\r\n%b: b\r\n\r\n" % value,
    "value": lambda value: b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % value,
    "behind": lambda value: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + value,
    "unended": lambda value: b"GET / HTTP/1.1\r\nHost: " + value,
    "reason": lambda value: b"HTTP/1.1 200 %b\r\n\r\n" % value,
    "answer's value": lambda value: b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % value,
    # Many lines, many unknown names, and cookies that are collected one by one.
    "lines": lambda value: b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"a:\r\n" * (len(value) // 4)),
    "names": lambda value: b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % numbered(b"x-%d:\r\n", value),
    "cookies": lambda value: (
        b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % numbered(b"cookie:%d\r\n", value)
    ),
    "answer's lines": lambda value: (
        b"HTTP/1.1 200 OK\r\n%b\r\n" % numbered(b"cache-control:%d\r\n", value)
    ),
}


def numbered(line: bytes, value: bytes) -> bytes:
    return b"".join(line % number for number in range(len(value) // (len(line) + 2)))


def by_head(heads: Heads, place: str) -> Callable[[bytes], object]:
    """The head readers at their limits, and fields that are read from a head later."""

    def read(value: bytes) -> object:
        data = PLACES[place](value)
        request = heads.read_request(data, 0, 1 << 30, 1 << 30, 1 << 30)
        answer = heads.read_answer(data, 0, True, 1 << 30, 1 << 30)
        if request is not None:
            return request.headers, request.passing, request.user_agent
        return None if answer is None else (answer.headers, answer.without_expires)

    return read


def by_form(kind: str) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
        return asyncio.run(fields.read_fields(Request(scope, receive)))

    return read


REQUEST_HEADERS = sorted(
    {*gate_headers._READ, *gate_headers._PAIR, b"upgrade", b"accept", b"sec-fetch-mode", b"x-a"}
)
ANSWER_HEADERS = [
    b"location", b"content-location", b"refresh", b"set-cookie", b"connection", b"cache-control",
    b"trailer",
]  # fmt: skip
BYTES: dict[str, tuple[Callable[[bytes], object], int]] = {
    **{f"request {name.decode()}": (by_header(name), HEAD) for name in REQUEST_HEADERS},
    **{f"answer {name.decode()}": (by_answer_header(name), 4 * HEAD) for name in ANSWER_HEADERS},
    **{
        f"heads, {heads.runs}: {place}": (by_head(heads, place), HEAD)
        for heads in both()
        for place in PLACES
    },
    "read_forwarded": (lambda value: read_forwarded([value]), HEAD),
    "path": (lambda value: list_readings(b"/" + value), 8192),
    "find_other_reading": (lambda value: find_other_reading(b"/" + value), 8192),
    "target": (lambda value: origin_form(value, b"GET"), 8192),
    "read_text": (read_text, HEAD),
    "is_usual_target": (lambda value: is_usual_target(b"/" + value), HEAD),
    "read_keep_alive": (read_keep_alive, HEAD),
    "read_page": (lambda page: read_page(page + b" ", None), PAGE_BYTES),
    "read_terms": (
        lambda value: read_terms([(b"keep-alive", value), (b"www-authenticate", value)]),
        HEAD,
    ),
    "parse_object": (fields.parse_object, BODY),
    "form": (by_form("application/x-www-form-urlencoded"), BODY),
    "multipart": (by_form("multipart/form-data; boundary=a"), BODY),
    "read_line": (read_line, 107),
    "read_authorization": (by_authorization, HEAD),
    "security headers": (by_added_header, 4 * HEAD),
    "frames": (by_frames, 4 * HEAD),
    "access tokens": (by_access, HEAD),
    "take_api_key": (lambda value: take_api_key(b"x-api-key: " + value, b"x-api-key"), HEAD),
}
TEXTS: dict[str, tuple[Callable[[str], object], int]] = {
    "parse_handle": (parse_handle, BODY),
    "code": (text.code, BODY),
    "clip and display": (lambda value: text.display(text.clip(value)), BODY),
    "password": (hashing.list_forms, BODY),
    "parse_route": (parse_route, BODY),
    "totp.normalise_secret": (totp.normalise_secret, BODY),
    "emailed.normalise": (emailed.normalise, BODY),
    "recovery.normalise": (recovery.normalise, BODY),
    "device": (devices.parse_device.__wrapped__, 512),
    "information": (devices.describe_agent, 512),
    "session_name": (session_name.__wrapped__, 512),
    "read_htpasswd": (read_htpasswd, BODY),
    "read_tinyauth": (read_tinyauth, BODY),
    "safe_return": (return_address.safe_return, HEAD),
    "accept-language": (languages.Languages().of, HEAD),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_parser_of_bytes_takes_linear_time(name: str) -> None:
    run, limit = BYTES[name]
    for shape, of in shapes():
        try:
            is_linear(run, partial(cut_octets, of), limit)
        except AssertionError as failure:
            pytest.fail(f"{shape!r}: {failure}")


@pytest.mark.parametrize("name", TEXTS)
def test_a_parser_of_text_takes_linear_time(name: str) -> None:
    run, limit = TEXTS[name]
    for shape, of in shapes():
        try:
            is_linear(run, partial(cut_text, of), limit)
        except AssertionError as failure:
            pytest.fail(f"{shape!r}: {failure}")


def test_json_of_many_kinds_takes_linear_time() -> None:
    for of in (
        lambda size: json.dumps({str(n): n for n in range(size // 12)}),
        lambda size: '{"a":' + "[" * 900 + "]" * 900 + " " * size + "}",
        lambda size: '{"a":[' + ",".join(["9" * 4000] * (size // 4001)) + "]}",
    ):
        is_linear(fields.parse_object, partial(encoded, of), BODY)


HTML = [
    "<", "</", "<a", "<a ", "<a b", "<a b=", "<a b='", '<a b="', '<a b="c"', "<a/", "<a =",
    "<a b=c/", "b ", "b=c ", "/", "a='b' ", "</a ", "<a\x00", "<!", "<!--", "<!-->", "--", "<![",
    "<![CDATA[", "]]>", "<!DOCTYPE ", "<?", "&#", "&#1", "&#x", "<script>", "<script></",
    "<textarea>", "<form>", "<form id=a action=//[>", "<input form=a name=b>",
    "<form><input type=hidden name=a>",
]  # fmt: skip


@pytest.mark.parametrize("before", ["", "<form>", "<a ", "<a b='"])
def test_a_hostile_page_takes_linear_time(before: str) -> None:
    """CVE-2025-6069: Python's reader of HTML looked for the end of each unfinished tag again. There
    are as many tags as a page may have, with as much between them as it may have, and then four
    times as much: Python first takes memory for a long tag at about half of a page."""
    for piece in HTML:
        tags = max(piece.count("<"), 1)

        def build(size: int, piece: str = piece, tags: int = tags) -> bytes:
            many = min(size // len(piece), TAGS_LIMIT // tags - 2)
            return (before + (piece + "x" * (size // many - len(piece))) * many).encode()

        def read(page: bytes) -> object:
            return read_page(page, None)

        whole = cost_s(read, build(PAGE_BYTES), 2)
        assert whole < SANE_S, piece
        if whole > 5 * NOTICED_S:
            assert cost_s(read, build(4 * PAGE_BYTES), 2) < 2 * GROWTH * whole, piece


async def test_trailers_of_an_upstream_take_linear_time() -> None:
    """60,000 lines `a:` once took 4 seconds; they are cut at 2048."""
    from doorward.upstream.answer_parser import LINES_LIMIT
    from doorward.upstream.connection import Connection

    class Transport:
        def write(self, data: bytes) -> None: ...
        def abort(self) -> None: ...
        def is_closing(self) -> bool:
            return False

    class ConnectionOwner:
        turns = Turns()

        def release(self, *_: Any) -> None: ...

    def answered(lines: int) -> Reader:
        connection, reader = Connection(ConnectionOwner()), Reader()
        connection.transport = Transport()  # type: ignore[assignment]
        connection.begin(
            reader, b"", no_body=False, ended=True, response_timeout_s=60.0, idle_timeout_s=60.0
        )
        connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.data_received(b"0\r\n" + b"a:\r\n" * lines + b"\r\n")
        return reader

    is_linear(lambda lines: answered(lines), lambda size: size, LINES_LIMIT)
    assert len(answered(LINES_LIMIT).trailers) == LINES_LIMIT
    too_many = answered(60_000)
    assert too_many.failure is not None and too_many.trailers == ()


# Patterns, found in the modules

# Patterns that only get bounded text, and the bound.
BOUNDED = {
    "doorward.accounts.devices": 512,
    "doorward.dialects.alekeagle.names": 512,
    "doorward.text._ADDRESS": 190,
    "doorward.accounts.factors.emailed._CODE": 128,
    "doorward.server.proxy_protocol._LINE": 107,
}
# An administrator's text at the start of a process is only bounded by the file's size.
SKIPPED = ("doorward.settings", "doorward.cli", "doorward.dialects.openapi", "doorward.storage")


def modules() -> Iterator[ModuleType]:
    """All modules in Python. Compiled ones have an entry in BYTES."""
    for found in pkgutil.walk_packages(doorward.__path__, "doorward."):
        if not found.name.startswith(SKIPPED) and not found.name.endswith("__main__"):
            module = importlib.import_module(found.name)
            if str(module.__file__).endswith(".py"):
                yield module


def patterns_in(value: object, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, tuple | list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from patterns_in(each, depth - 1)
    elif depth and hasattr(value, "form"):
        yield from patterns_in(value.form, 0)


def patterns() -> dict[str, tuple[re.Pattern[Any], list[str]]]:
    """Every compiled pattern by its location, with the methods that its module calls on it."""
    found: dict[str, tuple[re.Pattern[Any], list[str]]] = {}
    for module in modules():
        source = inspect.getsource(module)
        for name, value in vars(module).items():
            for number, pattern in enumerate(patterns_in(value)):
                called = re.findall(rf"\b{name}\.(search|match|fullmatch|sub|split)\(", source)
                methods = sorted(set(called)) or ["search", "fullmatch"]
                found.setdefault(f"{module.__name__}.{name}[{number}]", (pattern, methods))
    return found


PATTERNS = patterns()


def bound_of(place: str) -> int:
    module = place.partition("[")[0].rpartition(".")[0]
    return BOUNDED.get(place.partition("[")[0], BOUNDED.get(module, 16 * 1024))


def pieces_of(pattern: re.Pattern[Any]) -> list[str]:
    """Characters and words of the pattern, which match a long way into it."""
    told = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode()
    words = re.findall(r"[A-Za-z]{2,}", told)
    return [*dict.fromkeys([*told[:40], *words[:6], " ", "a", "%25", "a ", " a"])]


@pytest.mark.parametrize("place", PATTERNS)
def test_a_pattern_takes_linear_time(place: str) -> None:
    pattern, methods = PATTERNS[place]
    limit, is_bytes = bound_of(place), isinstance(pattern.pattern, bytes)

    def run(given: str) -> None:
        subject: Any = octets(given) if is_bytes else given
        for method in methods:
            if method == "sub":
                pattern.sub(subject[:0], subject)
            else:
                getattr(pattern, method)(subject)

    for piece in pieces_of(pattern):
        for before, after in (("", ""), ("", "\x01"), ("a=", "!"), ("/", "\x01")):
            try:
                is_linear(run, repeated(before, piece, after), limit)
            except AssertionError as failure:
                pytest.fail(f"{piece!r} between {before!r} and {after!r}: {failure}")


def test_every_pattern_is_at_module_level() -> None:
    """Inside a function, it would escape the test above."""
    hidden = []
    for module in modules():
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in ast.walk(node):
                    if (
                        isinstance(call, ast.Call)
                        and ast.unparse(call.func).startswith("re.")
                        and call.args
                        and isinstance(call.args[0], ast.Constant)
                    ):
                        hidden.append(f"{module.__name__}: {ast.unparse(call)}")
    assert not hidden


# Readers, by name, that need no entry, each with the reason.
NOT_FOREIGN = {
    "read_basic": "within `read_authorization`",
    "read_difference_s": "the Date of an answer that `doctor` asked for, read by the library",
    "read_target": "read of each `request …` entry",
    "read_request_id": "likewise",
    "read_scheme": "likewise",
    "read_last": "likewise",
    "read_arrival": "names and values of an ASGI scope, for `parse_headers`",
    "read_head": "a request head that Doorward itself has made",
    "parse_headers": "read of each `request …` entry",
    "read_second_targets": "likewise, of those that name a target",
    "read_cookie": "likewise, of Cookie lines",
    "read_key": "a file of the owner's, of 4 KiB",
    "read_ring": "files of the owner's",
    "read_state": "their names",
    "read_file_state": "numbers of the system's",
    "read_settings": "a file of the owner's",
    "read_arguments": "a command line",
    "read_private": "the reader of answers' heads, which is in the registry",
    "read_authelia": "a file of the administrator's, which a command reads once",
    "parse_address": "bounded at 128 characters before anything",
    "read_block": "a binary header of known offsets",
    "parse_qsl": "the library's, within `form`",
    "read_po": "the library's, for catalogues of the owner's",
    "parse_authority": "read of each `request host` and of what names one",
    "parse_port": "five digits of an authority",
    "read_source": "bounded by the header's own length; its line is `read_line`",
    "normalise": "of text.py, within `parse_handle`",
    "normalise_address": "likewise",
    "read_fields": "`form`, `multipart` and `parse_object`",
    "read_required_fields": "likewise",
    "read_pairs": "likewise",
    "read_form": "likewise, of 16 fields",
    "read_body": "likewise, of a dialect",
    "read_json": "`parse_object`",
    "read_optional_json": "likewise",
    "read_query": "the library's, of a target that is bounded",
    "parse_json": "likewise, of a query",
    "parse_number": "nine digits of a query",
    "read_text": "a parameter of `read_query`",
    "read_limit": "three digits of a query",
    "read_flag": "one of two words of a query",
    "read_cursor": "nine digits of a query",
    "read_user_cursor": "nine digits of a query, and the rest as it is",
    "read_filter": "parameters of `read_query`, one of them a time that the library reads",
    "read_details": "fields of `read_json`",
    "read_new_password": "likewise",
}


def test_every_reader_is_in_the_registry() -> None:
    named = {
        name
        for module in modules()
        for name, value in vars(module).items()
        if inspect.isfunction(value) and re.match(r"(read|parse|normalise)_?", name)
        if value.__module__.startswith("doorward.")
    }
    registered = {entry.rpartition(".")[2] for entry in (*BYTES, *TEXTS)}
    takes = {name for name in named if name not in registered and name not in NOT_FOREIGN}
    assert not takes, "add it to BYTES or TEXTS, or say why it is bounded"
