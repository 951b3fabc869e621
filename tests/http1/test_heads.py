"""The heads that the reader accepts, its results, and the heads that it leaves to llhttp."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest
from doorward import header_names
from doorward.http1 import _heads_py, head_tables, heads
from doorward.http1.head_tables import TARGET_BYTES, is_usual_target
from doorward.path_readings import BadPath, check_target
from doorward.settings.environment import read_environment

from tests.support.corpora import corpus
from tests.support.head_grammar import Given, compare_answers, compare_requests
from tests.support.head_readers import Heads, both, sent_of

READERS = list(both())
each_reader = pytest.mark.parametrize("reader", READERS, ids=lambda each: each.runs)

# Heads of browsers and programs.
FIREFOX = (
    b"GET /wiki/Main_Page?action=edit HTTP/1.1\r\n"
    b"Host: wiki.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: de,en-US;q=0.7,en;q=0.3\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\n"
    b"Cookie: theme=dark; doorward=x.y; app=1\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n"
    b'Sec-Fetch-User: ?1\r\nIf-None-Match: W/"abc"\r\nPriority: u=0, i\r\nTE: trailers\r\n\r\n'
)
FETCH = (
    b"POST /api/items HTTP/1.1\r\nHost: wiki.example.com\r\nConnection: keep-alive\r\n"
    b'Content-Length: 17\r\nsec-ch-ua-platform: "Linux"\r\nUser-Agent: Chrome\r\n'
    b"Content-Type: application/json\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\r\n"
    b"Origin: https://wiki.example.com\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n"
    b"Sec-Fetch-Dest: empty\r\nReferer: https://wiki.example.com/wiki/\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nX-CSRF-Token: abc\r\n\r\n"
)
CURL = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"
REQUESTS = (FIREFOX, FETCH, CURL)
BY_NGINX = (
    b"PUT /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.7\r\n"
    b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 443\r\n"
    b"X-Forwarded-Prefix: /x\r\nX-Request-ID: abc\r\nForwarded: for=192.0.2.7\r\n"
    b"Remote-User: root\r\nAuthorization: Bearer a\r\nX-User-Id: b\r\nX-Auth-Token: c\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
PAGE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: text/html\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n"
    b'Keep-Alive: timeout=5\r\nSet-Cookie: a=b; Path=/\r\nExpires: 0\r\nETag: "x"\r\n'
    b"Cache-Control: public, max-age=60\r\nX-Expires: 0\r\nRemote-User: root\r\n\r\n"
)
CHUNKED = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\nContent-Type: a\r\n\r\n"
UNCHANGED = b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nDate: a\r\n\r\n'
ANSWERS = (PAGE, CHUNKED, UNCHANGED)


@each_reader
@pytest.mark.parametrize("text", [*REQUESTS, BY_NGINX], ids=lambda text: text[:20].decode())
def test_request_heads_of_common_clients_are_accepted(reader: Heads, text: bytes) -> None:
    assert compare_requests([reader], Given(text))


@each_reader
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("text", ANSWERS, ids=lambda text: text[:12].decode())
def test_response_heads_of_common_applications_are_accepted(
    reader: Heads, text: bytes, private: bool
) -> None:
    assert compare_answers([reader], Given(text), private)


@each_reader
def test_a_request_head_has_all_facts_that_the_gate_needs(reader: Heads) -> None:
    head = reader.read_request(FIREFOX)
    assert (head.method, head.target) == (b"GET", b"/wiki/Main_Page?action=edit")
    assert (head.host, head.hosts) == (b"wiki.example.com", (b"wiki.example.com",))
    assert head.cookies == (b"theme=dark; doorward=x.y; app=1",)
    assert head.user_agent is not None and head.user_agent.startswith(b"Mozilla/5.0")
    assert (head.origin, head.sec_fetch_site) == (None, b"same-origin")
    assert (head.sec_fetch_mode, head.sec_fetch_dest) == (b"navigate", b"document")
    assert head.keep_alive and head.trailers and not head.has_body
    gone = (b"host", b"connection", b"cookie", b"te")
    kept = [line for line in head.headers if line[0] not in gone]
    assert head.passing == kept
    assert head.passing_text == b"".join(b"%b: %b\r\n" % line for line in kept)
    assert reader.read_request(FETCH).origin == b"https://wiki.example.com"
    assert reader.read_request(FETCH).has_body


@each_reader
def test_private_and_public_answers_are_rewritten_differently(reader: Heads) -> None:
    public, private = reader.read_answer(PAGE), reader.read_answer(PAGE, 0, True)
    assert b"\r\nCache-Control: public, max-age=60\r\n" in public.passing_text
    assert public.cache_control is None
    assert private.cache_control == b"public, max-age=60"
    sent = sent_of(private, True)
    assert sent.endswith(b"X-Expires: 0\r\ncache-control: private, max-age=60\r\n")
    assert b"\r\nExpires:" not in sent and b"Remote-User" not in sent
    assert (private.length, private.kept, private.is_dated) == (1024, b"timeout=5", True)
    assert private.set_cookies == (b"a=b; Path=/",) and b"Set-Cookie: a=b" in sent


@each_reader
@pytest.mark.parametrize("text", [*REQUESTS, BY_NGINX, *ANSWERS], ids=lambda text: text[:20])
def test_an_incomplete_head_is_not_accepted(reader: Heads, text: bytes) -> None:
    for size in range(len(text)):
        assert reader.read_request(text[:size]) is None
        assert reader.read_answer(text[:size]) is None
    read = reader.read_answer if text.startswith(b"HTTP") else reader.read_request
    for behind in (b"", b"\r\n", b"body", text):
        for before in (b"", b"x", text):
            assert read(before + text + behind, len(before)).text == text
            assert read(bytearray(before + text + behind), len(before)).text == text


# Request heads that are not plain, or that have unusual headers that the gate treats specially.
ODD_LINES = [
    b"X : a", b" X: a", b"X a: b", b"X", b": a", b"X\x00: a", b"X: a\x00b", b"X: a\rb", b"X: a\nb",
    b"X: a\r\n b", b"X: a\x7f", b"X: a ", b"X: a\t", b"\xffX: a", b"X" * 65 + b": a",
    b"Host: b", b"Connection: upgrade", b"Connection: close, x", b"Connection: cookie",
    b"Connection:", b"Upgrade: websocket", b"Proxy-Connection: close", b"Expect: 100-continue",
    b"TE: gzip", b"Trailer: X", b"Max-Forwards: 1", b"X-HTTP-Method-Override: PUT",
    b"X_HTTP_Method: PUT", b"Destination: /a", b"If: (<a>)", b"Content-Length: 01",
    b"Content-Length: +1", b"Content-Length: 1, 1", b"Content-Length:", b"Content-Length: 1 1",
    b"Content-Length: " + b"9" * 19, b"Content-Length: 1\r\nContent-Length: 1",
    b"Content-Length: 1\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding:",
    b"Origin: a\r\nOrigin: a", b"Sec-Fetch-Site: a\r\nSec-Fetch-Site: a",
    b"User-Agent: a\r\nuser-agent: b", b"X-Request-Id: a\r\nX-Request-Id: b",
]  # fmt: skip
ODD_FIRST_LINES = [
    b"GET * HTTP/1.1", b"GET http://a/ HTTP/1.1", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1",
    b"GET / HTTP/1.0", b"GET / HTTP/1.1 ", b"GET / http/1.1", b"GET / HTTP/2.0",
    b"GET /a#b HTTP/1.1",
    b"GET / a HTTP/1.1", b"get / HTTP/1.1", b"BREW / HTTP/1.1", b"CONNECT a:1 HTTP/1.1",
    b"CONNECT / HTTP/1.1", b"PRI / HTTP/1.1", b"\r\nGET / HTTP/1.1", b" GET / HTTP/1.1",
    b"GET /\x00 HTTP/1.1", b"GET /\xe4 HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET / HTTP/1.1\nX: a",
    b"GET /", b"", b"GET a HTTP/1.1",
]  # fmt: skip


@each_reader
@pytest.mark.parametrize("line", ODD_LINES, ids=ascii)
def test_a_request_with_an_odd_line_is_left_to_llhttp(reader: Heads, line: bytes) -> None:
    assert reader.read_request(CURL) is not None
    assert reader.read_request(CURL[:-2] + line + b"\r\n\r\n") is None


@each_reader
@pytest.mark.parametrize("line", ODD_FIRST_LINES, ids=ascii)
def test_a_request_with_an_odd_first_line_is_left_to_llhttp(reader: Heads, line: bytes) -> None:
    assert reader.read_request(line + CURL[CURL.index(b"\r\n") :]) is None


ODD_ANSWERS = [
    b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 600 High",
    b"http/1.1 200 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 200 \x00",
    b"HTTP/1.1 200 OK\nX: a", b"HTTP/1.1 204 No Content\r\nContent-Length: 0",
    b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked",
    *(b"HTTP/1.1 200 OK\r\n" + line for line in (
        b"WWW-Authenticate: Negotiate", b"Persistent-Auth: true", b"Upgrade: h2c",
        b"Connection: Upgrade", b"Connection: cache-control", b"Transfer-Encoding: gzip",
        b"Expires: 0\r\nExpires: 0", b"Keep-Alive: a\r\nKeep-Alive: a", b"X: a ", b"X : a",
        b"Content-Length: 1\r\nContent-Length: 1", b"Content-Length: -1", b"X: a\r\n folded",
    )),
]  # fmt: skip


@each_reader
@pytest.mark.parametrize("text", ODD_ANSWERS, ids=ascii)
def test_an_odd_answer_is_left_to_llhttp(reader: Heads, text: bytes) -> None:
    assert reader.read_answer(text + b"\r\n\r\n") is None


@each_reader
@pytest.mark.parametrize("text", corpus("requests_refused.txt"), ids=ascii)
def test_a_refused_request_is_never_read_differently(reader: Heads, text: bytes) -> None:
    """The gate refuses some of them, llhttp the others."""
    if compare_requests([reader], Given(text)):
        assert not re.search(rb"\x00|\r[^\n]|\n ", text)


@each_reader
@pytest.mark.parametrize("text", corpus("broken_answers.txt"), ids=ascii)
def test_a_broken_answer_is_never_accepted(reader: Heads, text: bytes) -> None:
    assert not compare_answers([reader], Given(text), private=False)


@each_reader
@pytest.mark.parametrize("name", corpus("identity_headers.txt"), ids=ascii)
def test_an_identity_header_is_never_forwarded(reader: Heads, name: bytes) -> None:
    for spelled in (name, name.lower(), name.upper()):
        text = CURL[:-2] + spelled + b": root\r\n\r\n"
        if compare_requests([reader], Given(text)):
            assert b"root" not in reader.read_request(text).passing_text
        else:
            assert name == b"Proxy-Connection"


def test_all_readers_agree_on_every_byte_in_every_place() -> None:
    for byte in range(256):
        for place in (b"/%b", b"GE%bT", b"a%b:", b": %b", b": a%bb", b"1.1%b", b"GET %b"):
            put = place % bytes((byte,))
            for text in (
                CURL.replace(b"GET", put) if b"GE" in place else CURL,
                CURL.replace(b"GET /", b"GET " + put) if place.startswith(b"/") else CURL,
                CURL[:-2] + b"X" + put + b" b\r\n\r\n",
                CURL.replace(b"1.1", put) if b"1" in place else CURL,
            ):
                compare_requests(READERS, Given(text))
            for text in (b"HTTP/1.1 200 " + put, b"HTTP/1.1 20" + put, b"HTTP/" + put + b" 200 "):
                compare_answers(READERS, Given(text + b"\r\nX" + put + b"\r\n\r\n"), private=False)


@pytest.mark.parametrize("byte", range(256))
def test_a_target_accepts_the_same_bytes_as_the_gate(byte: int) -> None:
    try:
        check_target(b"/" + bytes((byte,)))
    except BadPath:
        assert byte not in head_tables.TARGET_BYTES
    else:
        assert byte in head_tables.TARGET_BYTES


@each_reader
def test_heads_are_accepted_up_to_the_limits(reader: Heads) -> None:
    read: Any = reader.read_request
    target = CURL.index(b" HTTP") - 4
    assert read(CURL, 0, len(CURL), target, 3) is not None
    assert read(CURL, 0, len(CURL) - 1, target, 3) is None
    assert read(CURL, 0, len(CURL), target - 1, 3) is None
    assert read(CURL, 0, len(CURL), target, 2) is None
    assert read(CURL, -1) is read(CURL, len(CURL)) is read(b"") is read(CURL, 0, -1) is None
    lines = b"a: b\r\n" * (head_tables.LINES - 3)
    for text, is_taken in ((lines, True), (lines + b"a: b\r\n", False)):
        assert (
            read(CURL[:-2] + text + b"\r\n", 0, 1 << 40, 1 << 40, 1 << 40) is not None
        ) is is_taken
    for size, is_taken in ((head_tables.HEAD_BYTES, True), (head_tables.HEAD_BYTES + 1, False)):
        text = CURL[:-2] + b"X: " + b"a" * (size - len(CURL) - 5) + b"\r\n\r\n"
        assert len(text) == size
        assert (read(text, 0, 1 << 40) is not None) is is_taken


def test_the_cache_of_header_names_is_bounded() -> None:
    asked: list[bytes] = []

    def action(name: bytes) -> int:
        asked.append(name)
        return head_tables.PASS

    actions = head_tables.Actions(action, [b"usual"])
    for number in range(3 * head_tables.LEARNT):
        actions.find(b"x-%d" % number)
        actions.find(b"x-%d" % number)
    assert len(asked) == 3 * head_tables.LEARNT + 1
    assert len(actions._learnt) <= head_tables.LEARNT
    actions.find(b"usual")
    assert asked[0] == b"usual" and asked.count(b"usual") == 1


def test_the_cache_of_header_lines_is_bounded() -> None:
    reader = Heads.of("python")
    lines = reader.read_request.__self__._lines
    for number in range(4 * _heads_py._KNOWN):
        made_up = CURL[:-2] + b"Accept-Language: %d\r\nX-%d: a\r\n\r\n" % (number, number)
        assert reader.read_request(made_up) is not None
        assert reader.read_request(made_up) is not None
        assert len(lines.known) + len(lines._acting) <= _heads_py._KNOWN
        assert len(lines.blocks) <= _heads_py._BLOCKS
        assert len(lines.names) + len(lines._repeating) <= 2 * head_tables.LEARNT
    before = len(lines.known), len(lines.blocks)
    reader.read_request(CURL[:-2] + b"Accept: %b\r\n\r\n" % (b"a" * _heads_py._KNOWN_BYTES))
    reader.read_request(CURL[:-2] + b"a:b\r\n" * _heads_py._BLOCK_LINES + b"\r\n")
    assert len(lines.known) <= before[0] + 2 and len(lines.blocks) <= before[1] + 1
    statuses = reader.read_answer.__self__._statuses
    for number in range(2 * _heads_py._KNOWN):
        assert reader.read_answer(b"HTTP/1.1 200 %d\r\n\r\n" % number) is not None
    assert len(statuses) <= _heads_py._KNOWN


def test_only_lines_without_secrets_are_cached() -> None:
    """Nor of names that could identify a user: those are not usual names."""
    plain = (head_tables.PASS, head_tables.HOST, head_tables.CONNECTION, head_tables.TE)
    forwarded = range(head_tables.FORWARDED, head_tables.FORWARDED_PREFIX + 1)
    once = range(head_tables.ONCE, head_tables.ONCE + head_tables.ONCE_NAMES)
    for name in header_names.REPEATING_REQUEST_NAMES:
        assert heads.request_action(name) in (*plain, *forwarded, *once)
    assert set(header_names.REPEATING_REQUEST_NAMES) < set(header_names.USUAL_REQUEST_NAMES)
    assert set(header_names.REPEATING_ANSWER_NAMES) < set(header_names.USUAL_ANSWER_NAMES)
    assert b"set-cookie" not in header_names.REPEATING_ANSWER_NAMES


@each_reader
def test_cached_lines_conflict_as_new_ones_do(reader: Heads) -> None:
    for one, two in (
        (b"User-Agent: a", b"User-Agent: a"),
        (b"User-Agent: a", b"user-agent: b"),
        (b"Connection: keep-alive", b"Connection: keep-alive"),
        (b"Connection: keep-alive", b"Connection: close"),
        (b"Host: a", b"host: a"),
        (b"Sec-Fetch-Site: none", b"Sec-Fetch-Site:none"),
    ):
        host = b"" if one.startswith(b"Host") else b"Host: a\r\n"
        head = b"GET / HTTP/1.1\r\n%b%b\r\nAccept: */*\r\n%b\r\n" % (host, one, b"%b")
        for _ in range(3):
            assert reader.read_request(head % b"") is not None
            assert reader.read_request(head % b"Accept: */*\r\n") is not None
            assert reader.read_request(head % (two + b"\r\n")) is None


@each_reader
def test_cache_control_keeps_its_order_with_cached_lines(reader: Heads) -> None:
    long = b"max-age=1, " + b"a" * 300
    for values in ((b"no-store", long), (long, b"no-store"), (b"no-store", b"no-store")):
        lines = b"".join([b"Cache-Control: %b\r\n" % value for value in values])
        for _ in range(3):
            head = reader.read_answer(b"HTTP/1.1 200 OK\r\n%b\r\n" % lines, 0, True)
            assert head.cache_control == b",".join(values)


def test_every_header_action_of_the_reader_is_known() -> None:
    """Any other header action is left to llhttp and `scan`."""
    for name in (*header_names.USUAL_REQUEST_NAMES, b"x-a"):
        assert heads.request_action(name) in range(head_tables.FORWARDED_PREFIX + 1)
    assert len(heads.SINGLE) <= head_tables.ONCE_NAMES
    for name in heads.SINGLE:
        assert heads.request_action(name) == head_tables.ONCE + heads.SINGLE.index(name)


def test_usual_names_are_well_formed() -> None:
    for name in (*header_names.USUAL_REQUEST_NAMES, *header_names.USUAL_ANSWER_NAMES):
        assert all(name.split(b"-")), name


@each_reader
def test_all_readers_agree_on_usual_targets(reader: Heads) -> None:
    pieces = [b"/", b"a", b".", b"~", b"%2e", b";", b"?", b"!"]
    rests = [b"".join(each) for size in range(6) for each in product(pieces, repeat=size)]
    rests += [before + bytes((byte,)) for before in (b"", b"a", b"a?") for byte in TARGET_BYTES]
    for rest in rests:
        target = b"/" + rest
        head = reader.read_request(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        assert head.path == target.partition(b"?")[0]
        assert head.has_usual_target is is_usual_target(target), target


def test_the_variables_that_choose_the_reader_cause_no_warning() -> None:
    environ = {heads.PURE_PYTHON: "1", "DOORWARD_EXTENSION": "required"}
    assert not read_environment(environ).warnings


def test_the_python_reader_runs_if_requested() -> None:
    assert READERS[0].module.DESCRIPTION == "python (as DOORWARD_PURE_PYTHON asks)"
    assert READERS[0].module.RUNS == "python"
