"""The head readers in pure Python: slower than `_heads.pyx`, with the same results.

Knows the bytes of heads; `Actions` says what to do with each name. See `heads.py`.
"""

from typing import Generic, TypeVar

from doorward.header_names import forget_with
from doorward.http1 import head_tables as tables
from doorward.http1.head_tables import Actions
from doorward.http1.headers import OWS, Header

# Names in this module are faster to look up than attributes of another.
_PASS, _DROP, _CONNECTION = tables.PASS, tables.DROP, tables.CONNECTION
_CONTENT_LENGTH, _TRANSFER_ENCODING = tables.CONTENT_LENGTH, tables.TRANSFER_ENCODING
_ONCE, _ONCE_END = tables.ONCE, tables.ONCE + tables.ONCE_NAMES
_HOST, _COOKIE, _PAIR, _TE = tables.HOST, tables.COOKIE, tables.PAIR, tables.TE
_REQUEST_ID = tables.REQUEST_ID
_SET_COOKIE, _CACHE_CONTROL = tables.SET_COOKIE, tables.CACHE_CONTROL
_SHARED_CACHES, _KEEP_ALIVE = tables.SHARED_CACHES, tables.KEEP_ALIVE
_DATE, _EXPIRES = tables.DATE, tables.EXPIRES
_METHODS, _HEAD_BYTES, _LINES = tables.METHODS, tables.HEAD_BYTES, tables.LINES

# Headers of which every line counts, and the field that collects their values.
_SEVERAL = {
    tables.AUTHORIZATION: "authorizations",
    tables.FORWARDED: "forwarded",
    tables.FORWARDED_FOR: "forwarded_for",
    tables.FORWARDED_PROTO: "forwarded_proto",
    tables.FORWARDED_HOST: "forwarded_host",
    tables.FORWARDED_PORT: "forwarded_port",
    tables.FORWARDED_PREFIX: "forwarded_prefix",
}
# An answer with two lines of one of these is unusual: they could contradict each other.
_SINGLE = frozenset((_CONNECTION, _CONTENT_LENGTH, _TRANSFER_ENCODING, _KEEP_ALIVE, _EXPIRES))
# Allowed values of Connection; others name headers, or ask for another protocol.
_OPTIONS = frozenset((b"keep-alive", b"close"))
# The bits of the two headers that state the body's length.
_TWO_LENGTHS = 1 << _CONTENT_LENGTH | 1 << _TRANSFER_ENCODING

# Translation tables that change exactly the bytes that are not valid in a value or a target.
_AS_VALUE = bytes(byte if byte in tables.VALUE_BYTES else byte ^ 1 for byte in range(256))
_AS_TARGET = bytes(byte if byte in tables.TARGET_BYTES else byte ^ 1 for byte in range(256))

# Limits of the caches: lines and their length, blocks and the lines of their heads. An attacker can
# fill a few MiB.
_KNOWN, _KNOWN_BYTES = 1024, 256
_BLOCKS, _BLOCK_LINES = 512, 32


class RequestFields:
    """The fields of a request head, and their defaults."""

    method = target = path = text = passing_text = host = b""
    keep_alive = True
    has_usual_target = has_body = chunked = trailers = False
    content_length: bytes | None = None
    request_id: bytes | None = None
    cookies: tuple[bytes, ...] = ()
    authorizations: tuple[bytes, ...] = ()
    pairs: tuple[Header, ...] = ()
    forwarded: tuple[bytes, ...] = ()
    forwarded_for: tuple[bytes, ...] = ()
    forwarded_proto: tuple[bytes, ...] = ()
    forwarded_host: tuple[bytes, ...] = ()
    forwarded_port: tuple[bytes, ...] = ()
    forwarded_prefix: tuple[bytes, ...] = ()


class AnswerFields:
    """The fields of an answer's head, with their defaults."""

    status = 0
    text = passing_text = b""
    keep_alive = True
    chunked = is_dated = False
    length = -1
    kept: bytes | None = None
    set_cookies: tuple[bytes, ...] = ()
    cache_control: bytes | None = None
    expires_at = expires_end = 0


_Request = TypeVar("_Request", bound=RequestFields)
_Answer = TypeVar("_Answer", bound=AnswerFields)

# A line that was read: its action, the beginning of the forwarded line, and its value.
_Line = tuple[int, bytes, bytes]


class _Block:
    """The cached lines of a head, joined. `before`: the forwarded lines before the first line that
    is not cached. `others`: the index of each line that is not cached, with the forwarded lines
    between it and the next one."""

    __slots__ = ("before", "is_dated", "others", "seen")

    def __init__(self) -> None:
        self.before = b""
        self.others: list[tuple[int, bytes]] = []
        self.seen = 0  # a bit for each action that occurred and may not occur again
        self.is_dated = False

    def end_run(self, place: int, passing: list[bytes]) -> None:
        """Store `passing`, the forwarded lines after the line at index `place`; 0 is the first line
        of the head."""
        if place:
            self.others.append((place, b"".join(passing)))
        else:
            self.before = b"".join(passing)


class _Lines:
    """Reads header lines, and caches those that are often the same.

    Browsers and applications send most of their lines with every message. Lines with a name in
    `Actions.repeating` are cached by their bytes, and so is the `_Block` of each combination of
    cached lines. This saves 9 us of 79 for a request that differs from the last.
    """

    def __init__(self, actions: Actions, *, lowers: bool) -> None:
        self._actions = actions
        self._lowers = lowers
        # By the name as it was sent: the action of its lines and how the forwarded line begins.
        # First for names whose lines are not cached, then for names whose lines are.
        self.names: dict[bytes, tuple[int, bytes]] = {}
        self._repeating: dict[bytes, tuple[int, bytes]] = {}
        # Cached lines: first those that are only forwarded or dropped, with the forwarded line;
        # then those that set a field.
        self.known: dict[bytes, bytes] = {}
        self._acting: dict[bytes, _Line] = {}
        self.blocks: dict[tuple[bytes | None, ...], _Block] = {}
        forget_with(self._forget)

    def _forget(self) -> None:
        for kept in (self.names, self._repeating, self.known, self._acting, self.blocks):
            kept.clear()

    def join(self, lines: list[bytes]) -> _Block | None:
        """Build the block of these lines, of which the first is the request or status line. None if
        a header that may appear once appears twice."""
        found = tuple(map(self.known.get, lines))
        block, passing, place = _Block(), [b""], 0
        for at, text in enumerate(found):
            if text is not None:
                name = text.partition(b": ")[0].lower()
                action = self._actions.find(name) if text else _DROP
                if action == _CONNECTION or _ONCE <= action < _ONCE_END:
                    if block.seen >> action & 1:
                        return None
                    block.seen |= 1 << action
                block.is_dated = block.is_dated or action == _DATE
                if action != _CONNECTION:
                    passing.append(text)
            elif at:
                block.end_run(place, passing)
                passing, place = [], at
        block.end_run(place, passing)
        if len(lines) <= _BLOCK_LINES:
            if len(self.blocks) >= _BLOCKS:
                self.blocks.clear()
            self.blocks[found] = block
        return block

    def read(self, line: bytes) -> _Line | None:
        """Read a line. None if it is not plain."""
        name, _, value = line.partition(b": ")
        usual = self.names.get(name)
        # `strip` and `translate` return the object itself if they change nothing.
        if usual and value and value.strip(OWS) is value is value.translate(_AS_VALUE):
            return *usual, value
        found = self._acting.get(line)
        if found is not None:
            return found
        name, colon, raw = line.partition(b":")
        value = raw.strip(OWS)
        named = self.names.get(name) or self._repeating.get(name) or self._learn(name)
        if named is None or not colon or not raw.endswith(value):
            return None
        if value.translate(_AS_VALUE) != value:
            return None
        action, begin = named
        if name in self._repeating and len(line) <= _KNOWN_BYTES:
            self._keep(line, action, begin, value)
        return action, begin, value

    def _keep(self, line: bytes, action: int, begin: bytes, value: bytes) -> None:
        if len(self.known) + len(self._acting) >= _KNOWN:
            self.known.clear()
            self._acting.clear()
        if action == _DROP:
            self.known[line] = b""
        elif action in (_PASS, _DATE) or _ONCE <= action < _ONCE_END:
            self.known[line] = b"%b%b\r\n" % (begin, value)
        elif action == _CONNECTION and value.lower() == b"keep-alive":
            self.known[line] = b"%b%b\r\n" % (begin, value)  # the default, so it sets no field
        else:
            self._acting[line] = action, begin, value

    def _learn(self, name: bytes) -> tuple[int, bytes] | None:
        """Cache the action of a name. None if the name is invalid or too long."""
        if not 0 < len(name) <= tables.NAME_BYTES or name.translate(None, tables.TOKEN_BYTES):
            return None
        lowered = name.lower()
        named = self._repeating if lowered in self._actions.repeating else self.names
        if len(named) >= tables.LEARNT:
            named.clear()
        begin = b"%b: " % (lowered if self._lowers else name)
        found = named[name] = self._actions.find(lowered), begin
        return found


def _whole(data: bytes | bytearray, start: int, head_bytes: int) -> bytes:
    """The head at `start` with its empty line, or b"" if it is incomplete."""
    if head_bytes > _HEAD_BYTES:
        head_bytes = _HEAD_BYTES
    if start < 0 or head_bytes < 0:
        return b""
    end = data.find(b"\r\n\r\n", start, start + head_bytes)
    if end < 0:
        return b""
    text = data[start : end + 4]
    return text if type(text) is bytes else bytes(text)


def _is_length(value: bytes) -> bool:
    """Whether it is a length in its usual form: digits without leading zeros."""
    if not value.isdigit() or len(value) > tables.LENGTH_DIGITS:
        return False
    return value[:1] != b"0" or value == b"0"


class RequestReader(Generic[_Request]):
    """Reads heads of requests into objects of the type `head`."""

    def __init__(self, actions: Actions, head: type[_Request]) -> None:
        self._lines = _Lines(actions, lowers=True)
        self._head = head

    def read(
        self,
        data: bytes | bytearray,
        start: int = 0,
        head_bytes: int = tables.HEAD_BYTES,
        target_bytes: int = tables.REQUEST_TARGET_BYTES,
        lines: int = tables.LINES,
    ) -> _Request | None:
        text = _whole(data, start, head_bytes)
        found = text[:-4].split(b"\r\n")
        try:
            method, target, version = found[0].split(b" ")
        except ValueError:
            return None
        if version != b"HTTP/1.1" or method not in _METHODS or len(target) > target_bytes:
            return None
        if target[:1] != b"/" or target.translate(_AS_TARGET) != target:
            return None
        if len(found) > lines + 1 or len(found) > _LINES + 1:
            return None
        reader = self._lines
        block = reader.blocks.get(tuple(map(reader.known.get, found))) or reader.join(found)
        if block is None:
            return None
        head = self._head()
        head.method, head.target, head.text = method, target, text
        head.path = target.partition(b"?")[0]
        head.has_usual_target = tables.USUAL_TARGET.fullmatch(target) is not None
        return head if _sort_request(head, found, block, reader) else None


def _sort_request(head: RequestFields, lines: list[bytes], block: _Block, reader: _Lines) -> bool:
    """Set the fields that the gate reads, and join the forwarded lines. False if the head is
    unusual, which leaves it to llhttp."""
    passing, seen = [block.before], block.seen
    for place, behind in block.others:
        found = reader.read(lines[place])
        if found is None:
            return False
        action, begin, value = found
        if action == _PASS:
            passing += (begin, value, b"\r\n", behind)
            continue
        if action == _COOKIE:
            head.cookies += (value,)
        elif action == _DROP:
            pass
        elif action in _SEVERAL:
            field = _SEVERAL[action]
            setattr(head, field, (*getattr(head, field), value))
        elif action == _PAIR:
            head.pairs += ((begin[:-2], value),)
        elif seen >> action & 1 and action != _TE:
            return False
        else:
            seen |= 1 << action
            if _ONCE <= action < _ONCE_END:
                passing += (begin, value, b"\r\n")
            elif not _keep_single(head, action, value):
                return False
        passing.append(behind)
    head.passing_text = b"".join(passing)
    return bool(seen >> _HOST & 1) and seen & _TWO_LENGTHS != _TWO_LENGTHS


def _keep_single(head: RequestFields, action: int, value: bytes) -> bool:
    """Set the field of a header that may appear once. False if its value is unusual."""
    if action == _HOST:
        head.host = value
        return value != b""
    if action == _CONNECTION:
        head.keep_alive = value.lower() != b"close"
        return value.lower() in _OPTIONS
    if action == _CONTENT_LENGTH:
        head.content_length, head.has_body = value, value != b"0"
        return _is_length(value)
    if action == _TRANSFER_ENCODING:
        head.chunked = head.has_body = True
        return value.lower() == b"chunked"
    if action == _REQUEST_ID:
        head.request_id = value
        return True
    head.trailers = action == _TE
    return head.trailers and value.lower() == b"trailers"


class AnswerReader(Generic[_Answer]):
    """Reads heads of answers into objects of the type `head`."""

    def __init__(self, actions: Actions, head: type[_Answer]) -> None:
        self._lines = _Lines(actions, lowers=False)
        self._statuses: dict[bytes, int] = {}  # by status line
        self._head = head

    def read(
        self,
        data: bytes | bytearray,
        start: int = 0,
        private: bool = False,
        head_bytes: int = tables.HEAD_BYTES,
        lines: int = tables.LINES,
    ) -> _Answer | None:
        text = _whole(data, start, head_bytes)
        found = text[:-4].split(b"\r\n")
        status = self._statuses.get(found[0]) or self._read_status(found[0])
        if not status or len(found) > lines + 1 or len(found) > _LINES + 1:
            return None
        reader = self._lines
        block = reader.blocks.get(tuple(map(reader.known.get, found))) or reader.join(found)
        if block is None:
            return None
        head = self._head()
        head.text, head.status = text, status
        return head if _sort_answer(head, found, block, reader, private) else None

    def _read_status(self, line: bytes) -> int:
        """The status in a status line; 0 if the line is unusual."""
        digits, reason = line[9:12], line[12:]
        if line[:9] != b"HTTP/1.1 " or reason[:1] != b" " or not digits.isdigit():
            return 0
        if reason.translate(_AS_VALUE) != reason or not 200 <= int(digits) < 600:
            return 0
        if len(line) <= _KNOWN_BYTES:
            if len(self._statuses) >= _KNOWN:
                self._statuses.clear()
            self._statuses[line] = int(digits)
        return int(digits)


def _sort_answer(
    head: AnswerFields, lines: list[bytes], block: _Block, reader: _Lines, private: bool
) -> bool:
    """Set the fields of a head, and join the forwarded lines. False if the head is unusual."""
    passing, seen = [block.before], block.seen
    head.is_dated = block.is_dated
    for place, behind in block.others:
        found = reader.read(lines[place])
        if found is None:
            return False
        action, begin, value = found
        if action == _SET_COOKIE:
            head.set_cookies += (value,)
        elif action != _PASS:
            if seen >> action & 1 and action in _SINGLE:
                return False
            seen |= 1 << action
            goes_on = _keep(head, action, value, private)
            if goes_on is None:
                return False
            if not goes_on:
                passing.append(behind)
                continue
            if action == _EXPIRES:
                head.expires_at = sum(map(len, passing))
                head.expires_end = head.expires_at + len(begin) + len(value) + 2
        passing += (begin, value, b"\r\n", behind)
    head.passing_text = b"".join(passing)
    return _find_end(head)


def _keep(head: AnswerFields, action: int, value: bytes, private: bool) -> bool | None:
    """Set the field of a line. True if the line is forwarded, None if it is unusual."""
    if action == _CONTENT_LENGTH:
        if not _is_length(value):
            return None
        head.length = int(value)
    elif action == _DROP:
        return False
    elif action == _DATE:
        head.is_dated = True
    elif action == _CACHE_CONTROL:
        if private:
            before = head.cache_control
            head.cache_control = value if before is None else before + b"," + value
        return not private
    elif action == _SHARED_CACHES:
        return not private
    elif action == _KEEP_ALIVE:
        head.kept = value
        return False
    elif action == _CONNECTION:
        head.keep_alive = value.lower() != b"close"
        return False if value.lower() in _OPTIONS else None
    elif action == _TRANSFER_ENCODING:
        head.chunked = True
        return False if value.lower() == b"chunked" else None
    elif action != _EXPIRES:
        return None
    return True


def _find_end(head: AnswerFields) -> bool:
    """Whether the headers agree on where the body ends. If it ends with the connection, set
    `keep_alive` to False (RFC 9112 6.3, 9.3)."""
    status, length, chunked = head.status, head.length, head.chunked
    bodiless = status in (204, 304)
    if chunked and (length >= 0 or bodiless):
        return False
    if status == 204 and length >= 0:
        return False
    if not (chunked or length >= 0 or bodiless):
        head.keep_alive = False
    return True
