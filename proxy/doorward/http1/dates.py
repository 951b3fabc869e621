"""Dates in the format of HTTP.

Must not know what they are used for.
"""

import time
from email.utils import formatdate
from functools import lru_cache


def write_date() -> bytes:
    """The line of a Date header with the current time (RFC 9110 6.6.1)."""
    return _write_second(int(time.time()))


@lru_cache(maxsize=2)
def _write_second(second: int) -> bytes:
    return f"date: {formatdate(second, usegmt=True)}\r\n".encode()
