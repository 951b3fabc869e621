"""The client and the requested host: forwarded values count only from trusted peers, read from the
right."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from doorward.gate.accept import Accept, Accepted, parse_address
from doorward.gate.targets import Unfit
from doorward.http1.arrival import Arrival
from doorward.http1.headers import _READ
from hypothesis import given
from hypothesis import strategies as st

from tests.support.corpora import corpus
from tests.support.front import TRUSTED, accepted, arrival
from tests.support.wire import Header

BEHIND_A_PROXY = Accept(tuple(ip_network(one) for one in TRUSTED), lambda host: True)


def through(*headers: Header, peer: str = "10.0.0.1") -> tuple[str, str, str]:
    """Address, scheme and authority of a request from this peer."""
    request = BEHIND_A_PROXY(arrival(headers=[(b"host", b"app.test"), *headers], peer=peer))
    return request.address_text, request.scheme, request.authority


@pytest.mark.parametrize("host", corpus("hosts_refused.txt"), ids=ascii)
def test_a_malformed_host_is_400(host: bytes) -> None:
    """CVE-2022-21697, CVE-2024-35225: a host was checked in one form and used in another."""
    with pytest.raises(Unfit) as caught:
        accepted(headers=[(b"host", host)])
    assert caught.value.status == 400


@pytest.mark.parametrize("hosts", [[], [b"app.test", b"app.test"], [b"app.test", b"other.test"]])
def test_a_request_has_exactly_one_host(hosts: list[bytes]) -> None:
    with pytest.raises(Unfit) as caught:
        accepted(headers=[(b"host", host) for host in hosts])
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("host", "matched"),
    [
        (b"app.test", "app.test"),
        (b"APP.Test:8080", "app.test"),
        (b"app.test.", "app.test"),
        (b"[::1]:80", "[::1]"),
        (b"192.0.2.1", "192.0.2.1"),
        (b"my_app", "my_app"),
    ],
)
def test_a_host_is_matched_in_lower_case_without_port(host: bytes, matched: str) -> None:
    """CVE-2026-48794, CVE-2026-77560, CVE-2026-27588: hosts compared with their case."""
    assert accepted(headers=[(b"host", host)]).host == matched


def test_a_host_without_a_route_is_421() -> None:
    """CVE-2026-77560: an unknown host counted as permission."""
    with pytest.raises(Unfit) as caught:
        Accept((), lambda host: False)(arrival())
    assert caught.value.status == 421


def test_an_absolute_target_must_agree_with_the_host() -> None:
    assert accepted(b"http://app.test/x?y").target == b"/x?y"
    assert accepted(b"http://APP.test").target == b"/"
    assert accepted(b"http://app.test?x").target == b"/?x"
    other = accepted(b"http://other.test:81/x")  # RFC 9112 3.2.2: Host is ignored
    assert (other.host, other.authority) == ("other.test", "other.test:81")
    for target in (b"http:///x", b"http://u:p@app.test/", b"ftp://app.test/", b"http://a b/"):
        with pytest.raises(Unfit):
            accepted(target)


@pytest.mark.parametrize("method", [b"", b"G T", b"GET\r\n", b"G" * 33, b"G:T", b"\xc3\xa9"])
def test_a_method_that_is_no_token_is_refused(method: bytes) -> None:
    with pytest.raises(Unfit):
        accepted(method=method)


# The chain


def test_headers_of_an_untrusted_peer_are_ignored() -> None:
    """CVE-2023-36456, CVE-2024-21494, CVE-2024-21498, CVE-2024-21499: forwarded headers were
    trusted from any peer; CVE-2026-40575: a client's own X-Forwarded-Uri."""
    said: list[Header] = [
        (b"x-forwarded-for", b"203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"admin.test"),
        (b"forwarded", b"for=203.0.113.9;host=admin.test;proto=https"),
        (b"x-real-ip", b"203.0.113.9"),
        (b"x-request-id", b"chosen"),
    ]
    assert through(*said, peer="192.0.2.1") == ("192.0.2.1", "http", "app.test")
    request = BEHIND_A_PROXY(arrival(headers=[(b"host", b"a"), *said], peer="192.0.2.1"))
    assert request.request_id != "chosen"


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        (b"203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9, 10.0.0.7", "203.0.113.9"),
        (b"198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (b"10.0.0.9, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        (b"10.0.0.9, 10.0.0.7", "10.0.0.9"),
        (b"unknown", "10.0.0.1"),
        (b"203.0.113.9, unknown", "10.0.0.1"),
        (b"203.0.113.9, unknown, 10.0.0.7", "10.0.0.7"),
        (b"203.0.113.9,", "10.0.0.1"),
        (b"", "10.0.0.1"),
        (b",,,", "10.0.0.1"),
        (b"203.0.113.9:4711", "203.0.113.9"),
        (b"[2001:db8::9]:4711", "2001:db8::9"),
        (b"2001:db8::9", "2001:db8::9"),
        (b"::ffff:203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9, ::ffff:10.0.0.7", "203.0.113.9"),
        (b"fe80::1%eth0", "fe80::1"),
        (b"\xff\xfe", "10.0.0.1"),
        (b"127.1", "10.0.0.1"),
        (b"0x7f000001", "10.0.0.1"),
    ],
)
def test_a_trusted_chain_is_read_from_the_right(chain: bytes, address: str) -> None:
    """CVE-2024-47070: an X-Forwarded-For that could not be parsed bypassed the login. Here, the hop
    that passed it on counts as the client."""
    assert through((b"x-forwarded-for", chain))[0] == address


def test_a_chain_over_several_lines_is_one_chain() -> None:
    lines = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-for", b"203.0.113.9")]
    assert through(*lines)[0] == "203.0.113.9"


def test_a_trusted_peer_is_recognized_as_ipv4_mapped_ipv6() -> None:
    """GHSA-7jmw-8259-q9jx: IPv4-mapped IPv6 bypassed a list of addresses."""
    assert through((b"x-forwarded-for", b"203.0.113.9"), peer="::ffff:10.0.0.1")[0] == "203.0.113.9"


def test_a_unix_socket_peer_has_no_address() -> None:
    assert through((b"x-forwarded-for", b"203.0.113.9"), peer="")[0] == ""


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        (b"https", "https"),
        (b"HTTPS", "https"),
        (b"http, https", "https"),
        (b"wss", "https"),
        (b"WS", "http"),
    ],
)
def test_a_trusted_peer_sets_the_scheme(said: bytes, scheme: str) -> None:
    assert through((b"x-forwarded-proto", said))[1] == scheme


@pytest.mark.parametrize("said", [b"javascript", b"", b"h2", b"https:", b"https, ", b"https;a=b"])
@pytest.mark.parametrize("name", [b"x-forwarded-proto", b"forwarded"])
def test_an_unknown_scheme_is_refused(name: bytes, said: bytes) -> None:
    """CVE-2024-21499: an invalid scheme."""
    value = b'proto="%b"' % said if name == b"forwarded" else said
    with pytest.raises(Unfit) as caught:
        through((name, value))
    assert caught.value.status == 400
    assert through((name, value), peer="192.0.2.1")[1] == "http"


def test_a_forwarded_host_is_checked_like_host() -> None:
    assert through((b"x-forwarded-host", b"Wiki.test:81"))[2] == "wiki.test:81"
    assert through((b"x-forwarded-host", b"evil.test, wiki.test"))[2] == "wiki.test"
    with pytest.raises(Unfit):
        through((b"x-forwarded-host", b"evil.test/@wiki.test"))


# Every header of a proxy has one reading

BELIEVING = Accept(
    tuple(ip_network(one) for one in TRUSTED),
    lambda host: True,
    "https://app.test:8443",
    ("x-forwarded-port", "x-forwarded-prefix"),
)
TOLD = {
    b"x-forwarded-proto": (b"https", b"http"),
    b"x-forwarded-host": (b"a.test", b"b.test"),
    b"x-forwarded-port": (b"444", b"445"),
    b"x-forwarded-prefix": (b"/a", b"/b"),
}


def told(*headers: Header, accept: Accept = BELIEVING, host: bytes = b"app.test") -> Accepted:
    return accept(arrival(headers=[(b"host", host), *headers], peer="10.0.0.1"))


@pytest.mark.parametrize(("name", "values"), TOLD.items(), ids=lambda one: str(one))
def test_several_lines_of_one_header_agree_or_are_refused(
    name: bytes, values: tuple[bytes, bytes]
) -> None:
    """One of them may be the client's, and proxies disagree about the order."""
    one, other = values
    alone = told((name, one)).hop
    assert told((name, one), (name, one)).hop == alone
    assert told((name, other + b", " + one)).hop == alone  # the nearest proxy's is last
    assert told((name, other + b" ," + one), (name, one)).hop == alone
    for lines in ([one, other], [other, one], [one, b""], [one, one, other]):
        with pytest.raises(Unfit) as caught:
            told(*((name, line) for line in lines))
        assert caught.value.status == 400


def test_every_forwarding_header_is_tested_for_repetition() -> None:
    """A new header has to be added to the table above."""
    proxies = {name for name, fate in _READ.items() if fate.name.startswith("FORWARDED")}
    assert proxies == TOLD.keys() | {b"forwarded", b"x-forwarded-for"}


@pytest.mark.parametrize(
    ("host", "headers", "port"),
    [
        (b"app.test:81", [], "81"),
        (b"app.test:081", [], "81"),
        (b"app.test", [], "80"),
        (b"app.test", [(b"x-forwarded-proto", b"https")], "8443"),  # as in public_url
        (b"other.test", [(b"x-forwarded-proto", b"https")], "443"),
        (b"app.test", [(b"x-forwarded-host", b"app.test:90")], "90"),
        (b"app.test:81", [(b"x-forwarded-host", b"other.test")], "80"),
        (b"[::1]", [], "80"),
        (b"[::1]:81", [], "81"),
    ],
)
def test_the_port_is_taken_from_the_host(host: bytes, headers: list[Header], port: str) -> None:
    assert told(*headers, host=host).hop.port == port
    believed = told(*headers, (b"x-forwarded-port", port.encode()), host=host)
    assert believed.hop.port == port


def test_a_forwarded_port_must_agree_with_the_hosts() -> None:
    port = (b"x-forwarded-port", b"0444")
    assert told(port).hop.port == "444"
    assert told(port, host=b"app.test:444").hop.port == "444"
    with pytest.raises(Unfit):
        told(port, host=b"app.test:445")


@pytest.mark.parametrize(
    "port", [b"", b"0", b"00000", b"65536", b"100000", b"-1", b"+1", b"8 0", b"80;", b"\xd9\xa5"]
)
def test_an_invalid_forwarded_port_is_refused(port: bytes) -> None:
    with pytest.raises(Unfit):
        told((b"x-forwarded-port", port))
    assert told((b"x-forwarded-port", port), accept=BEHIND_A_PROXY).hop.port == "80"


@pytest.mark.parametrize(
    ("said", "prefix"), [(b"/wiki", "/wiki"), (b"/a/b.c/", "/a/b.c"), (b"/", ""), (b"/~u", "/~u")]
)
def test_a_prefix_from_a_trusted_proxy_is_used(said: bytes, prefix: str) -> None:
    assert told((b"x-forwarded-prefix", said)).hop.prefix == prefix


NO_PREFIXES = (
    rb"|wiki|//evil.test|/a//b|/\evil.test|/a\b|/a?b|/a#b|/a b|/a%2fb|/..|/a/../b|/./a|/a/.|http://x"
    rb'|/<script>|/a"b|/\xff|/a//'
)


@pytest.mark.parametrize("prefix", [*NO_PREFIXES.split(b"|"), b"/\xff", b"/" + b"a" * 256])
def test_an_ambiguous_forwarded_prefix_is_refused(prefix: bytes) -> None:
    """CVE-2026-35051, CVE-2026-54764."""
    with pytest.raises(Unfit):
        told((b"x-forwarded-prefix", prefix))
    assert told((b"x-forwarded-prefix", prefix), accept=BEHIND_A_PROXY).hop.prefix == ""


# HTTP/1.0 without Host


def test_http_1_0_without_host_uses_the_host_of_public_url() -> None:
    bare = Arrival(b"GET", b"/", [], "192.0.2.1", "https", is_http_1_0=True)
    request = BELIEVING(bare)
    assert (request.host, request.authority, request.hop.port) == (
        "app.test",
        "app.test:8443",
        "8443",
    )
    with pytest.raises(Unfit):
        BELIEVING(replace(bare, is_http_1_0=False))
    with pytest.raises(Unfit):
        BELIEVING(replace(bare, headers=[(b"host", b"a"), (b"host", b"a")]))
    with pytest.raises(Unfit):
        BELIEVING(replace(bare, headers=[(b"host", b"")]))


@pytest.mark.parametrize("said", [b"", b"a b", b"a\r\nb", b"x" * 129, b"\xff", b"<script>"])
def test_an_invalid_request_id_is_replaced(said: bytes) -> None:
    request = BEHIND_A_PROXY(
        arrival(headers=[(b"host", b"a"), (b"x-request-id", said)], peer="10.0.0.1")
    )
    assert request.request_id.isalnum()


def test_request_ids_differ() -> None:
    assert len({accepted().request_id for _ in range(1000)}) == 1000


addresses = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(network="10.0.0.0/8").map(str),
    st.sampled_from(["unknown", "", "_hidden", "10.0.0.1:80", "300.1.1.1", "a b"]),
)


@given(st.lists(addresses, max_size=6), st.lists(addresses, max_size=3))
def test_hops_beyond_the_first_untrusted_one_are_never_parsed(
    forged: list[str], chain: list[str]
) -> None:
    def address(entries: list[str]) -> str:
        return through((b"x-forwarded-for", ",".join(entries).encode()))[0]

    honest = address(["203.0.113.9", *chain])
    assert address([*forged, "203.0.113.9", *chain]) == honest


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused_as_an_address(text: str) -> None:
    found = parse_address(text)
    assert found is None or found == ip_address(str(found))


@given(st.binary(max_size=60))
def test_any_host_is_matched_as_sent_or_refused(host: bytes) -> None:
    try:
        request = accepted(headers=[(b"host", host)])
    except Unfit as refused:
        assert refused.status == 400
    else:
        assert request.authority == host.strip(b" \t").decode().lower()
        assert request.authority.startswith(request.host)
