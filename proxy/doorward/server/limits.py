"""Limits on connections, and on how long a client may keep one waiting.

Knows numbers and clocks of client connections; must not know the content. Clocks are made when
first needed: a request without a body and a client that reads need none.
"""

import array
import asyncio
import contextlib
import fcntl
import resource
import select
import termios
from typing import Literal, Protocol

import structlog

from doorward.gate.accept import parse_address
from doorward.settings import Network, Settings

_log = structlog.get_logger("doorward.server")

# What a process asks for: three times what the default of `limits.connections` needs.
DESCRIPTORS = 65536
# What a process needs besides its connections: the database, logs, listeners, libraries, and kept
# connections to upstreams.
OTHER_DESCRIPTORS = 128
# A browser opens six connections to a host: with fewer than these, a handful of people get 503.
FEW_CONNECTIONS = 100

# How often to check whether a silent client is still there; and when it is first sent something to
# find out, and after how long again.
GONE_S = 0.25
PROBE_S = (1.0, 10.0)

Peers = tuple[Network | Literal["unix"], ...]


class Counts:
    """The connections of one listener in one process, in total and by peer address.

    `free` are networks whose addresses are not counted separately.
    """

    def __init__(self, most: int | None, most_per_address: int | None, free: Peers) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._free = tuple(network for network in free if network != "unix")
        self.all = 0
        self.by_address: dict[int, int] = {}

    def enter(self, address: str) -> "Place | None":
        """A place for a connection, or None if there are too many. `address` is empty on a Unix
        socket."""
        if self._most is not None and self.all >= self._most:
            return None
        place = Place(self)
        if not place.move(address):
            return None
        self.all += 1
        return place

    def add(self, key: int | None) -> bool:
        """Count a connection of one address; False if it has too many."""
        if key is not None:
            count = self.by_address.get(key, 0)
            if self._most_per_address is not None and count >= self._most_per_address:
                return False
            self.by_address[key] = count + 1
        return True

    def take(self, key: int | None) -> None:
        """Stop counting a connection of one address."""
        if key is not None:
            self.by_address[key] -= 1
            if not self.by_address[key]:
                del self.by_address[key]

    def key(self, address: str) -> int | None:
        """The unit that counts as one address: for IPv6 a /64, which one client can have. None: it
        is not counted."""
        if self._most_per_address is None:
            return None
        parsed = parse_address(address)
        if parsed is None or any(parsed in network for network in self._free):
            return None
        return int(parsed) if parsed.version == 4 else -(int(parsed) >> 64)


class Place:
    """The place of one counted connection, from its accept to its end."""

    __slots__ = ("_counts", "_key", "_left")

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._key: int | None = None
        self._left = False

    def move(self, address: str) -> bool:
        """Count it as a connection of this address from now on; False if that has too many."""
        key = self._counts.key(address)
        if not self._counts.add(key):
            return False
        self._counts.take(self._key)
        self._key = key
        return True

    def leave(self) -> None:
        """The connection is closed. Further calls do nothing."""
        if not self._left:
            self._left = True
            self._counts.all -= 1
            self._counts.take(self._key)


def fit_descriptors(settings: Settings) -> Settings:
    """The same settings, with `limits.connections` lowered to what this process has descriptors
    for, after raising its limit as far as the system allows. Logs one line if it was lowered.

    Many shells start with 1024, for programs that use select(); this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return settings
    most = max((soft - OTHER_DESCRIPTORS) // 2, 1)
    asked = settings.limits.connections
    if asked is not None and asked <= most:
        return settings
    matters = most < FEW_CONNECTIONS or "connections" in settings.limits.model_fields_set
    (_log.warning if matters else _log.info)(
        "connections_lowered",
        descriptors=soft,
        connections=most,
        asked=asked,
        reason="each may need two descriptors; raise the limit (ulimit -n, LimitNOFILE=)",
    )
    limits = settings.limits.model_copy(update={"connections": most})
    return settings.model_copy(update={"limits": limits})


class TimedConnection(Protocol):
    """A client connection, for its clocks."""

    @property
    def is_held_back(self) -> bool:
        """Whether Doorward does not read what the client sends, or has not asked for it yet."""

    @property
    def awaits_body(self) -> bool:
        """Whether more of a body is expected."""

    @property
    def awaits_reader(self) -> bool:
        """Whether the client has to read before more can be sent."""

    def body_late(self) -> None: ...


class BodyClock:
    """Runs while a body is being received: one timer that checks again, whatever arrives
    meanwhile."""

    __slots__ = ("_came_at", "_connection", "_held_back", "_loop", "_seconds", "_timer")

    def __init__(self, connection: TimedConnection, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._came_at = 0.0
        self._held_back = False

    def came(self) -> None:
        """Part of an incomplete message has arrived."""
        self._came_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if not self._connection.awaits_body:
            return
        # its time begins when Doorward reads again
        if self._connection.is_held_back or self._held_back:
            self._held_back = self._connection.is_held_back
            self.came()
            return
        left = self._came_at + self._seconds - self._loop.time()
        if left <= 0:
            self._connection.body_late()
        else:
            self._timer = self._loop.call_later(left, self._look)


class ReaderClock:
    """Runs while a client does not read what is sent; closes the connection if it reads nothing."""

    __slots__ = ("_connection", "_left", "_loop", "_moved", "_seconds", "_timer", "_transport")

    def __init__(
        self, connection: TimedConnection, transport: asyncio.WriteTransport, seconds: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._moved = False

    def start(self) -> None:
        if self._timer is None:
            self._moved = False
            self._wait()

    def moved(self) -> None:
        """The client has caught up."""
        self._moved = True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._left = self._untaken()
        self._timer = self._loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._connection.awaits_reader:
            return
        if not self._moved and self._untaken() >= self._left:
            self._transport.abort()
            return
        self._moved = False
        self._wait()

    def _untaken(self) -> int:
        """Bytes that wait here and in the kernel. The kernel asks for more only when a good part of
        several MiB is free again, which takes a slow client many minutes."""
        count = array.array("i", [0])
        with contextlib.suppress(OSError, AttributeError):
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
        return self._transport.get_write_buffer_size() + count[0]


class HalfClosed:
    """Watches a client that has closed its sending side and waits for an answer: is it still there?

    On the network, a close looks like the end of the client's data until something is sent to it.
    So an interim answer, which any client may ignore (RFC 9110 15.2.1), is sent regularly: a client
    that has closed resets the connection. In the middle of an answer that is impossible; if its
    next bytes take longer than one interval, the client counts as gone. On a Unix socket the kernel
    tells both apart.
    """

    __slots__ = ("_connection", "_loop", "_poll", "_probe_at", "_timer", "_transport")

    def __init__(self, connection: "ProbedConnection", transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._transport = transport
        self._probe_at = self._loop.time() + PROBE_S[0]
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), 0)
        self._timer = self._loop.call_soon(self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        # for errors and for a close of both sides, which are always reported
        if self._poll.poll(0):
            self._transport.abort()
            return
        now = self._loop.time()
        if now >= self._probe_at:
            self._probe_at = now + PROBE_S[1]
            if not self._connection.probe():
                self._transport.abort()
                return
        self._timer = self._loop.call_later(GONE_S, self._look)


class ProbedConnection(Protocol):
    """A client connection that waits for an answer."""

    def probe(self) -> bool:
        """Send the client something that changes nothing, if possible now. False if nothing can be
        sent, and nothing was since the last time: the client counts as gone."""
