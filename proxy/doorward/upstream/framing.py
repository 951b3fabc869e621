"""How an answer's head says where its body ends (RFC 9112 6.3).

Must not know the connection that it comes over.
"""

from doorward.upstream.failures import InvalidAnswer

Header = tuple[bytes, bytes]


def body_length(headers: list[Header]) -> int:
    """The body's length, or -1. Raises InvalidAnswer for a coding that only its sender can undo."""
    length = -1
    for name, value in headers:
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            length = int(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            if value.strip(b" \t").lower() != b"chunked":
                raise InvalidAnswer("a transfer coding that was not asked for")
    return length
