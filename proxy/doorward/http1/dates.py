"""Dates in the format of HTTP.

Must not know what they are used for.
"""

import time
from email.utils import formatdate
from functools import lru_cache


def now_header() -> bytes:
    """The current value of a Date header (RFC 9110 6.6.1)."""
    return _format_second(int(time.time()))


@lru_cache(maxsize=2)
def _format_second(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
