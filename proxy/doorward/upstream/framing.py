"""What an answer's head says about its connection: where the body ends, and how long it is kept
afterwards.

RFC 9112 6.3 and 9.3. Must not know the connection.
"""

import re

from doorward.bounds import make_room
from doorward.http1.schemes import authenticates_connection
from doorward.upstream.failures import InvalidAnswer

Header = tuple[bytes, bytes]

LENGTH, CODING = b"content-length", b"transfer-encoding"
# Headers about the connection.
_TELLING = frozenset(
    (
        b"keep-alive",
        b"www-authenticate",
        b"proxy-authenticate",
        b"persistent-auth",  # IIS: this connection belongs to a user
    )
)
_TIMEOUT = re.compile(rb"(?:^|[,\s])timeout=(\d{1,6})(?!\d)", re.IGNORECASE)

# The kind of a name as it was spelled; names repeat from answer to answer.
_READ: dict[bytes, bytes | None] = {}
_READ_LIMIT = 2048
_READ_BYTES = 64


def _remember(name: bytes) -> bytes | None:
    lowered = name.lower()
    found = lowered if lowered in (LENGTH, CODING) or lowered in _TELLING else None
    if len(name) <= _READ_BYTES:
        make_room(_READ, _READ_LIMIT)
        _READ[name] = found
    return found


def body_length(headers: list[Header]) -> tuple[int, bool]:
    """The body's length, or -1; and whether `read_terms` has something to read. Raises
    InvalidAnswer for a transfer coding that Doorward cannot decode.

    One look-up per name, because this is done for every answer: 0.9 microseconds for ten.
    """
    length, tells = -1, False
    for name, value in headers:
        try:
            read = _READ[name]
        except KeyError:
            read = _remember(name)
        if read is None:
            continue
        if read == LENGTH:
            length = int(value)
        elif read == CODING:
            if value.strip(b" \t").lower() != b"chunked":
                raise InvalidAnswer("a transfer coding that was not asked for")
        else:
            tells = True
    return length, tells


def read_keep_alive(value: bytes) -> int | None:
    """The seconds in a Keep-Alive header, if there are any."""
    match = _TIMEOUT.search(value)
    return None if match is None else int(match[1])


def read_terms(headers: list[Header]) -> tuple[bool, int | None]:
    """Whether the connection belongs to one client from now on, and for how many seconds the
    upstream keeps it idle, None if it does not say."""
    binds, kept_s = False, None
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"keep-alive":
            told_s = read_keep_alive(value)
            kept_s = kept_s if told_s is None else told_s
        elif lowered == b"persistent-auth":
            binds = True
        elif lowered in _TELLING:
            binds = binds or authenticates_connection((value,))
    return binds, kept_s
