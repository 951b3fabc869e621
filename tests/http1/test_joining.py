"""How bytes for one peer are divided into writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from doorward.http1.joining import JOINED_BYTES, PART_BYTES, Piece, write_with_head
from hypothesis import given
from hypothesis import strategies as st

HEADS = (b"", b"a head\r\n\r\n")
READ_BYTES = 256_000  # what uvloop reads at a time


class Writes(asyncio.WriteTransport):
    """The writes, each with the sizes of its buffers."""

    def __init__(self) -> None:
        self.sizes: list[list[int]] = []
        self.text = b""

    def write(self, data: Piece | bytearray) -> None:
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Piece | bytearray]) -> None:
        parts = tuple(list_of_data)
        self.sizes.append([len(part) for part in parts])
        self.text += b"".join(parts)


@given(st.integers(0, 5 * PART_BYTES), st.sampled_from(HEADS), st.booleans())
def test_every_byte_is_written_once_and_in_order(size: int, head: bytes, is_view: bool) -> None:
    data = bytes(number * 31 % 251 for number in range(size))
    transport = Writes()
    write_with_head(transport, head, memoryview(data) if is_view else data)
    assert transport.text == head + data
    assert all(size for sizes in transport.sizes for size in sizes)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [1, JOINED_BYTES])
def test_few_bytes_are_joined_with_the_head(size: int, head: bytes) -> None:
    transport = Writes()
    write_with_head(transport, head, bytes(size))
    assert transport.sizes == [[len(head) + size]]


@pytest.mark.parametrize("size", [JOINED_BYTES + 1, PART_BYTES])
def test_larger_bodies_are_written_in_one_call_without_a_copy(size: int) -> None:
    transport = Writes()
    write_with_head(transport, b"head", bytes(size))
    assert transport.sizes == [[4, size]]


@pytest.mark.parametrize("size", [PART_BYTES + 1, READ_BYTES - 1, READ_BYTES, 1024 * 1024])
def test_large_bodies_are_split_into_equal_parts(size: int) -> None:
    transport = Writes()
    write_with_head(transport, b"head", bytes(size))
    first, *rest = transport.sizes
    parts = [first[1], *(size for sizes in rest for size in sizes)]
    assert len(parts) == -(-size // PART_BYTES) and max(parts) <= PART_BYTES
    assert max(parts) - min(parts) < len(parts)


def test_empty_bytes_are_not_written() -> None:
    transport = Writes()
    write_with_head(transport, b"", b"")
    assert not transport.sizes
