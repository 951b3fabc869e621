"""The tables of both head readers: which bytes are valid where, and what is done with each line.

The compiled reader and the one in Python share them, so that neither has a list of its own. Names
of headers are not here: `heads.py` calls `classify_header` for requests, and a function of the
caller for answers.
"""

import re
import string
from collections.abc import Callable, Iterable

from doorward.header_names import forget_with
from doorward.http1.headers import TOKEN
from doorward.http1.methods import KNOWN, NEVER

# RFC 9110 5.6.2: the bytes of a field name.
TOKEN_BYTES = bytes(byte for byte in range(256) if TOKEN.fullmatch(bytes((byte,))))
# RFC 9110 5.5 with obs-text. Lines that end with a tab or space are left to llhttp, which keeps
# that space.
VALUE_BYTES = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
# The bytes that `path_readings.check_target` accepts; a test compares the two.
TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x23)
# How a segment of a usual target begins, and what it contains. Such a target can be read in one way
# only: it has no empty segment, escape or parameter, no segment that begins with a dot, and may end
# with any valid query. `path_readings.py` lists the readings of other targets.
SEGMENT_START_BYTES = string.ascii_letters.encode() + string.digits.encode() + b"-_~"
SEGMENT_BYTES = SEGMENT_START_BYTES + b".!$&'()*+,=:@"
_SEGMENT = b"[%b][%b]*" % (re.escape(SEGMENT_START_BYTES), re.escape(SEGMENT_BYTES))
USUAL_TARGET = re.compile(
    rb"/(?:%b/)*(?:%b)?(?:\?[%b]*)?" % (_SEGMENT, _SEGMENT, re.escape(TARGET_BYTES)), re.ASCII
)


def is_usual_target(target: bytes) -> bool:
    """Whether a target contains only valid bytes and a path with one reading. False does not mean
    the opposite: the separate checks decide. They take three times as long."""
    return USUAL_TARGET.fullmatch(target) is not None


# llhttp gets other methods under the name of one that it knows (see `server/request_parser.py`).
METHODS = KNOWN - NEVER

# Longer heads and names, and heads with more lines, are left to llhttp, and its caller applies the
# limits. For requests, these are the defaults of the settings. A larger value in `limits` does not
# raise them.
HEAD_BYTES = 64 * 1024
REQUEST_TARGET_BYTES = 16 * 1024
LINES = 256
NAME_BYTES = 64
# A length with more digits may not fit into 64 bits.
LENGTH_DIGITS = 18

# What is done with a line. Of requests and answers:
PASS = 0  # forwarded
DROP = 1
UNUSUAL = 2  # the whole head is left to llhttp
CONNECTION = 3
CONTENT_LENGTH = 4
TRANSFER_ENCODING = 5
# Of requests:
ONCE = 10  # forwarded; a second one is unusual. ONCE + n is the n-th such name
ONCE_NAMES = 8
HOST = 20
COOKIE = 21
AUTHORIZATION = 22
PAIR = 23
TE = 24
REQUEST_ID = 25
FORWARDED = 26
FORWARDED_FOR = 27
FORWARDED_PROTO = 28
FORWARDED_HOST = 29
FORWARDED_PORT = 30
FORWARDED_PREFIX = 31
# Of answers:
SET_COOKIE = 40  # forwarded; the gate checks whether it could replace a cookie of ours
CACHE_CONTROL = 41  # kept apart if the answer is for one session
SHARED_CACHES = 42  # dropped if the answer is for one session
KEEP_ALIVE = 43
DATE = 44
EXPIRES = 45

# Limits the memory for names that a client or an upstream makes up.
LEARNT = 2048


class Actions:
    """The action for each line, by its lower-case name. `action_of` decides; its results are cached
    for all names in `usual`, and for a limited number of others. A reader may cache lines whose
    names are in `repeating`."""

    def __init__(
        self,
        action_of: Callable[[bytes], int],
        usual: Iterable[bytes],
        repeating: Iterable[bytes] = (),
    ) -> None:
        self._action_of = action_of
        self.repeating = frozenset(repeating)
        self.usual = {name: action_of(name) for name in usual}
        self._learnt: dict[bytes, int] = {}
        forget_with(self._learnt.clear)

    def find(self, name: bytes) -> int:
        action = self.usual.get(name)
        if action is None:
            action = self._learnt.get(name)
        if action is None:
            if len(self._learnt) >= LEARNT:
                self._learnt.clear()
            action = self._learnt[name] = self._action_of(name)
        return action
