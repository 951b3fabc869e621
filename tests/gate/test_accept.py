"""Who connected and under which host: believed from listed peers only, read from the right."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from doorward.gate.accept import Accept, parse_address
from doorward.gate.targets import Unfit
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Header, corpus
from tests.gate.conftest import TRUSTED, accepted, arrival

BEHIND_A_PROXY = Accept(tuple(ip_network(one) for one in TRUSTED), lambda host: True)


def through(*headers: Header, peer: str = "10.0.0.1") -> tuple[str, str, str]:
    """Address, scheme and authority of a request that came over this peer."""
    request = BEHIND_A_PROXY(arrival(headers=[(b"host", b"app.test"), *headers], peer=peer))
    return request.address_text, request.scheme, request.authority


@pytest.mark.parametrize("host", corpus("hosts_refused.txt"), ids=ascii)
def test_a_malformed_host_is_400(host: bytes) -> None:
    """CVE-2022-21697, CVE-2024-35225: a host that is checked in one form and used in another."""
    with pytest.raises(Unfit) as caught:
        accepted(headers=[(b"host", host)])
    assert caught.value.status == 400


@pytest.mark.parametrize("hosts", [[], [b"app.test", b"app.test"], [b"app.test", b"other.test"]])
def test_one_host_and_no_other_number_of_them(hosts: list[bytes]) -> None:
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


def test_a_host_that_no_route_answers_for_is_421() -> None:
    """CVE-2026-77560: a lookup that misses is no permission."""
    with pytest.raises(Unfit) as caught:
        Accept((), lambda host: False)(arrival())
    assert caught.value.status == 421


def test_an_absolute_target_names_the_host_that_was_asked() -> None:
    assert accepted(b"http://app.test/x?y").target == b"/x?y"
    assert accepted(b"http://APP.test").target == b"/"
    assert accepted(b"http://app.test?x").target == b"/?x"
    other = accepted(b"http://other.test/x")  # RFC 9112 3.2.2: whatever Host says
    assert (other.host, other.scan.hosts) == ("other.test", [b"other.test"])
    for target in (b"http:///x", b"http://u:p@app.test/", b"ftp://app.test/", b"http://a b/"):
        with pytest.raises(Unfit):
            accepted(target)


@pytest.mark.parametrize("method", [b"", b"G T", b"GET\r\n", b"G" * 33, b"G:T", b"\xc3\xa9"])
def test_a_method_is_a_token(method: bytes) -> None:
    with pytest.raises(Unfit):
        accepted(method=method)


# The chain


def test_a_stranger_is_believed_nothing() -> None:
    """CVE-2023-36456, CVE-2024-21494, CVE-2024-21498, CVE-2024-21499: forwarded headers believed
    from anyone; CVE-2026-40575: a client's own X-Forwarded-Uri."""
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
    """CVE-2024-47070: an unparseable X-Forwarded-For is an error of nobody's; the hop that passed
    it on is as far as one can see."""
    assert through((b"x-forwarded-for", chain))[0] == address


def test_a_chain_over_several_lines_is_one_chain() -> None:
    lines = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-for", b"203.0.113.9")]
    assert through(*lines)[0] == "203.0.113.9"


def test_a_trusted_peer_is_known_in_its_mapped_form_too() -> None:
    """GHSA-7jmw-8259-q9jx: IPv4-mapped IPv6 misses an IP list."""
    assert through((b"x-forwarded-for", b"203.0.113.9"), peer="::ffff:10.0.0.1")[0] == "203.0.113.9"


def test_nobody_knows_the_address_behind_a_unix_socket() -> None:
    assert through((b"x-forwarded-for", b"203.0.113.9"), peer="")[0] == ""


@pytest.mark.parametrize(
    ("said", "scheme"),
    [(b"https", "https"), (b"HTTPS", "https"), (b"http, https", "https"), (b"javascript", "http")],
)
def test_a_trusted_peer_tells_the_scheme(said: bytes, scheme: str) -> None:
    assert through((b"x-forwarded-proto", said))[1] == scheme


def test_a_trusted_peer_tells_the_host_and_it_is_checked_like_one() -> None:
    assert through((b"x-forwarded-host", b"Wiki.test:81"))[2] == "wiki.test:81"
    assert through((b"x-forwarded-host", b"evil.test, wiki.test"))[2] == "wiki.test"
    with pytest.raises(Unfit):
        through((b"x-forwarded-host", b"evil.test/@wiki.test"))


@pytest.mark.parametrize("said", [b"", b"a b", b"a\r\nb", b"x" * 129, b"\xff", b"<script>"])
def test_a_request_id_that_is_none_is_made_anew(said: bytes) -> None:
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
def test_what_a_client_writes_before_the_first_stranger_is_never_looked_at(
    forged: list[str], chain: list[str]
) -> None:
    def address(entries: list[str]) -> str:
        return through((b"x-forwarded-for", ",".join(entries).encode()))[0]

    honest = address(["203.0.113.9", *chain])
    assert address([*forged, "203.0.113.9", *chain]) == honest


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_none(text: str) -> None:
    found = parse_address(text)
    assert found is None or found == ip_address(str(found))


@given(st.binary(max_size=60))
def test_any_host_is_matched_as_asked_or_refused(host: bytes) -> None:
    try:
        request = accepted(headers=[(b"host", host)])
    except Unfit as refused:
        assert refused.status == 400
    else:
        assert request.authority == host.strip(b" \t").decode().lower()
        assert request.authority.startswith(request.host)
