"""Which headers are forwarded, in every spelling that some application reads as one of
Doorward's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from doorward.header_names import (
    FORWARDING_NAMES,
    FORWARDING_PREFIX,
    IDENTITY_NAMES,
    IDENTITY_PREFIXES,
    is_identity_name,
    normalize_name,
)
from doorward.http1.headers import (
    TOKEN,
    BadHeaders,
    HeaderAction,
    classify_header,
    parse_headers,
)
from doorward.rewrite.answer_headers import answer_headers, interim_headers
from hypothesis import given
from hypothesis import strategies as st

from tests.support.corpora import corpus
from tests.support.front import Build, Front
from tests.support.origin import Origin
from tests.support.wire import Header, values_of

MANAGED = corpus("identity_headers.txt")


@pytest.mark.parametrize("name", MANAGED, ids=ascii)
def test_an_identity_header_is_never_forwarded(name: bytes) -> None:
    """CVE-2025-64484, CVE-2026-39858, CVE-2026-54763, CVE-2026-52845: `_` folded to `-`.
    CVE-2026-33433: a spelling with another case was kept next to the proxy's. CVE-2026-35051,
    CVE-2026-54764, CVE-2024-52003: X-Forwarded-Prefix and -Port. CVE-2018-1283: a header read as
    session data."""
    assert parse_headers([(name.lower(), b"admin")]).passing == []
    assert classify_header(name) is not HeaderAction.PASS


@pytest.mark.parametrize("connection", [b"", b"x-remote-user", b"Remote-User, keep-alive"])
async def test_the_application_sees_doorwards_value_or_none(
    front: Front, connection: bytes
) -> None:
    """CVE-2026-30851: the client's header was kept if the answer lacked it. CVE-2022-31813,
    CVE-2024-45410, CVE-2026-29054: `Connection` listed one of the proxy's headers."""
    forged = [(name.lower(), b"forged") for name in MANAGED]
    if connection:
        forged.append((b"connection", connection + b", x-forwarded-for, x-real-ip, x-request-id"))
    session = front.cookie(await front.opened())
    assert (await front.get("/", session, *forged)).status == 200
    assert (await front.get("/public/", *forged)).status == 200
    by_alice, by_nobody = front.origin.heads
    for head in (by_alice, by_nobody):
        assert b"forged" not in head
        assert values_of(head, b"x-forwarded-for") == [b"192.0.2.1"]
        assert values_of(head, b"x-real-ip") == [b"192.0.2.1"]
        assert values_of(head, b"x-forwarded-proto") == [b"http"]
        assert values_of(head, b"x-forwarded-host") == [b"app.test"]
        assert values_of(head, b"x-forwarded-port") == [b"80"]
        assert len(values_of(head, b"x-request-id")) == 1
    assert values_of(by_alice, b"remote-user") == [b"alice"]
    assert values_of(by_nobody, b"remote-user") == []


names = st.one_of(
    st.sampled_from(MANAGED),
    st.from_regex(TOKEN, fullmatch=True),
    st.sampled_from([b"x-custom", b"accept", b"user-agent", b"x-api-key", b"if-none-match"]),
)
values = st.binary(max_size=12).map(lambda value: bytes(b for b in value if 32 <= b < 127))


def respelled(name: bytes, marks: list[bytes], upper: bool) -> bytes:
    """The name with other punctuation in place of its hyphens."""
    first, *rest = normalize_name(name).split(b"-")
    spelled = first
    for at, part in enumerate(rest):
        spelled += marks[at % len(marks)] + part
    return spelled.upper() if upper else spelled


def test_the_corpus_knows_every_name_that_is_removed() -> None:
    """Every test that reads the corpus also attacks new names in the tables."""
    attacked = {normalize_name(name) for name in MANAGED}
    assert not (IDENTITY_NAMES | FORWARDING_NAMES) - attacked
    for prefix in (*IDENTITY_PREFIXES, FORWARDING_PREFIX):
        assert any(name.startswith(prefix) for name in attacked), prefix


def test_the_handbook_lists_exactly_the_names_that_are_removed() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "headers.md").read_text()
    listed = [
        [name.lower().encode() for name in re.findall(r"`([^`]+)`", row)]
        for row in re.findall(r"^\| (`.*?) \|", text, re.M)
    ]
    names = {name for row in listed for name in row}
    prefixes = {prefix + b"*" for prefix in (*IDENTITY_PREFIXES, FORWARDING_PREFIX)}
    assert names == IDENTITY_NAMES | FORWARDING_NAMES | prefixes


@pytest.mark.parametrize(
    "name",
    b"x-auth-key x-auth-tokens x-tokens x-csrf-token x-goog-api-key x-amzn-id x-ms-version cf-ray"
    b" tailscale remote x-hosting".split(),
)
def test_a_name_that_only_resembles_one_of_these_passes(name: bytes) -> None:
    assert classify_header(name) is HeaderAction.PASS


punctuation = st.sampled_from([b"-", b"_", b".", b"~", b"+", b"!", b"|"])


# Content-Type is harmless; only other spellings that could be read as a second one are dropped.
NEVER = [name for name in MANAGED if classify_header(normalize_name(name)) is not HeaderAction.PASS]


@given(st.sampled_from(NEVER), st.lists(punctuation, min_size=1), st.booleans())
def test_no_spelling_of_a_managed_name_passes(name: bytes, marks: list[bytes], upper: bool) -> None:
    assert classify_header(respelled(name, marks, upper)) is not HeaderAction.PASS


@given(st.lists(st.tuples(names, values), max_size=12))
def test_forwarded_headers_keep_their_order_and_bytes(headers: list[Header]) -> None:
    headers = [(name.lower(), value) for name, value in headers]
    try:
        passing = parse_headers(headers).passing
    except BadHeaders:
        return
    rest = iter(headers)
    assert all(line in rest for line in passing)
    kept = {b"x-custom", b"accept", b"user-agent", b"x-api-key", b"if-none-match"}
    if not any(name == b"connection" for name, _ in headers):
        assert [line for line in passing if line[0] in kept] == [
            line for line in headers if line[0] in kept
        ]


def test_hop_by_hop_headers_are_removed() -> None:
    headers = [
        (b"connection", b"close, X-Hop ,, x-other"),
        (b"keep-alive", b"timeout=5"),
        (b"te", b"trailers"),
        (b"trailer", b"x-t"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABkAAQAAP__"),
        (b"proxy-authorization", b"Basic eDp5"),
        (b"x-hop", b"1"),
        (b"x-other", b"2"),
        (b"authorization", b"Basic eDp5"),
        (b"x-end", b"3"),
    ]
    found = parse_headers(headers)
    assert found.passing == [(b"x-end", b"3")]
    assert found.authorizations == [b"Basic eDp5"]


FRAMINGS: list[list[Header]] = [
    [(b"content-length", b"1"), (b"content-length", b"2")],
    [(b"content-length", b"5, 5")],
    [(b"content-length", b"+5")],
    [(b"content-length", b"-5")],
    [(b"content-length", b"0x5")],
    [(b"content-length", b"5 ")],
    [(b"content-length", b"")],
    [(b"content-length", b"9" * 5000)],
    [(b"content-length", b"\xd9\xa5")],
    [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
    [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
    [(b"transfer-encoding", b"chunked, chunked")],
    [(b"transfer-encoding", b"gzip, chunked")],
    [(b"transfer-encoding", b"identity")],
    [(b"transfer-encoding", b"xchunked")],
    [(b"transfer-encoding", b"chunked;q=1")],
    [(b"transfer-encoding", b"\x0bchunked")],
    [(b"transfer-encoding", b"")],
]


@pytest.mark.parametrize("headers", FRAMINGS, ids=ascii)
def test_a_length_that_can_be_read_in_two_ways_is_refused(headers: list[Header]) -> None:
    """CVE-2022-22720, CVE-2023-25690, CVE-2024-1135, CVE-2024-6827, CVE-2019-16785, CVE-2019-16786,
    CVE-2019-16789, CVE-2019-16792, CVE-2022-24761, CVE-2021-39214, CVE-2022-24766: smuggling."""
    with pytest.raises(BadHeaders):
        parse_headers(headers)


async def test_framing_that_is_refused_reaches_no_upstream(front: Front) -> None:
    for headers in FRAMINGS:
        assert (await front.get("/public/", *headers)).status == 400
    assert front.origin.heads == []


OVERRIDDEN = [
    ([{"methods": ["GET"], "require": "public"}], "/", False),
    ([{"path": "/x"}], "/", True),
    ([{"path": "/x/*", "methods": ["DELETE"], "require": "deny"}], "/a", True),
    # With DELETE, the first rule would have decided, so the method mattered.
    ([{"path": "/x/*", "methods": ["DELETE"], "require": "deny"}], "/x/a", False),
    ([{"methods": ["DELETE"], "host": "other.test", "require": "deny"}], "/", True),
    (
        [{"path": "/x/*", "require": "public"}, {"methods": ["DELETE"], "require": "deny"}],
        "/x",
        True,
    ),
]


@pytest.mark.parametrize(("rules", "target", "passes"), OVERRIDDEN)
async def test_method_overrides_are_removed_if_a_rule_names_methods(
    fronts: Build, rules: list[Any], target: str, passes: bool
) -> None:
    override = (b"x-http-method-override", b"DELETE")
    lookalike = (b"x_http_method", b"DELETE")
    front = await fronts(access={"default": "public", "rules": rules})
    assert (await front.get(target, override, lookalike)).status == 200
    assert (b"DELETE" in front.origin.heads[-1]) == passes


def test_hop_by_hop_headers_of_an_answer_are_removed() -> None:
    headers = [
        (b"Connection", b"X-Hop"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"X-Hop", b"1"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"Upgrade", b"h2"),
    ]
    headers.append((b"DATE", b"now"))
    kept = answer_headers(headers, lambda line: line.startswith(b"doorward="))
    assert kept == [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"DATE", b"now")]


@pytest.mark.parametrize("name", corpus("identity_headers.txt"), ids=ascii)
@pytest.mark.parametrize("spell", [bytes, bytes.upper, bytes.title])
def test_identity_headers_are_removed_from_answers(name: bytes, spell: Any) -> None:
    """Headers that are removed from requests, in any spelling, are also removed from answers,
    including 1xx."""
    if not is_identity_name(name):
        return  # the request's path, which is harmless in answers
    headers = [(spell(name), b"root"), (b"X-A", b"1"), (b"X-Request-Id", b"2")]
    for kept in (answer_headers(headers, lambda line: False), interim_headers(headers)):
        assert kept == headers[1:]


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
def test_an_interim_answer_has_no_body_headers(name: bytes) -> None:
    """RFC 9110 8.6: it has no body, and a client that reads one would use the next answer for
    it."""
    kept = interim_headers([(name, b"4"), (b"Link", b"</a>"), (b"Transfer-Encoding", b"chunked")])
    assert kept == [(b"Link", b"</a>")]


def test_the_cache_of_header_names_is_bounded() -> None:
    """As for CVE-2023-30798: everything that a client can repeat is bounded."""
    from doorward.http1 import headers

    for number in range(10_000):
        parse_headers([(b"x-%d" % number, b"")])
    assert len(headers._ACTIONS) <= headers._ACTIONS_LIMIT
    parse_headers([(b"x-long-%d-" % number + b"x" * 5000, b"") for number in range(20)])
    assert max(map(len, headers._ACTIONS)) < 100


async def test_the_cache_of_forwarded_addresses_is_bounded(fronts: Build, origin: Origin) -> None:
    """As for CVE-2023-30798: a trusted proxy forwards a chain of any length."""
    from doorward.gate import addresses

    public = {"access": {"default": "public"}}
    front = await fronts(trusted_proxies=["10.0.0.0/8"], **public)
    known = addresses._parsed.cache_info().currsize
    chain = b"x" * 5000 + b", 192.0.2.9"
    assert (await front.get("/", (b"x-forwarded-for", chain), peer="10.0.0.1")).status == 200
    assert values_of(origin.heads[-1], b"x-forwarded-for") == [chain + b", 10.0.0.1"]
    port = (b"x-forwarded-port", b"9" * 5000)
    assert (await front.get("/", port, peer="10.0.0.1")).status == 200
    assert values_of(origin.heads[-1], b"x-forwarded-port") == [b"80"]
    assert (await front.get("/", (b"x-forwarded-for", b"y" * 5000), peer="10.0.0.1")).status == 200
    assert addresses._parsed.cache_info().currsize <= known + 2  # only the two peers
    assert addresses.parse_address("1.2.3.4" + " " * 5000) is None
