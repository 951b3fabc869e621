"""Checks of the applications: whether they answer, whether they are only reachable through
Doorward, and how their servers read requests.

Knows connections and HTTP; must not know users or rules. It only sends GET requests, and identifies
itself.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from doorward.accounts.randomness import public_id
from doorward.doctor.findings import Finding, note
from doorward.settings import InvalidSettings, Route, Settings, Upstream
from doorward.upstream.address import Address
from doorward.upstream.health import build_client

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 5.0
# An app's code is valid for 30 s before and after.
CLOCKS_DIFFER_S = 30.0
AGENT = "doorward-doctor"


@dataclass(frozen=True, slots=True)
class Door:
    """One upstream of a route. `key` is its place in the settings."""

    key: str
    route: Route
    upstream: Upstream
    address: Address

    @property
    def path(self) -> str:
        """The path to request: that of its health check, or its root."""
        if self.route.health is not None:
            return self.route.health.path
        return f"{self.upstream.base}/"


def list_doors(settings: Settings) -> tuple[Door, ...]:
    """Every upstream, except those with unusable TLS files, which the check of files reports."""
    found = []
    for number, route in enumerate(settings.routes):
        for position, upstream in enumerate(route.upstream):
            with suppress(InvalidSettings):
                address = Address.of(upstream, route.tls)
                key = f"routes[{number}].upstream[{position}]"
                found.append(Door(key, route, upstream, address))
    return tuple(found)


async def _get(door: Door, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    host = door.route.host
    named = {} if host is None or host.startswith("*") else {"host": host}
    base = "http://localhost" if door.address.path is not None else str(door.address)
    server = None if door.address.tls is None else door.address.tls.server_name
    extensions = {} if server is None else {"sni_hostname": server}
    sent = {"user-agent": AGENT, "accept-encoding": "identity", **named, **(headers or {})}
    async with build_client(door.address, TIMEOUT_S) as client:
        return await client.get(base + path, headers=sent, extensions=extensions)


async def check_reachable(doors: Iterable[Door]) -> list[Finding]:
    """Check that each upstream answers, with TLS if its URL is https."""
    import httpx

    found = []
    for door in doors:
        try:
            await _get(door, door.path)
        except (httpx.HTTPError, OSError) as error:
            reason = str(error) or type(error).__name__
            is_tls = "certificate" in reason.lower() or "ssl" in reason.lower()
            advice = (
                "set tls.ca to its certificate authority, or tls.server_name to its name"
                if is_tls
                else "start the application, or correct the address"
            )
            found.append(Finding(f"{door.key} {door.address} does not answer: {reason}", advice))
    return found


async def check_clock(doors: Iterable[Door], now: float | None = None) -> list[Finding]:
    """Compare this clock with those of the upstreams, by their Date (RFC 9110 6.6.1)."""
    found = []
    async for door, answer in _answering(doors):
        differs_s = read_difference_s(answer, time.time() if now is None else now)
        if differs_s is not None and abs(differs_s) > CLOCKS_DIFFER_S:
            found.append(clock_finding(str(door.address), differs_s))
    return found


def read_difference_s(answer: httpx.Response, now: float) -> float | None:
    """The number of seconds by which the server's clock is ahead; None if it sends no Date."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp() - now
    except (KeyError, ValueError, TypeError):
        return None


def clock_finding(whose: str, differs_s: float) -> Finding:
    side = "ahead of" if differs_s > 0 else "behind"
    message = f"the clock of {whose} is {abs(differs_s):.0f} s {side} this one"
    return Finding(message, "synchronize both by NTP: a wrong clock makes codes from apps fail")


async def _answering(doors: Iterable[Door]) -> AsyncIterator[tuple[Door, httpx.Response]]:
    import httpx

    for door in doors:
        try:
            answer = await _get(door, door.path)
        except (httpx.HTTPError, OSError):
            continue  # another check reports this
        yield door, answer


# Around Doorward


def list_addresses() -> tuple[str, ...]:
    """The addresses of this host at which others may reach it, without loopback."""
    found = set()
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))  # sends nothing, only selects a source address
            found.add(probe.getsockname()[0])
    with suppress(OSError):
        for *_, place in socket.getaddrinfo(socket.gethostname(), None):
            found.add(str(place[0]))
    return tuple(sorted(a for a in found if not a.startswith(("127.", "::1", "fe80"))))


def check_around(doors: Iterable[Door], addresses: Iterable[str]) -> Iterator[Finding]:
    """Check that an application on this host does not answer at addresses that bypass Doorward."""
    for door in doors:
        upstream, own = door.upstream, door.upstream.host
        is_here = own is not None and (own.startswith("127.") or own in ("localhost", "::1"))
        if upstream.port is None or not is_here:
            continue
        for address in addresses:
            if address != own and _answers(address, upstream.port):
                message = f"{door.key} also answers at {address} port {upstream.port}"
                advice = (
                    "let the application listen on 127.0.0.1 or a Unix socket: anyone who reaches"
                    " it directly can pose as any user"
                )
                yield Finding(message, advice)


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT_S):
            return True
    except OSError:
        return False


# How its server reads requests


async def check_folding(doors: Iterable[Door]) -> list[Finding]:
    """Check whether the server accepts a header in another spelling, a path parameter, a second
    decoding or a method override, by comparing answers. These are notes, because Doorward removes
    or refuses all of them."""
    found = []
    async for door, plain in _answering(doors):
        found += await _find_folded(door, plain)
        found += await _find_careless_paths(door, plain)
        found += await _find_override(door, plain)
    return found


def _levers(plain: httpx.Response) -> Iterator[tuple[str, str]]:
    """Headers that change the answer of a server that reads them."""
    if etag := plain.headers.get("etag"):
        yield "If-None-Match", etag
    if modified := plain.headers.get("last-modified"):
        yield "If-Modified-Since", modified
    yield "Range", "bytes=0-0"
    yield "Accept-Encoding", "gzip"


def _mark(answer: httpx.Response) -> tuple[object, ...]:
    return answer.status_code, answer.headers.get("content-encoding")


async def _find_folded(door: Door, plain: httpx.Response) -> list[Finding]:
    for name, value in _levers(plain):
        read = _mark(await _get(door, door.path, {name: value}))
        if read == _mark(plain):
            continue
        spelled = [name.replace("-", mark) for mark in "_." if "-" in name]
        folded = [
            other for other in spelled if _mark(await _get(door, door.path, {other: value})) == read
        ]
        if folded:
            message = f"{door.key} reads {' and '.join(folded)} as {name}"
            advice = (
                "nothing: Doorward removes every spelling; without it, a client could pose as any"
                " user with the other one"
            )
            return [note(message, advice)]
        if spelled:
            return []
    return []


async def _find_careless_paths(door: Door, plain: httpx.Response) -> list[Finding]:
    wrong = await _get(door, f"{door.upstream.base}/{public_id()}")
    if _mark(wrong) == _mark(plain):
        return []  # it always gives the same answer, so nothing can be concluded
    found, path = [], door.path.partition("?")[0]
    ways = [(f"{path};doorward=1", "ignores everything after a ; in a path")]
    if path[-1:].isalnum():
        ways.append((f"{path[:-1]}%25{ord(path[-1]):02x}", "decodes paths twice"))
    for other, what in ways:
        if _mark(await _get(door, other)) == _mark(plain):
            advice = "nothing: Doorward refuses paths that lead to another rule if read that way"
            found.append(note(f"{door.key} {what}", advice))
    return found


async def _find_override(door: Door, plain: httpx.Response) -> list[Finding]:
    answer = await _get(door, door.path, {"X-HTTP-Method-Override": "HEAD"})
    if not plain.content or answer.content or _mark(answer) != _mark(plain):
        return []
    message = f"{door.key} takes another method from X-HTTP-Method-Override"
    return [note(message, "add methods to every rule that should allow only reading")]
