"""Back-pressure of one connection, both ways. Must not know the content."""

import asyncio

# How much of a request's body is kept before it is asked for.
HIGH_WATER_BYTES = 256 * 1024


class Flow:
    """`write_paused`: the client has not read what was written."""

    __slots__ = ("_drained", "_is_held", "_transport", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._drained: asyncio.Future[None] | None = None
        self.read_paused = self.write_paused = self._is_held = False

    async def drain(self) -> None:
        """Wait until the client has caught up, or left."""
        while self.write_paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def hold_reading(self) -> None:
        """Pause, and stay so until `release_reading`, whatever is resumed meanwhile."""
        self._is_held = True
        self.pause_reading()

    def release_reading(self) -> None:
        self._is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        if self.read_paused and not self._is_held:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.set_result(None)


def other_end(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """The client's address and port; None over a Unix socket."""
    name = transport.get_extra_info("peername")
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) > 1 else None


def own_end(transport: asyncio.BaseTransport) -> tuple[str, int | None] | None:
    """The address and port that the client connected to, or the path of a Unix socket."""
    name = transport.get_extra_info("sockname")
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return (name, None) if isinstance(name, str) else None
