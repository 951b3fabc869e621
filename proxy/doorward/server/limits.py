"""How many connections there may be, and how long a client may keep one waiting.

Knows numbers and clocks of client connections; must not know what is said over them. What is here
is made when it is first needed: a request without a body and a client that reads have none of it.
"""

import array
import asyncio
import contextlib
import fcntl
import resource
import termios
from typing import Literal, Protocol

from doorward.gate.accept import parse_address
from doorward.settings import Network

# Two for each of `limits.connections`, and some.
DESCRIPTORS = 65536

Peers = tuple[Network | Literal["unix"], ...]


class Counts:
    """The connections of one listener in one process, all and by their peers' addresses.

    `free` are networks whose addresses are not counted one by one.
    """

    def __init__(self, most: int | None, most_per_address: int | None, free: Peers) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._free = tuple(network for network in free if network != "unix")
        self._all = 0
        self._by_address: dict[int, int] = {}

    def enter(self, address: str) -> bool:
        """Count a connection, unless it is one too many. `address` is empty on a unix socket."""
        if self._most is not None and self._all >= self._most:
            return False
        if self._most_per_address is not None and (key := self._key(address)) is not None:
            count = self._by_address.get(key, 0)
            if count >= self._most_per_address:
                return False
            self._by_address[key] = count + 1
        self._all += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that had entered is gone."""
        self._all -= 1
        if self._most_per_address is not None and (key := self._key(address)) is not None:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

    def _key(self, address: str) -> int | None:
        """What is counted as one address: of IPv6 what one client may well have, a /64."""
        parsed = parse_address(address)
        if parsed is None or any(parsed in network for network in self._free):
            return None
        return int(parsed) if parsed.version == 4 else -(int(parsed) >> 64)


def raise_descriptors() -> None:
    """Let this process have as many descriptors as the system allows it: each connection is one.

    Many shells begin with 1024, for programs that use select(); this one does not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Patient(Protocol):
    """A client connection, as its clocks see it."""

    @property
    def is_held_back(self) -> bool:
        """Whether we do not read what the client sends, or have not asked for it yet."""

    @property
    def awaits_body(self) -> bool:
        """Whether more of a body has to come."""

    @property
    def awaits_reader(self) -> bool:
        """Whether the client has to read before anything else can be sent."""

    def body_late(self) -> None: ...


class BodyClock:
    """Runs while a body is coming: one timer that looks again, whatever comes meanwhile."""

    __slots__ = ("_came_at", "_connection", "_held_back", "_loop", "_seconds", "_timer")

    def __init__(self, connection: Patient, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._came_at = 0.0
        self._held_back = False

    def came(self) -> None:
        """Something came of a message that is not whole yet."""
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
        if self._connection.is_held_back or self._held_back:  # its time begins when we read again
            self._held_back = self._connection.is_held_back
            self.came()
            return
        left = self._came_at + self._seconds - self._loop.time()
        if left <= 0:
            self._connection.body_late()
        else:
            self._timer = self._loop.call_later(left, self._look)


class ReaderClock:
    """Runs while a client does not take what is sent; ends the connection when it takes nothing."""

    __slots__ = ("_connection", "_left", "_loop", "_moved", "_seconds", "_timer", "_transport")

    def __init__(
        self, connection: Patient, transport: asyncio.WriteTransport, seconds: float
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
        """The client has caught up for once."""
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
        some MiB is free again, which is many minutes' worth for a slow client."""
        count = array.array("i", [0])
        with contextlib.suppress(OSError, AttributeError):
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
        return self._transport.get_write_buffer_size() + count[0]
