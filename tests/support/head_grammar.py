"""Heads of requests and answers, from plain to hostile, and comparisons of their readers.

A head is drawn from a grammar whose every part is legal, nearly legal or hostile. `variants` cuts,
edits and surrounds it. `compare_requests` and `compare_answers` compare the readers on one of
these.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from doorward import header_names
from doorward.http1 import head_tables, heads
from doorward.http1.second_targets import READERS
from hypothesis import strategies as st

from tests.support.corpora import corpus
from tests.support.head_readers import (
    Heads,
    answer_by_llhttp,
    request_by_llhttp,
    said_of_answer,
    said_of_request,
)

Bytes = st.SearchStrategy[bytes]


def one_of(*usual: bytes, rarely: tuple[bytes, ...] = ()) -> Bytes:
    """Usually one of the usual values; once in twenty-five times, one of the others."""
    often = st.sampled_from(usual)
    if not rarely:
        return often
    return st.integers(0, 24).flatmap(lambda n: often if n else st.sampled_from(rarely))


METHODS = one_of(
    *(b"GET", b"GET", b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PROPFIND"),
    rarely=(
        *(b"get", b"CONNECT", b"PRI", b"BREW", b"", b" GET", b"G\x00T", b"SOURCE", b"M-SEARCH"),
        *(b"GET\t", b"\r\nGET", b"\xffET", b"A" * 33, b"UNBIND", b"QUERY", b"DESCRIBE"),
    ),
)
TARGETS = st.one_of(
    one_of(
        *(b"/", b"/a/b?c=d&e", b"/?", b"/%2F%00//..;a=b", b"/a|b^`\"<>{}[]\\'"),
        rarely=(
            *(b"*", b"", b"a", b"/a#b", b"/a b", b"http://a/b", b"/\x7f", b"/\xc3\xa4", b"//a/b"),
            *(b"/\x00", b"?", b"/a\tb", b"/" + b"a" * 300, b"/a\r", b"a:80"),
        ),
    ),
    st.sampled_from([*corpus("paths_forwarded.txt"), *corpus("paths_with_two_readings.txt")]),
)
VERSIONS = one_of(
    b"HTTP/1.1",
    rarely=(
        *(b"HTTP/1.0", b"HTTP/1.1 ", b"http/1.1", b"HTTP/1.10", b"HTTP/2.0", b"HTTP/1.", b""),
        *(b"HTTP/11", b" HTTP/1.1", b"HTTP/1.1\t", b"RTSP/1.1", b"ICE/1.0", b"HTTP/01.1"),
    ),
)
ENDS = one_of(
    b"\r\n", b"\r\n", b"\r\n", rarely=(b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b"\r\n\r\n", b"\x0b")
)
SPACES = one_of(b" ", b" ", b" ", rarely=(b"  ", b"\t", b"", b"\x0c", b"\xa0"))
COLONS = one_of(
    b": ", b": ", b": ", b":", b":\t", b":  ", b": \t ", rarely=(b" : ", b"", b"::", b"\t:", b" ")
)
TAILS = one_of(b"", b"", b"", rarely=(b" ", b"\t", b" \t ", b"\r", b"\x00", b"\n "))

STEERING = {
    b"host": (b"a.test", b"A.test:8080", b"", b"a b", b"[::1]"),
    b"connection": (
        *(b"keep-alive", b"close", b"Close", b"Keep-Alive", b"upgrade", b"x-a", b"te", b""),
        *(b"keep-alive, close", b"cookie", b"close, x-a", b"keep-alive,"),
    ),
    b"proxy-connection": (b"keep-alive", b"close"),
    b"content-length": (b"0", b"5", b"00", b"05", b"+5", b"5,5", b"", b"9" * 18, b"9" * 19, b"0x1"),
    b"transfer-encoding": (b"chunked", b"Chunked", b"gzip, chunked", b"identity", b"", b"xchunked"),
    b"te": (b"trailers", b"Trailers", b"gzip", b"trailers, gzip", b""),
    b"upgrade": (b"websocket", b"h2c", b"HTTP/2.0"),
    b"expect": (b"100-continue", b"x"),
    b"trailer": (b"x-a, x-b", b"cookie"),
    b"max-forwards": (b"0", b"1", b"a"),
    b"keep-alive": (b"timeout=5", b"timeout=5, max=100", b"max=1", b"timeout=a"),
    b"cache-control": (b"public, max-age=60", b"no-store", b"private", b"max-age=1", b'a="b, c"'),
    b"expires": (b"0", b"Thu, 01 Jan 1970 00:00:00 GMT"),
    b"set-cookie": (b"a=b; Path=/", b"doorward=x"),
    b"cookie": (b"a=b; doorward=x", b"doorward=x"),
    b"date": (b"Thu, 01 Jan 1970 00:00:00 GMT",),
    b"www-authenticate": (b"Negotiate", b"Basic realm=x"),
    b"persistent-auth": (b"true",),
    b"authorization": (b"Bearer x", b"NTLM x"),
    b"x-forwarded-for": (b"10.0.0.1", b"10.0.0.1, 192.0.2.1"),
    b"x-request-id": (b"abc", b""),
    b"x-http-method-override": (b"DELETE",),
    **{name: (b"/a", b"</a>", b"(<opaque:x>)") for name in READERS},
}
PLAIN_VALUES = (
    *(b"a", b"", b"text/html, */*;q=0.8", b"gzip", b"\xc3\xa4", b"a:b", b"a\tb  c", b"timeout=5"),
    *(b"chunked", b"5", b"keep-alive", b"\x80\xff", b"x" * 200),
)
HOSTILE_VALUES = (b"a\x00", b"\x7f", b"a\nb", b"a\rb", b"\x1b", b"a\r\n b", b"a\r\n\tb", b"\x01")
HOSTILE_NAMES = (
    *(b"", b" Host", b"Host ", b"X Y", b"X\x00", b"X\xe4", b"(x)", b"\tX", b"X\r\nY", b"x" * 64),
    *(b"x" * 65, b"x\x7f", b"@", b"content-length\x00", b"\xef\xbb\xbfhost"),
)
REQUEST_NAMES = (
    *header_names.USUAL_REQUEST_NAMES,
    *corpus("identity_headers.txt"),
    *(b"x-a", b"X_Forwarded_For", b"Content_Length", b"x.y!z#$%&'*+^`|~", b"Transfer.Encoding"),
)
ANSWER_NAMES = (
    *header_names.USUAL_ANSWER_NAMES,
    *corpus("identity_headers.txt")[:40],
    *(b"x-a", b"CDN-Cache-Control", b"Proxy-Authenticate", b"TE", b"x.y!z#$%&'*+^`|~"),
)
CASES: tuple[Callable[[bytes], bytes], ...] = (
    bytes.lower,
    bytes.title,
    bytes.title,
    bytes.upper,
    bytes.swapcase,
    lambda name: name.replace(b"-", b"_"),
)


def lines(names: tuple[bytes, ...]) -> Bytes:
    """One header line with its end."""
    plain = st.tuples(st.sampled_from(names), st.sampled_from(PLAIN_VALUES))
    steering = st.sampled_from([(name, value) for name in STEERING for value in STEERING[name]])
    hostile = st.tuples(
        st.sampled_from((*names, *HOSTILE_NAMES)), st.sampled_from(HOSTILE_VALUES) | st.binary()
    )
    pairs = st.integers(0, 19).flatmap(lambda n: (hostile, *[plain] * 15, *[steering] * 4)[n])
    spelled = st.sampled_from(CASES)
    legal = st.tuples(spelled, pairs, st.sampled_from((b": ", b": ", b":", b":\t ")))
    nearly = st.tuples(spelled, pairs, COLONS, TAILS, ENDS)
    return st.one_of(
        *[legal.map(lambda t: t[0](t[1][0]) + t[2] + t[1][1] + b"\r\n")] * 19,
        nearly.map(lambda t: t[0](t[1][0]) + t[2] + t[1][1] + t[3] + t[4]),
    )


def first_lines(*parts: Bytes) -> Bytes:
    """A first line of three words."""
    plain = st.tuples(parts[0], parts[1], parts[2]).map(lambda t: b"%b %b %b\r\n" % t)
    odd = st.tuples(parts[0], SPACES, parts[1], SPACES, parts[2], ENDS).map(b"".join)
    return st.one_of(*[plain] * 9, odd)


HOSTS = one_of(b"Host: a.test\r\n", b"hOST:a.test\r\n", rarely=(b"", b"Host: a\r\nHost: a\r\n"))
CLOSINGS = one_of(b"\r\n", b"\r\n", b"\r\n", rarely=(b"\n", b"", b"\r", b" \r\n", b"\r\r\n"))
REQUESTS = st.tuples(
    first_lines(METHODS, TARGETS, VERSIONS),
    HOSTS,
    st.lists(lines(REQUEST_NAMES), max_size=8).map(b"".join),
    CLOSINGS,
).map(b"".join)

STATUSES = one_of(
    *(b"200", b"204", b"304", b"404", b"302", b"500", b"599", b"299"),
    rarely=(b"100", b"101", b"103", b"199", b"600", b"999", b"20", b"2000", b"", b"2x0", b"-20"),
)
REASONS = one_of(
    *(b"OK", b"Not Found", b"", b"\xc3\xa4", b"a\tb"), rarely=(b"\x00", b"\r", b"\n", b"\x7f")
)
ANSWERS = st.tuples(
    first_lines(VERSIONS, STATUSES, REASONS),
    st.lists(lines(ANSWER_NAMES), max_size=8).map(b"".join),
    CLOSINGS,
).map(b"".join)

# The bytes that an edit inserts: bytes with a meaning, or none.
_EDITS = [b"\r", b"\n", b"\r\n", b":", b" ", b"\t", b"\x00", b"\x7f", b"\xff", b"_", b",", b";"]
_EDITS += [b"#", b"/", b"\r\n ", b"\r\n\r\n", b"\x0b", b"", b""]
_HARMLESS = [b"a", b"A", b"0", b"-", b"h", b"d", b"", b"!"]
_BEHIND = [
    b"",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"body",
    b"\r\n",
    b"\n",
    b"0\r\n\r\n",
    b"\x00",
]


@dataclass(frozen=True)
class Given:
    """A reader's input: bytes, and the beginning of a head in them."""

    data: bytes
    start: int = 0


def variants(head: bytes, seed: int, edits: int = 6) -> Iterator[Given]:
    """The head, cut, with bytes before and after it, and edited several times."""
    chance = random.Random(seed)  # noqa: S311 - nothing is secret here
    yield Given(head)
    yield Given(head[: chance.randrange(len(head) + 1)])
    before, behind = chance.choice(_BEHIND), chance.choice(_BEHIND)
    yield Given(before + head + behind, len(before))
    for number in range(edits):
        edited, pieces = head, _HARMLESS if number % 2 else _EDITS
        for _ in range(chance.randrange(1, 3)):
            at = chance.randrange(len(edited) + 1)
            edited = edited[:at] + chance.choice(pieces) + edited[at + chance.randrange(2) :]
        yield Given(edited + chance.choice(_BEHIND))


def compare_requests(readers: list[Heads], given: Given) -> bool:
    """Whether the readers accept it. Raises AssertionError if they differ from each other, or from
    llhttp. Each reads it twice, because it may cache the first result."""
    twice = [each for each in readers for _ in range(2)]
    found = [each.read_request(given.data, given.start) for each in twice]
    said = [None if head is None else said_of_request(head) for head in found]
    assert all(one == said[0] for one in said), (said, given)
    _is_where_it_began(found[0], given)
    if said[0] is not None:
        assert said[0] == request_by_llhttp(said[0]["text"]), given
        for name in heads.SINGLE:
            values = [value for each, value in said[0]["passing"] if each == name]
            value = found[0].find_value(b"\r\n%b: " % name)
            assert values == ([] if value is None else [value]), (name, given)
    return said[0] is not None


def compare_answers(readers: list[Heads], given: Given, private: bool) -> bool:
    """The same for an answer that is, or is not, for one session."""
    twice = [each for each in readers for _ in range(2)]
    found = [each.read_answer(given.data, given.start, private) for each in twice]
    said = [None if head is None else said_of_answer(head, private) for head in found]
    assert all(one == said[0] for one in said), (said, given)
    _is_where_it_began(found[0], given)
    if said[0] is not None:
        assert said[0] == answer_by_llhttp(said[0]["text"], private), given
    return said[0] is not None


def _is_where_it_began(head: Any, given: Given) -> None:
    """Whether it was read up to its first empty line."""
    if head is not None:
        text = given.data[given.start :][: len(head.text)]
        assert text == head.text and text.index(b"\r\n\r\n") == len(text) - 4, given
        assert len(text) <= head_tables.HEAD_BYTES
