"""The admin listener only answers for its own hosts, so that no web page can read it through a
visitor's browser (DNS rebinding; CVE-2018-14505)."""

from __future__ import annotations

import pytest
from doorward.server.admin import admin_app

from tests.conftest import Start
from tests.support.asgi import ask, scope
from tests.support.live import Live
from tests.support.wire import Client, Header, get

PATHS = ("/healthz", "/readyz", "/metrics", "/nothing")


@pytest.fixture(scope="module")
def live(deploy: Start) -> Live:
    return deploy("http://127.0.0.1:9", admin_hosts=["doorward", "192.0.2.7", "2001:db8::7"])


def status(live: Live, path: str, host: str) -> int:
    with Client(("127.0.0.1", live.admin_port)) as client:
        return client.ask(get(path, host=host)).status


OWN = [
    "127.0.0.1",
    "127.1.2.3",
    "localhost",
    "LOCALHOST.",
    "admin.localhost",
    "[::1]",
    "doorward",
    "Doorward",
    "192.0.2.7",
    "[2001:db8:0::7]",
]
FOREIGN = [
    "evil.test",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "evil-localhost",
    "doorward.evil.test",
    "192.0.2.8",
    "127.1",
    "2130706433",
    "0x7f000001",
    "[::2]",
]


@pytest.mark.parametrize("host", OWN)
def test_it_answers_for_loopback_and_configured_hosts(live: Live, host: str) -> None:
    for shown in (host, f"{host}:{live.admin_port}"):
        assert status(live, "/healthz", shown) == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_it_refuses_any_other_host(live: Live, host: str) -> None:
    for path in PATHS:
        for shown in (host, f"{host}:{live.admin_port}"):
            assert status(live, path, shown) == 421


async def asked(*headers: Header, server: object = ("10.0.3.5", 9091)) -> int:
    async def ready() -> None:
        return None

    app = admin_app(ready, None, ["10.0.3.9"])
    answer = await ask(app, scope("/healthz", list(headers)) | {"server": server})
    return answer.status


async def test_the_address_that_a_connection_came_to_is_its_own() -> None:
    """Prometheus uses a pod's address, which is in no configuration. A web page cannot do so: it
    needs a name that resolves to the address."""
    for server in (("10.0.3.5", 9091), ("::ffff:10.0.3.5", 9091)):
        assert await asked((b"host", b"10.0.3.5:9091"), server=server) == 200
        assert await asked((b"host", b"10.0.3.6"), server=server) == 421
    assert await asked((b"host", b"[2001:DB8::5]"), server=("2001:db8::5", 9091)) == 200


async def test_a_second_host_that_is_foreign_is_not_hidden_by_the_first() -> None:
    own, foreign = (b"host", b"localhost"), (b"host", b"evil.test")
    assert await asked(own, foreign) == await asked(foreign, own) == 421
    assert await asked((b"host", b"")) == await asked((b"host", b"a b")) == 421


@pytest.mark.parametrize("server", [None, ("/run/admin.sock", None)])
async def test_a_unix_socket_answers_under_any_name(server: object) -> None:
    assert await asked((b"host", b"whatever"), server=server) == 200


async def test_a_probe_without_host_is_answered() -> None:
    """HAProxy's checks are HTTP/1.0 without Host; browsers always send a Host."""
    assert await asked() == 200
