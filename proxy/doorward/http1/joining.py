"""How the bytes for one peer are divided into writes: few are joined with others, many are cut.

Knows what writes cost; must not know what is written.
"""

import asyncio

# Bytes up to this size are joined with others: a copy costs less than another write.
JOINED_BYTES = 16 * 1024
# More than this is written in equal parts. On the loopback interface, a segment has at most 65,483
# bytes, and a larger write ends with a small one, which costs as much as a large one. uvloop reads
# 256,000 bytes at a time, which are four parts. An answer of 1 MiB takes an eighth less CPU.
PART_BYTES = 64_000

# A piece of a body. A large one may be a view of what was received.
Piece = bytes | memoryview


def write_with_head(transport: asyncio.WriteTransport, head: bytes, piece: Piece) -> None:
    """Send a piece of a body, together with the head if this is the first. Both may be empty."""
    if len(piece) > PART_BYTES:
        for part in _cut(piece):
            write_with_head(transport, head, part)
            head = b""
    elif not head:
        if piece:
            transport.write(piece)
    elif len(piece) > JOINED_BYTES:
        transport.writelines((head, piece))
    else:
        transport.write(head + piece)


def _cut(piece: Piece) -> list[memoryview]:
    count = -(-len(piece) // PART_BYTES)
    size, view = -(-len(piece) // count), memoryview(piece)
    return [view[at : at + size] for at in range(0, len(piece), size)]
