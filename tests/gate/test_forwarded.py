"""`Forwarded` (RFC 7239): refused if a part is malformed, trusted only from listed peers, and never
in contradiction to X-Forwarded-*; and peers behind a Unix socket."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from doorward.gate.accept import Accept, Accepted
from doorward.gate.forwarded import BadForwarded, ForwardedElement, read_forwarded
from doorward.gate.targets import Unfit
from doorward.settings import InvalidSettings, Settings, settings_from
from hypothesis import given
from hypothesis import strategies as st

from tests.support.front import TRUSTED, Build, arrival
from tests.support.wire import Header

NETWORKS = tuple(ip_network(one) for one in TRUSTED)
BEHIND_A_PROXY = Accept(NETWORKS, lambda host: True)
BEHIND_A_SOCKET = Accept((*NETWORKS, "unix"), lambda host: True)


def asked(*headers: Header, peer: str = "10.0.0.1", accept: Accept = BEHIND_A_PROXY) -> Accepted:
    return accept(arrival(headers=[(b"host", b"app.test"), *headers], peer=peer))


def through(line: bytes, *more: Header, **options: Any) -> tuple[str, str, str]:
    """Address, scheme and authority of a request with this Forwarded."""
    request = asked((b"forwarded", line), *more, **options)
    return request.address_text, request.scheme, request.authority


# The syntax


@pytest.mark.parametrize(
    ("line", "hops"),
    [
        (b"", []),
        (b" , ;, ", []),
        (b"for=192.0.2.60;proto=http;by=203.0.113.43", [ForwardedElement(b"192.0.2.60", b"http")]),
        (b'FOR="[2001:db8:cafe::17]:4711"', [ForwardedElement(b"[2001:db8:cafe::17]:4711")]),
        (
            b"for=192.0.2.43, for=198.51.100.17",
            [ForwardedElement(b"192.0.2.43"), ForwardedElement(b"198.51.100.17")],
        ),
        (
            b"for=192.0.2.43 ;\tproto=https ,host=a",
            [ForwardedElement(b"192.0.2.43", b"https"), ForwardedElement(host=b"a")],
        ),
        (
            b'for=_hidden;host="a \\"b\\" \\\\c, d"',
            [ForwardedElement(b"_hidden", None, b'a "b" \\c, d')],
        ),
        (b"for=[2001:db8::1]:80;secret=x", [ForwardedElement(b"[2001:db8::1]:80")]),
        (b'for=""', [ForwardedElement(b"")]),
    ],
)
def test_hops_are_parsed_in_order(line: bytes, hops: list[ForwardedElement]) -> None:
    assert read_forwarded([line]) == hops
    assert read_forwarded([line, b"for=1.2.3.4"]) == [*hops, ForwardedElement(b"1.2.3.4")]


@pytest.mark.parametrize(
    "line",
    [
        b"for",
        b"for=",
        b"=x",
        b'for="x',
        b'for="x"y',
        b"for=a b",
        b"for=a;for=b",
        b"for=a;FOR=b",
        b'for="a\x00"',
        b"for=a/b",
        b"192.0.2.1",
        b'for="x, for=203.0.113.9',
        b'for=x", for=203.0.113.9',
        b'for="x\\", for=203.0.113.9',
        b"for=a, ?",
        b"for =a",
        b"\xff",
    ],
)
def test_one_malformed_part_invalidates_the_whole_header(line: bytes) -> None:
    """A malformed beginning, written by a client, may swallow the end, written by a proxy."""
    with pytest.raises(BadForwarded):
        read_forwarded([line])
    with pytest.raises(Unfit) as caught:
        through(line)
    assert caught.value.status == 400


tokens = st.text("abcXYZ019.-_!#$%&'*+^`|~", min_size=1, max_size=12)
strings = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@st.composite
def elements(draw: st.DrawFn) -> tuple[str, ForwardedElement]:
    """One element in a proxy's spelling, and its meaning."""
    found: dict[str, str] = {}
    parts = []
    for name in draw(st.permutations(["for", "proto", "host", "by"]))[: draw(st.integers(1, 4))]:
        is_token = draw(st.booleans())
        value = draw(tokens if is_token else strings)
        found[name] = value
        spelt = draw(st.sampled_from([name, name.upper()]))
        parts.append(f"{spelt}={value if is_token else quoted(value)}")
    space = draw(st.sampled_from(["", " ", "\t"]))
    values = [found[name].encode() if name in found else None for name in ("for", "proto", "host")]
    return f"{space};{space}".join(parts), ForwardedElement(*values)


@given(st.lists(elements(), max_size=5))
def test_any_valid_header_is_parsed(written: list[tuple[str, ForwardedElement]]) -> None:
    line = ", ".join(text for text, _ in written).encode()
    assert read_forwarded([line]) == [hop for _, hop in written]
    assert read_forwarded([text.encode() for text, _ in written]) == [hop for _, hop in written]


@given(st.binary(max_size=80) | st.text('for="\\;, =x', max_size=60).map(str.encode))
def test_any_bytes_are_parsed_or_refused(line: bytes) -> None:
    try:
        hops = read_forwarded([line])
    except BadForwarded:
        return
    assert len(hops) <= line.count(b"=")


# What is trusted


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"for=203.0.113.9", ("203.0.113.9", "http", "app.test")),
        (b'for="203.0.113.9:4711"', ("203.0.113.9", "http", "app.test")),
        (b'for="[2001:db8::9]:4711"', ("2001:db8::9", "http", "app.test")),
        (b'for="::ffff:203.0.113.9"', ("203.0.113.9", "http", "app.test")),
        (b"for=198.51.100.1, for=203.0.113.9", ("203.0.113.9", "http", "app.test")),
        (
            b"for=203.0.113.9;proto=https;host=Wiki.test, for=10.0.0.7;proto=http;host=inner.test",
            ("203.0.113.9", "https", "wiki.test"),
        ),
        (
            b"for=198.51.100.1;proto=https;host=evil.test, for=203.0.113.9",
            ("203.0.113.9", "http", "app.test"),
        ),
        (b"for=203.0.113.9, for=10.0.0.7;proto=https", ("203.0.113.9", "https", "app.test")),
        (b"proto=https", ("10.0.0.1", "https", "app.test")),
        (b"for=unknown", ("10.0.0.1", "http", "app.test")),
        (b"for=203.0.113.9, for=unknown", ("10.0.0.1", "http", "app.test")),
        (b"for=203.0.113.9, for=_gazonk, for=10.0.0.7", ("10.0.0.7", "http", "app.test")),
        (b'for="203.0.113.9, 10.0.0.7"', ("10.0.0.1", "http", "app.test")),
        (b"for=203.0.113.9;proto=wss", ("203.0.113.9", "https", "app.test")),
        (b"", ("10.0.0.1", "http", "app.test")),
    ],
)
def test_the_hops_of_trusted_proxies_are_trusted(line: bytes, found: tuple[str, ...]) -> None:
    """The outermost trusted proxy received the client's request."""
    assert through(line) == found


def test_headers_of_an_untrusted_peer_are_not_even_read() -> None:
    for line in (b"for=10.0.0.1;proto=https;host=admin.test", b'for="'):
        assert through(line, peer="192.0.2.1") == ("192.0.2.1", "http", "app.test")


def test_an_invalid_host_is_refused() -> None:
    with pytest.raises(Unfit):
        through(b'for=203.0.113.9;host="evil.test/@wiki.test"')


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (b"for=10.0.0.9", [(b"x-forwarded-for", b"203.0.113.9")]),
        (b"for=203.0.113.9", [(b"x-forwarded-for", b"10.0.0.9")]),
        (b"for=unknown", [(b"x-forwarded-for", b"203.0.113.9")]),
        (b"for=203.0.113.9;proto=https", [(b"x-forwarded-for", b"203.0.113.9")]),
        (b"for=203.0.113.9;host=b.test", [(b"x-forwarded-for", b"203.0.113.9")]),
        (b"for=203.0.113.9", [(b"x-forwarded-proto", b"https")]),
        (b"proto=http", [(b"x-forwarded-proto", b"https")]),
        (b"host=a.test", [(b"x-forwarded-host", b"b.test")]),
    ],
)
def test_two_headers_that_differ_are_refused(line: bytes, more: list[Header]) -> None:
    """Most proxies set one and forward the other, so with any preference, some clients could forge
    it."""
    with pytest.raises(Unfit) as caught:
        through(line, *more)
    assert caught.value.status == 400


def test_two_headers_that_agree_are_used() -> None:
    both = (
        b"for=198.51.100.1, for=203.0.113.9;proto=https;host=Wiki.test, for=10.0.0.7",
        (b"x-forwarded-for", b"203.0.113.9, 10.0.0.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"wiki.test"),
    )
    assert through(*both) == ("203.0.113.9", "https", "wiki.test")


nodes = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(network="10.0.0.0/8").map(str),
    st.sampled_from(["unknown", "_hidden", "10.0.0.1:80", "300.1.1.1"]),
)


@given(st.lists(nodes, max_size=6), st.lists(nodes, max_size=3))
def test_hops_beyond_the_first_untrusted_one_change_nothing(
    forged: list[str], chain: list[str]
) -> None:
    def found(entries: list[str]) -> tuple[str, str, str]:
        return through(", ".join(f"for={quoted(entry)}" for entry in entries).encode())

    assert found([*forged, "203.0.113.9", *chain]) == found(["203.0.113.9", *chain])


@given(st.lists(nodes, max_size=5))
def test_both_headers_lead_to_the_same_client(chain: list[str]) -> None:
    line = ", ".join(f"for={quoted(entry)}" for entry in chain).encode()
    plain = asked((b"x-forwarded-for", ", ".join(chain).encode()))
    assert through(line)[0] == plain.address_text


async def test_the_application_gets_x_forwarded_for_but_not_forwarded(fronts: Build) -> None:
    front = await fronts(trusted_proxies=["10.0.0.0/8"], access={"default": "public"})
    line = b'for="[2001:db8::9]:1", for="203.0.113.9, 10.9.9.9", for=10.0.0.7;proto=https'
    await front.get("/", (b"forwarded", line), peer="10.0.0.1")
    head = front.origin.heads[0]
    assert b"x-forwarded-for: unknown, 10.0.0.7, 10.0.0.1\r\n" in head
    assert b"x-real-ip: 10.0.0.7\r\n" in head
    assert b"x-forwarded-proto: https\r\n" in head
    assert b"\r\nforwarded:" not in head


# Peers on a Unix socket


def test_a_unix_peer_is_trusted_only_if_it_is_listed() -> None:
    line = b"for=203.0.113.9;proto=https"
    assert through(line, peer="") == ("", "http", "app.test")
    assert through(line, peer="", accept=BEHIND_A_SOCKET) == ("203.0.113.9", "https", "app.test")
    assert asked((b"x-forwarded-for", b"203.0.113.9"), peer="", accept=BEHIND_A_SOCKET).trusted


@pytest.mark.parametrize("chain", [b"", b"unknown", b"203.0.113.9, unknown"])
def test_a_unix_peer_without_an_address_leaves_the_client_unknown(chain: bytes) -> None:
    request = asked((b"x-forwarded-for", chain), peer="", accept=BEHIND_A_SOCKET)
    assert (request.address, request.address_text) == (None, "")


async def test_a_unix_peer_is_not_added_to_the_chain(fronts: Build) -> None:
    front = await fronts(
        listen="unix:/run/door.sock",
        public_url="http://app.test",
        trusted_proxies=["unix"],
        access={"default": "public"},
    )
    await front.get("/", (b"x-forwarded-for", b"203.0.113.9"), peer="")
    assert b"x-forwarded-for: 203.0.113.9\r\n" in front.origin.heads[0]


# Settings


def settings(listen: str, *trusted: str) -> Settings:
    values = {
        "listen": listen,
        "public_url": "http://app.test",
        "trusted_proxies": list(trusted),
        "routes": [{"upstream": "http://127.0.0.1:9"}],
    }
    return settings_from(values)


def test_unix_in_trusted_proxies_needs_a_unix_listener() -> None:
    assert settings("unix:/run/door.sock", "unix", "unix:").trusted_proxies == ("unix", "unix")
    with pytest.raises(InvalidSettings, match="listen is no unix socket"):
        settings("127.0.0.1:80", "unix")


@pytest.mark.parametrize(
    "trusted",
    [
        ("0.0.0.0/0",),
        ("::/0",),
        ("0.0.0.0/1", "128.0.0.0/1"),
        ("0.0.0.0/1", "10.0.0.0/8", "128.0.0.0/2", "192.0.0.0/2"),
        ("::/1", "8000::/1"),
    ],
)
def test_trusting_every_address_is_refused_unless_only_this_machine_can_connect(
    trusted: tuple[str, ...],
) -> None:
    for listen in ("0.0.0.0:80", "[::]:80", "192.0.2.1:80"):
        with pytest.raises(InvalidSettings, match="every client choose its own address"):
            settings(listen, *trusted)
    assert len(settings("127.0.0.1:80", *trusted).trusted_proxies) == len(trusted)
