"""An origin that authenticates connections (NTLM, Negotiate): each connection is only for one
client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from doorward.http1.schemes import CONNECTION_SCHEMES, authenticates_connection

from tests.conftest import Start
from tests.support.live import Live, config_user, free_port
from tests.support.origin import Origin
from tests.support.waiting import until
from tests.support.wire import Client, Wire, values_of

RULES = [{"path": "/public/*", "require": "public"}]


def authenticating(scheme: str, offer: bytes = b"") -> Any:
    """A server that authenticates a connection in three steps; then every request counts as that
    user's."""
    name = scheme.encode()

    def script(wire: Wire) -> None:
        user = b"stranger"
        while head := wire.head():
            said = (values_of(head, b"authorization") or [b""])[0]
            status, lines = b"200 OK", offer
            if said == name + b" one":
                status, lines = b"401 Unauthorized", b"WWW-Authenticate: " + name + b" two\r\n"
                user = b"half"
            elif said.startswith(name + b" three-") and user == b"half":
                user = said.partition(b"-")[2]
            elif b"/wanted" in head.split()[1] and user == b"stranger":
                status, lines = b"401 Unauthorized", b"WWW-Authenticate: " + name + b"\r\n"
            wire.send(
                b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(user), user)
            )

    return script


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def live(deploy: Start, fast_lane: bool, port: int) -> Live:
    users = [config_user("alice"), config_user("bob")]
    routes = [
        {"upstream": f"http://127.0.0.1:{port}"},
        {
            "path": "/one",
            "upstream": f"http://127.0.0.1:{port}",
            "concurrency": {"requests": 1, "wait": "1h"},
        },
    ]
    return deploy("", routes=routes, access={"rules": RULES}, users=users, fast_lane=fast_lane)


@contextmanager
def playing(port: int, scheme: str = "NTLM", offer: bytes = b"") -> Iterator[Origin]:
    with Origin((authenticating(scheme, offer),), port=port) as origin:
        yield origin


def warmed(client: Client, live: Live, *lines: str) -> None:
    """Keep a connection in the pool, so that the next request uses the fast lane."""
    for _ in range(2):
        assert client.get("/public/", *lines, host=live.host).body == b"stranger"


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate", "negotiate"])
@pytest.mark.parametrize("carries", [True, False], ids=["with-session", "on-a-public-path"])
def test_an_authenticated_connection_is_only_for_its_client(
    live: Live, port: int, scheme: str, carries: bool
) -> None:
    with playing(port, scheme) as origin, live.client() as alice, live.client() as bob:
        lines = (live.login("alice"),) if carries else ()
        target = "/a" if carries else "/public/a"
        warmed(bob, live)
        first, third = f"Authorization: {scheme} one", f"Authorization: {scheme} three-alice"
        assert alice.get(target, first, *lines, host=live.host).status == 401
        assert alice.get(target, third, *lines, host=live.host).body == b"alice"
        for _ in range(3):
            assert alice.get(target, *lines, host=live.host).body == b"alice", "and no further leg"
            assert bob.get("/public/", host=live.host).body == b"stranger"
            with live.client() as other:
                assert other.get("/public/", host=live.host).body == b"stranger"
        assert len(origin.wires) == 2


def test_the_connection_is_closed_with_the_client(live: Live, port: int) -> None:
    with playing(port) as origin:
        with live.client() as alice:
            alice.get("/public/", "Authorization: NTLM one", host=live.host)
            assert alice.get("/public/", "Authorization: NTLM three-alice", host=live.host)
            assert not origin.is_done()
        until(origin.is_done, "for the close of the upstream connection")


def test_another_session_gets_another_upstream_connection(live: Live, port: int) -> None:
    """An unlisted proxy may send requests of many users over one connection."""
    alice, bob = live.login("alice"), live.login("bob")
    with playing(port), live.client() as client:
        client.get("/a", "Authorization: NTLM one", alice, host=live.host)
        client.get("/a", "Authorization: NTLM three-alice", alice, host=live.host)
        assert client.get("/a", bob, host=live.host).body == b"stranger"
        assert client.get("/a", alice, host=live.host).body == b"stranger"
        client.get("/a", "Authorization: NTLM one", alice, host=live.host)
        assert (
            client.get("/a", "Authorization: NTLM three-alice", alice, host=live.host).body
            == b"alice"
        )
        assert client.get("/public/", host=live.host).body == b"stranger"


@pytest.mark.parametrize(
    "offer",
    [
        b"WWW-Authenticate: NTLM\r\n",
        b'WWW-Authenticate: Basic realm="x", Negotiate\r\n',
        b"Proxy-Authenticate: NTLM\r\n",
        b"Persistent-Auth: true\r\n",
    ],
)
def test_a_connection_over_which_such_a_scheme_was_offered_is_not_shared(
    live: Live, port: int, offer: bytes
) -> None:
    with playing(port, offer=offer) as origin, live.client() as one, live.client() as two:
        for _ in range(3):
            assert one.get("/public/", host=live.host).status == 200
            assert two.get("/public/", host=live.host).status == 200
        assert len(origin.wires) == 2


def test_a_waiting_bound_connection_does_not_count_against_the_limit(live: Live, port: int) -> None:
    """The limit is for concurrent requests, not for clients."""
    alice, bob = live.login("alice"), live.login("bob")
    with playing(port), live.client() as one, live.client() as two:
        for _ in range(2):
            one.get("/one/a", "Authorization: NTLM one", alice, host=live.host)
            got = one.get("/one/a", "Authorization: NTLM three-alice", alice, host=live.host)
            assert got.body == b"alice"
            assert two.get("/one/b", bob, host=live.host).body == b"stranger"
            assert one.get("/one/a", alice, host=live.host).body == b"alice"


def test_connections_are_shared_with_per_request_schemes(live: Live, port: int) -> None:
    with playing(port) as origin, live.client() as one, live.client() as two:
        for client in (one, two) * 2:
            for scheme in ("Basic YTpi", "Digest x=y", "Token ntlm", "negotiated x"):
                got = client.get("/public/", f"Authorization: {scheme}", host=live.host)
                assert got.status == 200
        assert len(origin.wires) == 1


def test_behind_a_trusted_proxy_such_a_connection_serves_one_request(
    deploy: Start, fast_lane: bool, port: int
) -> None:
    """Its connections may carry requests of any user."""
    live = deploy(
        f"http://127.0.0.1:{port}",
        access={"default": "public"},
        trusted_proxies=["127.0.0.1/32"],
        fast_lane=fast_lane,
    )
    with playing(port) as origin, live.client() as proxy:
        proxy.get("/", "Authorization: NTLM one", host=live.host)
        proxy.get("/", "Authorization: NTLM three-alice", host=live.host)
        assert proxy.get("/", host=live.host).body == b"stranger"
        assert len(origin.wires) == 3


def test_a_connection_with_a_requested_upgrade_is_never_kept(live: Live, port: int) -> None:
    """Whatever the answer was, the other end may use it as a tunnel (CVE-2026-71324)."""
    with playing(port) as origin, live.client() as client:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket")
        assert client.get("/public/", *upgrade, host=live.host).status == 200
        assert client.get("/public/", host=live.host).status == 200
        assert len(origin.wires) == 2


@pytest.mark.parametrize("scheme", sorted(CONNECTION_SCHEMES))
def test_every_such_scheme_is_known_in_any_spelling(scheme: bytes) -> None:
    for value in (scheme, scheme.upper() + b" abc==", b"Basic x=y, " + scheme, b"  " + scheme):
        assert authenticates_connection((value,))
    assert not authenticates_connection((b"x" + scheme, b"Bearer " + scheme, b""))


def test_if_client_connections_are_not_identified_none_is_kept(tmp_path: Path) -> None:
    """Other ASGI servers do not identify client connections."""
    import asyncio

    from tests.support.front import front_of

    async def story() -> None:
        with Origin((authenticating("NTLM"),)) as origin:
            async with front_of(tmp_path, origin, access={"default": "public"}) as front:
                for said in (b"NTLM one", b"NTLM three-alice"):
                    await front.get("/", (b"authorization", said))
                assert (await front.get("/")).body == b"stranger"
            assert len(origin.wires) == 3

    asyncio.run(story())
