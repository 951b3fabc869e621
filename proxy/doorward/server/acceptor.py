"""Accepts connections from a listening socket and takes each to the point where HTTP begins.

Knows what comes before HTTP: limits on connections, a PROXY header, TLS. Must not know requests.
Every connection is counted from the moment it is accepted and has one deadline until its first
request may begin, whether it is plain, uses TLS or begins with a PROXY header.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from doorward.gate.accept import parse_address
from doorward.server.limits import Counts, Peers, Place
from doorward.server.plain_answers import plain_answer, tell
from doorward.server.proxy_protocol import BadHeader, Source, read_source

_log = structlog.get_logger("doorward.server")

# Connections accepted in each turn of the loop: few, so that requests are served in between and
# workers that share a socket get about as many each.
AT_ONCE = 16
# How long to wait if there are no descriptors left.
PAUSE_S = 0.1
# Time without another shortage after which it is logged as over.
CALM_S = 1.0
# Clients that are turned away get a moment to read the reason; at most so many at a time.
TOLD_AT_ONCE = 64

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
HANDSHAKE = b"\x16"  # the first byte of a TLS connection (RFC 8446 5.1)

FULL = "there are too many connections"

Make = Callable[[Source | None, Place], asyncio.Protocol]


@dataclass(frozen=True, slots=True)
class EntryRequirements:
    """What a connection has to go through. `proxies` have to begin with a PROXY header; `tls` are
    the loop's arguments for it; both end after `timeout_s`. `url` is shown to clients that use http
    on an https port."""

    timeout_s: float
    tls: dict[str, Any] | None = None
    proxies: Peers = ()
    url: str = ""


class Acceptor:
    """Accepts from `sock` until it is closed; `make` gets the source from a PROXY header, and the
    place that the connection has to release at its end. `turned_away` gets the address of each
    client that was refused."""

    def __init__(
        self,
        sock: socket.socket,
        make: Make,
        counts: Counts,
        entry: EntryRequirements,
        turned_away: Callable[[str, str], None],
    ) -> None:
        self._sock = sock
        self._make = make
        self._counts = counts
        self._entry = entry
        self._turned_away = turned_away
        self._networks = tuple(network for network in entry.proxies if network != "unix")
        self._loop = asyncio.get_running_loop()
        self._entering: set[asyncio.Task[None]] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._exhausted = 0.0  # time of the last shortage of descriptors, until it is over
        self._refused = 0  # clients, since descriptors ran out
        self._spare = _open_spare()
        self._listening = True
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Refuse new connections, and close those that have not reached their first request."""
        self._stop()
        self._sock.close()
        if self._spare is not None:
            os.close(self._spare)
        for task in (*self._entering, *self._leaving):
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._entering, *self._leaving, return_exceptions=True)

    def _stop(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._sock)

    # Accepting

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                conn, _ = self._sock.accept()
            except OSError as fault:
                if fault.errno in EXHAUSTED:
                    self._without_descriptors(fault)
                elif fault.errno == errno.EINVAL:  # shut down, by the parent of the workers
                    self._stop()
                return  # otherwise no client is left, or one left at once: the loop looks again
            if self._exhausted and self._loop.time() - self._exhausted > CALM_S:
                _log.info("descriptors_free_again", refused=self._refused)
                self._exhausted, self._refused = 0.0, 0
            conn.setblocking(False)
            self._receive(conn)

    def _receive(self, conn: socket.socket) -> None:
        peer = format_peer(conn)
        place = self._counts.enter(peer)
        if place is None:
            self._turn_away(conn, peer)
        else:
            self._track(self._entering, self._enter(conn, peer, place))

    def _track(self, tasks: set[asyncio.Task[None]], job: Any) -> None:
        task = self._loop.create_task(job)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _without_descriptors(self, fault: OSError) -> None:
        """Answer waiting clients with the spare descriptor, and pause: clients get an answer
        instead of silence, and the loop does not spin."""
        if not self._exhausted:
            _log.error("descriptors_exhausted", reason=fault.strerror)
        self._exhausted = self._loop.time()
        for _ in range(AT_ONCE):
            if not self._answer_by_spare():
                break
        self._stop()
        self._pause = self._loop.call_later(PAUSE_S, self._go_on)

    def _answer_by_spare(self) -> bool:
        """Accept a connection with the spare descriptor and answer it; False if that fails."""
        if self._spare is None:
            return False
        os.close(self._spare)
        try:
            with self._sock.accept()[0] as conn:
                conn.setblocking(False)
                self._turned_away(format_peer(conn), FULL)
                if self._entry.tls is None:
                    _answer(conn)
            self._refused += 1
            return True
        except OSError:
            return False
        finally:
            self._spare = _open_spare()

    def _go_on(self) -> None:
        self._pause = None
        self._spare = self._spare or _open_spare()
        self._listening = True
        self._loop.add_reader(self._sock, self._accept)

    def _turn_away(self, conn: socket.socket, peer: str) -> None:
        """Answer 503 if that needs no handshake."""
        self._turned_away(peer, FULL)
        if self._entry.tls is not None:
            conn.close()
        elif len(self._leaving) < TOLD_AT_ONCE:
            self._track(self._leaving, tell(conn, plain_answer(503, FULL)))
        else:
            _answer(conn)
            conn.close()

    # Before HTTP

    async def _enter(self, conn: socket.socket, peer: str, place: Place) -> None:
        deadline = self._loop.time() + self._entry.timeout_s
        handed_over = joined = False
        try:
            source = None
            if self._is_proxy(conn, peer):
                async with asyncio.timeout_at(deadline):
                    source = await read_source(conn)
                if source is not None and not place.move(source[0]):
                    handed_over = True
                    self._turn_away(conn, source[0])
                    return
            if self._entry.tls is not None:
                async with asyncio.timeout_at(deadline):
                    first = await self._first_byte(conn)
                if first != HANDSHAKE:
                    if first.isalpha():
                        await tell(conn, self._plain_http())
                    return
            handed_over = True  # from here on the loop closes it
            await self._loop.connect_accepted_socket(
                lambda: self._make(source, place), conn, **self._tls(deadline)
            )
            joined = True
        except (BadHeader, TimeoutError) as fault:
            if not handed_over and self._entry.proxies:
                reason = str(fault) or "it did not come in time"
                _log.warning("proxy_header_refused", peer=peer, reason=reason)
        except OSError:
            pass  # the client left, or its handshake failed
        finally:
            if not handed_over:
                conn.close()
            if not joined:
                place.leave()

    def _tls(self, deadline: float) -> dict[str, Any]:
        if self._entry.tls is None:
            return {}
        left = max(deadline - self._loop.time(), 0.001)
        return {**self._entry.tls, "ssl_handshake_timeout": left}

    async def _first_byte(self, conn: socket.socket) -> bytes:
        """The client's first byte, which is not consumed; empty if the client left."""
        while True:
            try:
                return conn.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                await _readable(self._loop, conn)

    def _plain_http(self) -> bytes:
        where = f": {self._entry.url}" if self._entry.url.startswith("https:") else ""
        return plain_answer(400, f"this port speaks https{where}")

    def _is_proxy(self, conn: socket.socket, peer: str) -> bool:
        if not self._entry.proxies:
            return False
        if conn.family == socket.AF_UNIX:
            return "unix" in self._entry.proxies
        address = parse_address(peer)
        return address is not None and any(address in network for network in self._networks)


async def _readable(loop: asyncio.AbstractEventLoop, conn: socket.socket) -> None:
    came = asyncio.Event()
    loop.add_reader(conn, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(conn)


def format_peer(conn: socket.socket) -> str:
    """The address of the other end; empty on a Unix socket."""
    try:
        name = conn.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""


def _answer(conn: socket.socket) -> None:
    """Send 503 without waiting for the client. What it has sent so far is read, so that closing is
    no reset."""
    with contextlib.suppress(OSError):
        conn.send(plain_answer(503, FULL))
        conn.recv(65536)


def _open_spare() -> int | None:
    """A spare descriptor, to use when there is no other one."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
