"""When bytes for one peer are joined: a copy of few bytes costs less than another write."""

import asyncio

# Bytes up to this size are joined with others.
JOINED_BYTES = 16 * 1024

# A piece of a body. A large one may be a view of what was received.
Piece = bytes | memoryview


def write_with_head(transport: asyncio.WriteTransport, head: bytes, piece: Piece) -> None:
    """Send a piece of a body, together with the head if this is the first. Both may be empty."""
    if not head:
        if piece:
            transport.write(piece)
    elif len(piece) > JOINED_BYTES:
        transport.writelines((head, piece))
    else:
        transport.write(head + piece)
