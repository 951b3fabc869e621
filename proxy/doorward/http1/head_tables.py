"""What the head readers look up: which bytes may stand where, and what is done with each line.

The compiled reader and its twin share these tables, so that neither has a list of its own. Names
are not here: `heads.py` asks `classify_header`, and a reader of answers brings a function like it.
"""

import re
import string
from collections.abc import Callable, Iterable

from doorward.header_names import forget_with
from doorward.http1.headers import TOKEN
from doorward.http1.methods import KNOWN, NEVER

# RFC 9110 5.6.2: what a field name is made of.
TOKEN_BYTES = bytes(byte for byte in range(256) if TOKEN.fullmatch(bytes((byte,))))
# RFC 9110 5.5 with obs-text. Lines that end with a tab or space are left to llhttp, which keeps it.
VALUE_BYTES = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
# What `gate/path_readings.check_target` lets pass; a test compares the two.
TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x23)
# What a segment of a usual target begins with and holds. Such a target has one reading: no empty
# segment, escape or parameter, none that begins with a dot, and any valid query behind. Of others
# `gate/path_readings.py` lists all.
SEGMENT_START_BYTES = string.ascii_letters.encode() + string.digits.encode() + b"-_~"
SEGMENT_BYTES = SEGMENT_START_BYTES + b".!$&'()*+,=:@"
_SEGMENT = b"[%b][%b]*" % (re.escape(SEGMENT_START_BYTES), re.escape(SEGMENT_BYTES))
USUAL_TARGET = re.compile(
    rb"/(?:%b/)*(?:%b)?(?:\?[%b]*)?" % (_SEGMENT, _SEGMENT, re.escape(TARGET_BYTES)), re.ASCII
)
# Other methods reach llhttp under the name of another one (see `server/request_parser.py`).
METHODS = KNOWN - NEVER

# A reader leaves longer heads and names, and more lines, to llhttp, whose user counts them. For
# requests they are the settings' defaults. Whatever `limits` say, no more lines are collected here.
HEAD_BYTES = 64 * 1024
REQUEST_TARGET_BYTES = 16 * 1024
LINES = 256
NAME_BYTES = 64
# A length of more digits may not fit into 64 bits.
LENGTH_DIGITS = 18

# What is done with a line. Of requests and answers:
PASS = 0  # forwarded
DROP = 1
UNUSUAL = 2  # the head is not for the reader
CONNECTION = 3
CONTENT_LENGTH = 4
TRANSFER_ENCODING = 5
# Of requests:
ONCE = 10  # forwarded, and a second one is unusual. ONCE + n is the n-th such name
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
CACHE_CONTROL = 41  # is set aside where the answer is for one session
SHARED_CACHES = 42  # is dropped there
KEEP_ALIVE = 43
DATE = 44
EXPIRES = 45

# Names that a client or an upstream makes up fill no memory beyond this.
LEARNT = 2048


class Actions:
    """What is done with a line by its lower-case name, as `action_of` says. Names in `usual` are
    asked for once and kept; of others, a limited number is remembered. A reader may keep lines of
    names in `repeating`."""

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
