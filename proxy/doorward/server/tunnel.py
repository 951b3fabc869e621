"""Two connections joined after an upgrade: bytes pass both ways as they arrive, until either side
ends.

Knows transports and their back-pressure; must not know the content or the user.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

from doorward.http1.client_exchange import TunnelLimits
from doorward.http1.turns import Turns
from doorward.server.websocket_frames import FrameReader, write_close

Lost = Callable[[Exception | None], None]

# How much a client may send after its upgrade's head before it has to wait for the answer.
HELD_BYTES = 64 * 1024
# When one side has ended, how long the other may take to read what is queued for it.
LINGER_S = 10.0
# When one side has closed its sending side, how long the other may be silent.
HALF_CLOSED_S = 5.0
# How long a client may take to read why its WebSocket ends, and to leave.
FAREWELL_S = 1.0

_PROTOCOL = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")
# Protocols whose bytes are requests again, for which nobody would decide (smuggling by h2c). Some
# servers also support their drafts, such as h2c-14.
_CARRY_REQUESTS = frozenset(b"h2c h2 h3 http https tls".split())


def asked_protocols(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The Upgrade of a request as far as it may pass (RFC 9110 7.8); empty: nothing may."""
    offered = [value.split(b",") for name, value in headers if name == b"upgrade"]
    kept = [one.strip(b" \t") for line in offered for one in line]
    return b", ".join(one for one in kept if _is_tunnelled(one))


def _is_tunnelled(protocol: bytes) -> bool:
    name = protocol.partition(b"/")[0].partition(b"-")[0].lower()
    return _PROTOCOL.fullmatch(protocol) is not None and name not in _CARRY_REQUESTS


class PendingUpgrade(asyncio.Protocol):
    """Replaces a client's HTTP protocol from an upgrade's head to the answer.

    What arrives meanwhile is kept: it belongs to the tunnel, or is the next request if the answer
    is an ordinary one.
    """

    def __init__(self, http: Any) -> None:
        self._http = http
        self._held = b""
        http.transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES:
            self._http.flow.pause_reading()

    def eof_received(self) -> bool:
        return False  # it left before it got its tunnel

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()

    def stand_back(self) -> None:
        """The answer was an ordinary one, and is complete."""
        http = self._http
        http.on_response_complete()
        if http.transport.is_closing():
            return
        http.transport.set_protocol(http)
        if self._held:
            http.data_received(self._held)

    def join(
        self,
        head: bytes,
        upstream: asyncio.Transport,
        early: bytes,
        upstream_lost: Lost,
        limits: TunnelLimits,
    ) -> "Tunnel":
        """The tunnel to an upstream that has switched protocols and reads nothing yet.

        `early` came after its answer. `upstream_lost` is called when its connection is closed.
        """
        http = self._http
        client, frames = End(http.transport, http.connection_lost), None
        server = End(upstream, upstream_lost)
        if limits.tells:
            frames = FrameReader()
            server = FramedEnd(upstream, upstream_lost, frames, limits.turns)
            taken = 0
            while taken < len(early):
                taken += frames.read(early[taken:])
        tunnel = Tunnel(client, server, limits.idle_timeout_s, frames)
        http.flow.resume_reading()
        tunnel.open(head + early, self._held, client_is_slow=http.flow.write_paused)
        return tunnel


class End(asyncio.Protocol):
    """One side of a tunnel."""

    tunnel: "Tunnel"
    other: "End"

    def __init__(self, transport: asyncio.Transport, on_lost: Lost) -> None:
        self.transport = transport
        self.is_lost = False
        self.is_slow = False
        self.received_bytes = 0
        self._on_lost = on_lost

    def data_received(self, data: bytes) -> None:
        self.tunnel.moved = True
        self.received_bytes += len(data)
        if not self.other.is_lost:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        return self.tunnel.half_close(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._on_lost(exc)
        self.tunnel.lost(self)

    # Back-pressure: a side that reads slowly makes the other wait

    def pause_writing(self) -> None:
        self.is_slow = True
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_slow = False
        self.other.resume_reading()

    def resume_reading(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()


class FramedEnd(End):
    """The upstream's side of a WebSocket whose frames are followed. Where they are many, it reads
    no more until those that it has are passed on, some in each of its turns."""

    def __init__(
        self, transport: asyncio.Transport, on_lost: Lost, frames: FrameReader, turns: Turns
    ) -> None:
        super().__init__(transport, on_lost)
        self._frames, self._turns = frames, turns
        self._rest = b""  # which is not passed on yet

    def data_received(self, data: bytes) -> None:
        is_waiting = bool(self._rest)
        self._rest += data
        if not is_waiting:
            self._pass_on()
            if self._rest:
                self.transport.pause_reading()
                self._turns.wait(self._go_on)

    def eof_received(self) -> bool:
        self._pass_all()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pass_all()
        super().connection_lost(exc)

    def resume_reading(self) -> None:
        if not self._rest:
            super().resume_reading()

    def _go_on(self) -> None:
        self._pass_on()
        if self._rest:
            self._turns.wait(self._go_on)
        elif not self.other.is_slow:
            self.resume_reading()

    def _pass_all(self) -> None:
        while self._rest:
            self._pass_on()

    def _pass_on(self) -> None:
        """Pass on the next frames, unless the client's side is over."""
        rest, self._rest = self._rest, b""
        if rest and not (self.tunnel.is_leaving or self.other.transport.is_closing()):
            taken = self._frames.read(rest)
            self._rest = rest[taken:]
            super().data_received(rest[:taken])


class Tunnel:
    """Both ends. `over` is done when both connections are closed. `frames` follows what is sent to
    the client of a WebSocket."""

    def __init__(
        self,
        client: End,
        upstream: End,
        idle_timeout_s: float,
        frames: FrameReader | None = None,
    ) -> None:
        client.tunnel = upstream.tunnel = self
        client.other, upstream.other = upstream, client
        self._client, self._upstream = client, upstream
        self._idle_timeout_s = idle_timeout_s
        self._half_closed = self._has_client_end = self.is_leaving = False
        self._frames = frames
        self._loop = asyncio.get_running_loop()
        self._linger: asyncio.TimerHandle | None = None
        self._moved_at = self._loop.time()
        self.moved = False
        self.over: asyncio.Future[None] = self._loop.create_future()

    def open(self, to_client: bytes, to_upstream: bytes, *, client_is_slow: bool) -> None:
        client, upstream = self._client, self._upstream
        client.is_slow = client_is_slow
        client.transport.set_protocol(client)
        upstream.transport.set_protocol(upstream)
        client.transport.write(to_client)
        if to_upstream:
            upstream.transport.write(to_upstream)
        if not client.is_slow:
            upstream.transport.resume_reading()

    @property
    def sent_bytes(self) -> int:
        """The bytes sent to the client, except those that came with the answer."""
        return self._upstream.received_bytes

    def sweep(self, now: float) -> None:
        """Called regularly: ends a tunnel without traffic for too long."""
        if self.moved:
            self.moved = False
            self._moved_at = now
        elif now - self._moved_at > (HALF_CLOSED_S if self._half_closed else self._idle_timeout_s):
            self.close()

    def half_close(self, end: End) -> bool:
        """One side has closed its sending side but may still receive. True while its connection
        stays open."""
        both = end.transport.can_write_eof() and end.other.transport.can_write_eof()  # not over TLS
        if self._half_closed or not both or end.other.transport.is_closing():
            return False
        self._half_closed = True
        self._has_client_end = end is self._upstream
        end.other.transport.write_eof()
        return True

    def lost(self, end: End) -> None:
        if not end.other.is_lost:
            if not self.is_leaving:
                self.close()
        elif not self.over.done():
            if self._linger is not None:
                self._linger.cancel()
            self.over.set_result(None)
            for each in (self._client, self._upstream):
                del each.tunnel, each.other  # so that memory is free at once

    def close(self) -> None:
        """End both sides once they have what is queued for them."""
        for end in (self._client, self._upstream):
            end.transport.close()
        if self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self.cut)

    def cut(self, code: int = 0, reason: str = "") -> None:
        """End both sides at once. A WebSocket's client gets the reason if it has only complete
        frames: a close frame in the middle of another would be read as part of that."""
        self._upstream.transport.abort()
        if code and not self.is_leaving and self._can_insert_frame():
            self._take_leave(write_close(code, reason))
        else:
            self._client.transport.abort()

    def _can_insert_frame(self) -> bool:
        """Whether the client can be sent a frame of Doorward's. After the upstream has closed its
        sending side, nothing can be written."""
        frames, is_over = self._frames, self._client.transport.is_closing()
        return frames is not None and frames.is_between and not (is_over or self._has_client_end)

    def _take_leave(self, close: bytes) -> None:
        """Send it and read for a moment longer: a connection that is closed with unread bytes is
        reset, and the client's system then drops what it has not read."""
        self.is_leaving = True
        client = self._client.transport
        client.write(close)
        if client.can_write_eof():  # not over TLS
            client.write_eof()
        client.resume_reading()
        if self._linger is not None:
            self._linger.cancel()
        self._linger = self._loop.call_later(FAREWELL_S, self.cut)
