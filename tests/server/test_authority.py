"""One authority per request: the host that routes and rules are matched with is the host that the
application gets, whatever the headers, targets and protocol versions are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Start
from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import until
from tests.support.wire import Client, values_of

PROXY, STRANGER = "127.0.0.1", "127.0.0.2"
PUBLIC_URL = "https://public.test:8443"
RULES = [
    {"host": "public.test", "require": "public"},
    {"host": "admin.test", "groups": ["admins"]},
]


@dataclass
class Gateway:
    live: Live
    origin: Origin

    def ask(self, head: bytes, source: str = PROXY) -> int:
        with Client(self.live.place, source=source) as client:
            return client.ask(head).status


@pytest.fixture(scope="module")
def gateway(deploy: Start, fast_lane: bool) -> Iterator[Gateway]:
    """A gateway in which only `public.test` is public, and 127.0.0.1 is a trusted proxy."""
    with Origin((answering(OK),)) as origin:
        live = deploy(
            origin.url,
            public_url=PUBLIC_URL,
            trusted_proxies=[PROXY],
            access={"default": "deny", "rules": RULES},
            users=[config_user()],
            fast_lane=fast_lane,
            log={"format": "json", "access": True},
        )
        yield Gateway(live, origin)


def request(*lines: str, target: str = "/", version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize("source", [PROXY, STRANGER])
@pytest.mark.parametrize(
    "lines",
    [
        ("X-Forwarded-Host: public.test", "Host: admin.test"),
        ("Host: admin.test", "X-Forwarded-Host: public.test"),
        ("Host: admin.test", "Forwarded: host=public.test"),
        ("Host: admin.test", "X-Forwarded-Host: admin.test, public.test"),
        ("Host: public.test", "X-Forwarded-Host: admin.test"),
    ],
)
def test_the_host_that_was_decided_on_is_the_host_that_is_sent(
    gateway: Gateway, source: str, lines: tuple[str, ...]
) -> None:
    """The rule for one host must not open the application under another."""
    sent = len(gateway.origin.heads)
    status = {gateway.ask(request(*lines), source) for _ in range(4)}  # later ones from memory
    assert len(status) == 1
    for head in gateway.origin.heads[sent:]:
        assert values_of(head, b"host") == [b"public.test"]
        assert values_of(head, b"x-forwarded-host") == [b"public.test"]


def test_the_same_lines_mean_different_things_from_a_proxy_and_from_a_stranger(
    gateway: Gateway,
) -> None:
    lines = request("Host: admin.test", "X-Forwarded-Host: public.test", "X-Same: 1")
    for _ in range(4):
        assert gateway.ask(lines, PROXY) == 200
        assert gateway.ask(lines, STRANGER) == 401


def test_http_1_0_without_host_is_answered_for_the_host_of_public_url(gateway: Gateway) -> None:
    sent = len(gateway.origin.heads)
    assert gateway.ask(request(version="1.0")) == 200
    assert gateway.ask(request("X-Forwarded-Host: admin.test", version="1.0")) == 401
    assert gateway.ask(request(version="1.1")) == 400
    (head,) = gateway.origin.heads[sent:]
    assert values_of(head, b"host") == values_of(head, b"x-forwarded-host") == [b"public.test:8443"]


HOSTS = st.sampled_from(
    ["public.test", "admin.test", "PUBLIC.test", "admin.test:8443", "public.test:81", "admin.test."]
)
NAMES = st.sampled_from(
    "Host X-Forwarded-Host x_forwarded_host X-Forwarded-Server X-Original-Host X-Host Forwarded"
    " X-HTTP-Host-Override".split()
)


@st.composite
def header_lines(draw: st.DrawFn) -> list[str]:
    lines = [f"Host: {draw(HOSTS)}"] if draw(st.integers(0, 9)) else []
    for name in draw(st.lists(NAMES, max_size=3)):
        host = draw(HOSTS)
        if name == "X-Forwarded-Host" and draw(st.booleans()):
            host = f"{draw(HOSTS)}, {host}"
        lines.append(f'{name}: host="{host}"' if name == "Forwarded" else f"{name}: {host}")
    if draw(st.booleans()):
        lines.append(f"Connection: {draw(NAMES)}")
    return draw(st.permutations(lines))


def test_decided_authority_equals_forwarded_authority(gateway: Gateway) -> None:
    """For all headers that a client and proxies may send, once or repeatedly."""
    origin = gateway.origin
    counts = [len(origin.heads)]

    @given(
        lines=header_lines(),
        target=st.one_of(st.just("/"), HOSTS.map("http://{}/".format)),
        version=st.sampled_from(["1.1", "1.1", "1.0"]),
        source=st.sampled_from([PROXY, STRANGER]),
        times=st.integers(1, 4),
    )
    def any_request(lines: list[str], target: str, version: str, source: str, times: int) -> None:
        head = request(*lines, target=target, version=version)
        assert len({gateway.ask(head, source) for _ in range(times)}) == 1
        for seen in origin.heads[counts[-1] :]:
            (host,) = values_of(seen, b"host")
            assert host.split(b":")[0].rstrip(b".") == b"public.test"
            assert values_of(seen, b"x-forwarded-host") == [host]
            port = host.partition(b":")[2] or b"80"
            assert values_of(seen, b"x-forwarded-port") == [port]
        counts.append(len(origin.heads))

    any_request()
    assert counts[-1] > 50, "hardly anything was let through"
    sent = {only(head, b"x-request-id").decode(): only(head, b"host") for head in origin.heads}
    until(lambda: sent.keys() <= _logged_hosts(gateway.live).keys(), "for the access log")
    decided = _logged_hosts(gateway.live)
    assert sent == {number: decided[number].encode() for number in sent}


def only(head: bytes, name: bytes) -> bytes:
    (value,) = values_of(head, name)
    return value


def _logged_hosts(live: Live) -> dict[str, str]:
    """The decided host of each request in the access log, by request id."""
    lines = [json.loads(line) for line in live.lines() if line.startswith("{")]
    return {line["request_id"]: line["host"] for line in lines if line.get("request_id")}
