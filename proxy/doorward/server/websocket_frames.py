"""Finds where frames end in a stream of WebSocket frames (RFC 6455 5.2).

Knows the lengths in their headers; must not know their content, and keeps only the first bytes of
an incomplete header.
"""

_CLOSE = 0x8
_FINAL = _MASKED = 0x80
_LENGTH_BYTES = {126: 2, 127: 8}
# Frames that are followed before other connections have their turn: at most 1 ms. A piece that was
# read at once has up to 130,000, and a sender that is fast enough fills the next one meanwhile.
FRAMES_AT_ONCE = 8192


def write_close(code: int, reason: str) -> bytes:
    """A server's close frame; `reason` has at most 123 bytes (RFC 6455 5.5)."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((_FINAL | _CLOSE, len(payload))) + payload


class FrameReader:
    """Follows frames. `is_between` is true where another frame can be inserted: no frame is
    incomplete, and none that was sent forbids it. Frames of one message may have others between
    them."""

    __slots__ = ("_header", "_left", "_opcode")

    def __init__(self) -> None:
        self._left = 0  # of the payload that is being sent
        self._header = b""  # the beginning of the next frame
        self._opcode = 0  # of the last frame that was begun

    @property
    def is_between(self) -> bool:
        """RFC 6455 5.5.1: nothing follows a close frame."""
        return not self._left and not self._header and self._opcode != _CLOSE

    def read(self, data: bytes) -> int:
        """Take the next bytes of the stream, up to the end of so many frames, and return how many
        bytes were taken."""
        at, size, carried = self._left, len(data), len(self._header)
        if carried:
            data, self._header = self._header + data, b""
            size += carried
        last = -1
        for _ in range(FRAMES_AT_ONCE):
            if size - at <= 1:
                break
            second = data[at + 1]
            if second < 126:  # short and not masked, as servers send most
                last, at = at, at + 2 + second
                continue
            if second == 126 and size - at > 3:  # most of the others
                last, at = at, at + 4 + (data[at + 2] << 8 | data[at + 3])
                continue
            end = self._end_long(data, at, second)
            if end < 0:
                break
            last, at = at, end
        else:
            size = min(size, at)
        if last >= 0:
            self._opcode = data[last] & 0xF
        self._left = max(0, at - size)
        if at < size:
            self._header = data[at:]
        return size - carried

    def _end_long(self, data: bytes, at: int, second: int) -> int:
        """Where a frame with a header of more than two bytes ends; -1 while the header is
        incomplete."""
        length = second & ~_MASKED
        extended = _LENGTH_BYTES.get(length, 0)
        start = at + 2 + extended + (4 if second & _MASKED else 0)
        if start > len(data):
            return -1
        if extended:
            length = int.from_bytes(data[at + 2 : at + 2 + extended], "big")
        return start + length
