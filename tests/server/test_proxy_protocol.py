"""Connections that begin with a PROXY header: only from trusted peers, complete and in time."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from doorward.server.proxy_protocol import (
    SIGNATURE,
    UNKNOWN,
    BadHeader,
    Source,
    read_block,
    read_line,
    read_source,
)
from doorward.settings import InvalidSettings, settings_from
from hypothesis import given
from hypothesis import strategies as st

from tests.support.certificates import Authority
from tests.support.live import Live
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import PATIENCE_S
from tests.support.wire import Client, get, values_of


def block(family: int, body: bytes, *, first: int = 0x21) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes([first, family]) + struct.pack(">H", len(body)) + body


def v4(source: str = "203.0.113.9", port: int = 4711) -> bytes:
    return (
        IPv4Address(source).packed + IPv4Address("192.0.2.1").packed + struct.pack(">HH", port, 80)
    )


def v6(source: str = "2001:db8::9", port: int = 4711) -> bytes:
    return IPv6Address(source).packed + IPv6Address("::1").packed + struct.pack(">HH", port, 80)


LINE = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n"


@pytest.mark.parametrize(
    ("line", "source"),
    [
        (LINE, ("203.0.113.9", 4711)),
        (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n", ("2001:db8::9", 4711)),
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 0 65535\r\n", ("203.0.113.9", 0)),
        (b"PROXY UNKNOWN\r\n", UNKNOWN),
        (b"PROXY UNKNOWN 10.0.0.1 whatever\r\n", UNKNOWN),
    ],
)
def test_a_line_names_the_source(line: bytes, source: Source) -> None:
    assert read_line(line) == source


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b"\r\n", b"\n"),
        LINE.replace(b" 192", b"  192"),
        LINE.replace(b"TCP4", b"TCP6"),
        LINE.replace(b"TCP4", b"UDP4"),
        LINE.replace(b"TCP4", b"tcp4"),
        LINE.replace(b"203.0.113.9", b"203.0.113.256"),
        LINE.replace(b"203.0.113.9", b"0203.0.113.9"),
        LINE.replace(b"203.0.113.9", b"::ffff:203.0.113.9"),
        LINE.replace(b"203.0.113.9", b"fe80::1%eth0"),
        LINE.replace(b"4711", b"65536"),
        LINE.replace(b"4711", b"04711"),
        LINE.replace(b"4711", b"-1"),
        LINE.replace(b"4711 80", b"4711"),
        LINE.replace(b"80\r\n", b"80 x\r\n"),
        b"PROXY TCP6 fe80::1%1 ::1 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY \r\n",
        b"proxy UNKNOWN\r\n",
    ],
)
def test_a_line_that_is_wrong_is_refused(line: bytes) -> None:
    with pytest.raises(BadHeader):
        read_line(line)


@pytest.mark.parametrize(
    ("header", "source"),
    [
        (block(0x11, v4()), ("203.0.113.9", 4711)),
        (block(0x21, v6()), ("2001:db8::9", 4711)),
        (block(0x11, v4() + b"\x04\x00\x01x"), ("203.0.113.9", 4711)),
        (block(0x00, b""), UNKNOWN),
        (block(0x31, b"\0" * 216), UNKNOWN),
        (block(0x11, v4(), first=0x20), None),
        (block(0x00, b"anything", first=0x20), None),
    ],
)
def test_a_block_names_the_source(header: bytes, source: Source | None) -> None:
    assert read_block(header[:16], header[16:]) == source


@pytest.mark.parametrize(
    "header",
    [
        block(0x11, v4()[:-1]),
        block(0x21, v4()),
        block(0x12, v4()),
        block(0x31, b"\0" * 215),
        block(0x41, v6()),
        block(0x11, v4(), first=0x11),
        block(0x11, v4(), first=0x31),
        block(0x11, v4(), first=0x22),
    ],
)
def test_a_block_that_is_wrong_is_refused(header: bytes) -> None:
    with pytest.raises(BadHeader):
        read_block(header[:16], header[16:])


async def taken(pieces: list[bytes]) -> tuple[Source | None, bytes]:
    """The header read from these pieces, and the remaining bytes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reading = asyncio.ensure_future(read_source(ours))
        for piece in pieces:
            theirs.sendall(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        theirs.shutdown(socket.SHUT_WR)
        source = await asyncio.wait_for(reading, PATIENCE_S)
        rest = b""
        while more := await asyncio.get_running_loop().sock_recv(ours, 4096):
            rest += more
        return source, rest


@pytest.mark.parametrize("header", [LINE, block(0x11, v4() + b"\x04\x00\x01\n")])
@pytest.mark.parametrize("rest", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"x" * 300])
async def test_nothing_after_the_header_is_taken(header: bytes, rest: bytes) -> None:
    assert await taken([header + rest]) == (("203.0.113.9", 4711), rest)
    one_by_one = [header[at : at + 1] for at in range(len(header))]
    assert await taken([*one_by_one, rest]) == (("203.0.113.9", 4711), rest)


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=20))
def test_any_valid_header_is_parsed(
    source: IPv4Address | IPv6Address, port: int, rest: bytes
) -> None:
    if isinstance(source, IPv6Address) and source.scope_id:
        return
    family = f"TCP{source.version}"
    other = "192.0.2.1" if source.version == 4 else "::1"
    line = f"PROXY {family} {source} {other} {port} 80\r\n".encode()
    body = v4(str(source), port) if source.version == 4 else v6(str(source), port)
    for header in (line, block(0x11 if source.version == 4 else 0x21, body)):
        assert asyncio.run(taken([header, rest])) == ((str(source), port), rest)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda more: SIGNATURE + more))
def test_any_bytes_are_a_source_or_refused(data: bytes) -> None:
    try:
        source, _ = asyncio.run(taken([data]))
    except BadHeader:
        return
    assert source in (None, UNKNOWN) or (source and ip_address(source[0]))


@given(st.text("PROXYTCP46UNKW 0123456789.:%\r\n", max_size=80))
def test_any_line_is_a_source_or_refused(text: str) -> None:
    try:
        source = read_line(text.encode())
    except BadHeader:
        return
    assert source == UNKNOWN or ip_address(source[0])


# Over sockets


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((answering(OK),)) as origin:
        yield origin


PROXIED: dict[str, Any] = {"proxy_protocol": True, "access": {"default": "public"}}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, origin: Origin) -> Iterator[Live]:
    """A load balancer at 127.0.0.1 and addresses in 10.0.0.0/8 are trusted; 127.0.0.2 is not.

    Readiness cannot be checked over a plain connection, which would have to begin with a header.
    """

    class Balanced(Live):
        def client(self, **options: Any) -> Client:
            client = super().client(**options)
            client.send(block(0x00, b"", first=0x20))
            return client

    with Balanced(
        tmp_path_factory.mktemp("live"),
        origin.url,
        trusted_proxies=["127.0.0.1/32", "10.0.0.0/8"],
        limits={"header_timeout": "2s"},  # other clients say all at once
        **PROXIED,
    ) as live:
        yield live


def told(live: Live, origin: Origin, header: bytes, *lines: str) -> dict[bytes, list[bytes]]:
    """What the application gets with a request after this header."""
    with Client(live.place) as client:
        client.send(header + get("/", *lines, host=live.host))
        assert client.answer().body == b"ok"
        client.send(get("/", *lines, host=live.host))  # and again, over the same connection
        assert client.answer().body == b"ok"
    first, second = origin.heads[-2:]
    names = (b"x-real-ip", b"x-forwarded-for")
    found = {name: values_of(first, name) for name in names}
    assert found == {name: values_of(second, name) for name in names}
    return found


@pytest.mark.parametrize("header", [LINE, block(0x11, v4())])
def test_the_client_is_the_one_in_the_header(live: Live, origin: Origin, header: bytes) -> None:
    found = told(live, origin, header, "X-Forwarded-For: 198.51.100.1")
    assert found == {b"x-real-ip": [b"203.0.113.9"], b"x-forwarded-for": [b"203.0.113.9"]}


def test_a_trusted_proxy_in_front_of_the_balancer_is_trusted_too(
    live: Live, origin: Origin
) -> None:
    found = told(live, origin, block(0x11, v4("10.0.0.7")), "X-Forwarded-For: 198.51.100.1")
    assert found[b"x-real-ip"] == [b"198.51.100.1"]
    assert found[b"x-forwarded-for"] == [b"198.51.100.1, 10.0.0.7"]


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", block(0x00, b"")])
def test_an_unknown_client_is_not_taken_for_the_balancer(
    live: Live, origin: Origin, header: bytes
) -> None:
    found = told(live, origin, header, "X-Forwarded-For: 10.0.0.9")
    assert found == {b"x-real-ip": [], b"x-forwarded-for": []}


def test_the_balancers_own_connections_are_its_own(live: Live, origin: Origin) -> None:
    found = told(live, origin, block(0x11, v4(), first=0x20))
    assert found[b"x-real-ip"] == [b"127.0.0.1"]


@pytest.mark.parametrize(
    "start",
    [
        get("/"),
        b"GET / HTTP/1.1\r\n" + LINE + b"\r\n",
        LINE.replace(b"TCP4", b"TCP5"),
        b"PROXY " + b"x" * 200 + b"\r\n",
        block(0x11, v4()[:-1]),
        SIGNATURE + b"\x21\x11\xff\xff",
        b"\r\n" + LINE,
    ],
)
def test_an_invalid_proxy_header_closes_the_connection(
    live: Live, origin: Origin, start: bytes
) -> None:
    count = len(origin.heads)
    with Client(live.place) as client:
        client.send(start + get("/", host=live.host))
        assert client.rest() == b""
    assert len(origin.heads) == count


def test_a_second_header_is_no_request(live: Live) -> None:
    with Client(live.place) as client:
        client.send(LINE + LINE + get("/", host=live.host))
        assert client.answer().status in (0, 400)


@pytest.mark.parametrize("start", [b"", LINE[:-1], SIGNATURE, LINE[:20]])
def test_a_header_that_does_not_come_in_time_closes_the_connection(
    live: Live, start: bytes
) -> None:
    with Client(live.place) as client:
        client.send(start)
        assert client.is_closed()


def stranger(live: Live) -> Client:
    """A client at another address than the load balancer's."""
    sock = socket.create_connection(("127.0.0.1", live.port), 10, source_address=("127.0.0.2", 0))
    client = Client.__new__(Client)
    super(Client, client).__init__(sock)
    return client


def test_an_untrusted_peer_cannot_send_a_header(live: Live, origin: Origin) -> None:
    with stranger(live) as client:
        assert client.get("/", host=live.host).status == 200
        assert values_of(origin.heads[-1], b"x-real-ip") == [b"127.0.0.2"]
    with stranger(live) as client:
        client.send(LINE + get("/", host=live.host))
        assert client.answer().status in (0, 400), "believed by nobody"


def test_a_header_comes_before_tls(tmp_path: Path, origin: Origin) -> None:
    authority = Authority(tmp_path / "tls")
    pair = authority.issue("127.0.0.1")

    class Balanced(Live):
        def client(self, **options: Any) -> Client:
            client = Client(self.place)
            client.send(LINE)
            context = authority.believing()
            client.sock = context.wrap_socket(client.sock, server_hostname="127.0.0.1")
            return client

    live = Balanced(
        tmp_path / "live",
        origin.url,
        tls={"certificate": str(pair.certificate), "key": str(pair.key)},
        trusted_proxies=["127.0.0.1/32"],
        **PROXIED,
    )
    with live:
        with live.client() as client:
            assert client.get("/", host=live.host).body == b"ok"
        assert values_of(origin.heads[-1], b"x-real-ip") == [b"203.0.113.9"]
        assert values_of(origin.heads[-1], b"x-forwarded-proto") == [b"https"]
    assert live.process is not None and live.process.returncode == 0


def test_a_header_over_a_unix_socket(tmp_path: Path, origin: Origin) -> None:
    class Balanced(Live):
        def client(self, **options: Any) -> Client:
            client = Client(tmp_path / "door.sock")
            client.send(LINE)
            return client

    live = Balanced(
        tmp_path / "live",
        origin.url,
        listen=f"unix:{tmp_path / 'door.sock'}",
        public_url="http://app.test",
        trusted_proxies=["unix"],
        **PROXIED,
    )
    with live, live.client() as client:
        assert client.get("/", "X-Forwarded-For: 10.0.0.9").body == b"ok"
    assert values_of(origin.heads[-1], b"x-real-ip") == [b"203.0.113.9"]


def test_connections_without_a_header_do_not_delay_a_stop(tmp_path: Path, origin: Origin) -> None:
    class Balanced(Live):
        def client(self, **options: Any) -> Client:
            client = super().client(**options)
            client.send(LINE)
            return client

    live = Balanced(tmp_path / "l", origin.url, trusted_proxies=["127.0.0.0/8"], **PROXIED)
    with live, Client(live.place) as client:
        client.send(LINE[:20])
        assert live.get("/").status == 200
        assert live.stop() == 0
        assert client.is_closed()


def test_without_trusted_proxies_no_peer_is_trusted() -> None:
    with pytest.raises(InvalidSettings, match="no proxy would be trusted"):
        settings_from({"proxy_protocol": True, "routes": [{"upstream": "http://a"}]})
