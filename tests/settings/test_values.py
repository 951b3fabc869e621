"""Durations, sizes, addresses and names: valid forms, and that formatted values parse to the same
value."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts import names as accounts
from doorward.settings import Listen, Upstream, addresses, names, patterns, values
from doorward.settings.faults import Wrong
from doorward.text import fold
from hypothesis import given
from hypothesis import strategies as st

HERE = Path("/etc/doorward")
PORTS = st.integers(1, 65535)
HOSTS = st.from_regex(r"[a-z][a-z0-9]{0,20}(\.[a-z][a-z0-9]{0,10}){0,3}", fullmatch=True)
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text()), st.just({"a": 1})
)

DURATIONS = {
    "500ms": timedelta(milliseconds=500),
    "30s": timedelta(seconds=30),
    "5m": timedelta(minutes=5),
    "12h": timedelta(hours=12),
    "30d": timedelta(days=30),
    "1h30m": timedelta(minutes=90),
    "1d2h3m4s5ms": timedelta(1, 7384, 5000),
    "87660h": timedelta(days=3652.5),
}


@pytest.mark.parametrize("text", DURATIONS)
def test_a_duration_is_numbers_with_units(text: str) -> None:
    assert values.duration(text) == DURATIONS[text]


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "5 m", "5M", "-5m", "1.5h", "5m5h", "5m5m", "\u0661s", "5m\n", 5, 0, None, True],
)
def test_nothing_else_is_a_duration(text: object) -> None:
    with pytest.raises(Wrong):
        values.duration(text)


def test_a_duration_beyond_dates_is_refused() -> None:
    with pytest.raises(Wrong, match="thousand years"):
        values.duration("999999999999d")


@given(st.integers(0, 10**13))
def test_every_duration_reads_back_as_written(total_ms: int) -> None:
    length = timedelta(milliseconds=total_ms)
    assert values.duration_or_zero(values.format_duration(length)) == length


@given(st.integers(1, 10**15))
def test_every_size_reads_back_as_written(size: int) -> None:
    assert values.size(values.format_size(size)) == size
    assert values.size(size) == size


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65536), ("1 MiB", 1048576), ("7B", 7), ("7", 7), ("2TiB", 2 << 40)]
)
def test_a_size_is_a_number_with_a_binary_unit(text: str, size: int) -> None:
    assert values.size(text) == size


@pytest.mark.parametrize("text", ["64KB", "64kib", "1.5MiB", "-1", "KiB", "", True, None, "5 q"])
def test_nothing_else_is_a_size(text: object) -> None:
    with pytest.raises(Wrong):
        values.size(text)


@pytest.mark.parametrize("word", [False, "off", "OFF", "false", "no", "none"])
def test_off_false_no_and_none_are_the_same(word: object) -> None:
    assert values.is_off(word)


@given(HOSTS, st.integers(0, 65535))
def test_every_listener_reads_back_as_written(host: str, port: int) -> None:
    listen = addresses.listen(f"{host}:{port}", HERE)
    assert listen == Listen(host, port)
    assert addresses.listen(str(listen), HERE) == listen


@given(st.ip_addresses(), PORTS)
def test_every_address_and_port_is_listener_and_upstream(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    place = f"{addresses.add_brackets(str(address))}:{port}"
    assert addresses.listen(place, HERE) == Listen(str(address), port)
    assert addresses.upstream(f"http://{place}", HERE) == Upstream("http", str(address), port)


@given(HOSTS, PORTS, st.sampled_from(["http", "https"]))
def test_every_upstream_reads_back_as_written(host: str, port: int, scheme: str) -> None:
    upstream = addresses.upstream(f"{scheme}://{host}:{port}", HERE)
    assert (upstream.scheme, upstream.host, upstream.port) == (scheme, host, port)
    assert addresses.upstream(str(upstream), HERE) == upstream


@given(
    HOSTS, PORTS, st.sampled_from(["?", "?a=b", "#", "#f", "/;p", "//", "/a//b", "/../a", "/%2e"])
)
def test_an_upstream_never_has_more_than_host_port_and_a_plain_path(
    host: str, port: int, more: str
) -> None:
    with pytest.raises(Wrong):
        addresses.upstream(f"http://{host}:{port}{more}", HERE)


@pytest.mark.parametrize("name", ["unix:/run/app.sock", "unix:///run/app.sock"])
def test_a_unix_socket_is_written_two_ways(name: str) -> None:
    assert addresses.listen(name, HERE) == Listen(path=Path("/run/app.sock"))
    assert str(addresses.upstream(name, HERE)) == "unix:/run/app.sock"


def test_a_relative_socket_starts_at_the_file() -> None:
    assert addresses.listen("unix:run/a.sock", HERE).path == Path("/etc/doorward/run/a.sock")
    assert addresses.upstream("unix:../a.sock", HERE).path == Path("/etc/a.sock")


@pytest.mark.parametrize(
    ("text", "port"), [("http://app", 80), ("https://app", 443), ("HTTP://App/", 80)]
)
def test_an_upstream_without_a_port_has_its_schemes(text: str, port: int) -> None:
    upstream = addresses.upstream(text, HERE)
    assert (upstream.host, upstream.port) == ("app", port)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Wiki.Example.com:443/", "https://wiki.example.com"),
        ("http://a:80", "http://a"),
        ("http://a:443", "http://a:443"),
        ("https://[::0001]:8443", "https://[::1]:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_what_browsers_send(url: str, origin: str) -> None:
    assert addresses.origin(addresses.public_url(url)) == origin


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Wiki.Example.COM", "wiki.example.com"),
        ("*.Example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.straße.example", "*.xn--strae-oqa.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::0001]", "[::1]"),
        ("my_app", "my_app"),
    ],
)
def test_a_host_is_lower_case_ascii(written: str, host: str) -> None:
    assert addresses.host_pattern(written) == host


@pytest.mark.parametrize(
    "host",
    ["", ".", "a.", ".a", "a..b", "-a", "a b", "*", "*.", "a*", "[::1", "1.2.3", "0x7f", "ä" * 80],
)
def test_nothing_else_is_a_host(host: str) -> None:
    with pytest.raises(Wrong):
        addresses.host_pattern(host)


@pytest.mark.parametrize("name", ["fe80::1%eth0/64", "10.0.0.0/33", "10.0.0.1/24", "a", ""])
def test_nothing_else_is_a_network(name: str) -> None:
    with pytest.raises(Wrong):
        addresses.network(name)


@pytest.mark.parametrize(
    "path",
    ["/", "/*", "/a/*/b", "/a/*", "/a%2Fb", "/a//b", "/a;x=1", "/~a", "/.well-known/x", "/a/"],
)
def test_a_rule_may_have_this_path(path: str) -> None:
    assert patterns.rule_path(path) == path


@given(st.text())
def test_a_rules_path_is_refused_or_kept_as_it_is(path: str) -> None:
    try:
        assert patterns.rule_path(path) == path
    except Wrong:
        return
    assert path.startswith("/") and path.isascii() and not set(path) & set("?#\\ \n\x00")


def test_a_routes_trailing_slash_is_ignored() -> None:
    assert patterns.route_path("/wiki/") == "/wiki"
    assert patterns.route_path("/") == "/"


@given(st.text())
def test_a_user_name_is_refused_or_kept_as_it_is(name: str) -> None:
    try:
        assert names.username(name) == name
    except Wrong:
        return
    assert 1 <= len(name) <= 190 and name == name.strip()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://bob:pa@ss@host/db", "postgresql://bob:********@host/db"),
        ("postgresql://host/db?password=x&a=b", "postgresql://host/db?password=********&a=b"),
        ("postgresql://host/db?a=b&sslpassword=x", "postgresql://host/db?a=b&sslpassword=********"),
        ("postgresql://bob@host/db", "postgresql://bob@host/db"),
        ("sqlite", "sqlite"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, shown: str) -> None:
    assert names.mask_password(url) == shown


PARSERS: list[Any] = [
    values.text, values.label, values.boolean, values.duration, values.size, values.whole(1, 9),
    values.choice("a", "b"), addresses.public_url, addresses.cors_origin, addresses.host_pattern,
    addresses.network, patterns.route_path, patterns.rule_path, patterns.prefix, patterns.method,
    names.username, names.email, names.group, names.password_hash, names.storage, names.smtp,
    lambda value: addresses.listen(value, HERE), lambda value: addresses.upstream(value, HERE),
    lambda value: addresses.absolute(value, HERE),
]  # fmt: skip


@given(ANYTHING, st.sampled_from(["", "/", "http://", "smtp://a", "unix:", "postgresql://", "*."]))
def test_parsers_raise_only_their_documented_error(value: object, before: str) -> None:
    for parse in PARSERS:
        try:
            parse(before + value if isinstance(value, str) else value)
        except Wrong as wrong:
            assert wrong.message


NAMES = st.text(max_size=200) | st.text("aA\u200dﬁß ,@.\u00a0\u0345\u1fb3", max_size=8)


@given(NAMES)
def test_names_are_validated_as_in_the_accounts(name: str) -> None:
    pairs: list[tuple[Callable[[object], str], Callable[[str], str]]] = [
        (names.username, accounts.normalise),
        (names.display_name, accounts.check_display_name),
        (names.group, accounts.check_group),
        (names.email, accounts.normalise_address),
    ]
    for ours, theirs in pairs:
        with contextlib.suppress(Wrong):
            for written in (name, f"{name}@b.de"):
                found = theirs(ours(written))
                assert found in {written, fold(written)}
