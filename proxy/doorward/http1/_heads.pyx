# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, embedsignature=True
"""The compiled head readers: one pass over the bytes of a head, with no object for forwarded lines.

Knows the bytes of heads; `Actions` says what to do with each name. `_heads_py.py` has the same
readers in Python: they accept the same heads and set the same fields. See `heads.py`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from doorward.http1 import head_tables as tables

cdef extern from *:
    """
    #ifndef DOORWARD_HEADS_DIGEST
    #define DOORWARD_HEADS_DIGEST ""
    #endif
    """
    const char* DOORWARD_HEADS_DIGEST

DIGEST = DOORWARD_HEADS_DIGEST.decode()  # of the source file

ctypedef const unsigned char* Bytes

cdef enum:
    SLOTS = 1024  # a power of two, at least four times the number of usual names
    LOCAL_BYTES = 4096  # on the stack; the output of longer heads goes to the heap

cdef int PASS = tables.PASS
cdef int DROP = tables.DROP
cdef int UNUSUAL = tables.UNUSUAL
cdef int CONNECTION = tables.CONNECTION
cdef int CONTENT_LENGTH = tables.CONTENT_LENGTH
cdef int TRANSFER_ENCODING = tables.TRANSFER_ENCODING
cdef int ONCE = tables.ONCE
cdef int ONCE_END = tables.ONCE + tables.ONCE_NAMES
cdef int HOST = tables.HOST
cdef int COOKIE = tables.COOKIE
cdef int AUTHORIZATION = tables.AUTHORIZATION
cdef int PAIR = tables.PAIR
cdef int TE = tables.TE
cdef int REQUEST_ID = tables.REQUEST_ID
cdef int FORWARDED = tables.FORWARDED
cdef int FORWARDED_FOR = tables.FORWARDED_FOR
cdef int FORWARDED_PROTO = tables.FORWARDED_PROTO
cdef int FORWARDED_HOST = tables.FORWARDED_HOST
cdef int FORWARDED_PORT = tables.FORWARDED_PORT
cdef int FORWARDED_PREFIX = tables.FORWARDED_PREFIX
cdef int SET_COOKIE = tables.SET_COOKIE
cdef int CACHE_CONTROL = tables.CACHE_CONTROL
cdef int SHARED_CACHES = tables.SHARED_CACHES
cdef int KEEP_ALIVE = tables.KEEP_ALIVE
cdef int DATE = tables.DATE
cdef int EXPIRES = tables.EXPIRES

cdef Py_ssize_t HEAD_BYTES = tables.HEAD_BYTES
cdef Py_ssize_t REQUEST_TARGET_BYTES = tables.REQUEST_TARGET_BYTES
cdef Py_ssize_t LINES = tables.LINES
cdef Py_ssize_t NAME_BYTES = tables.NAME_BYTES
cdef Py_ssize_t LENGTH_DIGITS = tables.LENGTH_DIGITS

cdef frozenset METHODS = tables.METHODS
cdef bytes GET = b"GET"

# By byte: its lower case, or 0 if a name cannot contain it; whether a target may contain it; and
# the two sets of bytes in `USUAL_TARGET`.
cdef unsigned char[256] LOWER
cdef unsigned char[256] IS_TARGET
cdef unsigned char[256] IS_SEGMENT
cdef unsigned char[256] BEGINS_SEGMENT
cdef int _byte
for _byte in range(256):
    LOWER[_byte] = ord(bytes((_byte,)).lower()) if _byte in tables.TOKEN_BYTES else 0
    IS_TARGET[_byte] = _byte in tables.TARGET_BYTES
    IS_SEGMENT[_byte] = _byte in tables.SEGMENT_BYTES
    BEGINS_SEGMENT[_byte] = _byte in tables.SEGMENT_START_BYTES


@cython.no_gc
cdef class RequestFields:
    """The fields of a request head."""

    cdef readonly bytes method, target, path, text, passing_text, host
    cdef readonly bint has_usual_target, keep_alive, has_body, chunked, trailers
    cdef readonly bytes content_length, request_id
    cdef readonly tuple cookies, authorizations, pairs
    cdef readonly tuple forwarded, forwarded_for, forwarded_proto, forwarded_host
    cdef readonly tuple forwarded_port, forwarded_prefix


@cython.no_gc
cdef class AnswerFields:
    """The fields of an answer's head."""

    cdef readonly int status
    cdef readonly bytes text, passing_text, kept, cache_control
    cdef readonly bint keep_alive, chunked, is_dated
    cdef readonly long long length
    cdef readonly tuple set_cookies
    cdef readonly Py_ssize_t expires_at, expires_end


cdef class Names:
    """A hash table of the actions of usual names; `Actions` finds those of other names."""

    cdef object other
    cdef list kept  # owns the bytes that `name` points to
    cdef Bytes[SLOTS] name
    cdef Py_ssize_t[SLOTS] size
    cdef int[SLOTS] action

    def __cinit__(self, actions):
        self.other = actions.find
        self.kept = list(actions.usual)
        if len(self.kept) * 4 > SLOTS:
            raise ValueError("too many usual names")
        memset(self.size, 0, sizeof(self.size))
        cdef bytes name
        cdef uint32_t slot
        for name in self.kept:
            slot = _hash(<Bytes>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)) % SLOTS
            while self.size[slot]:
                slot = (slot + 1) % SLOTS
            self.name[slot] = <Bytes>PyBytes_AS_STRING(name)
            self.size[slot] = PyBytes_GET_SIZE(name)
            self.action[slot] = actions.usual[name]

    cdef inline int find(self, Bytes name, Py_ssize_t size, uint32_t number) except -1:
        cdef uint32_t slot = number % SLOTS
        while self.size[slot]:
            if self.size[slot] == size and not memcmp(self.name[slot], name, size):
                return self.action[slot]
            slot = (slot + 1) % SLOTS
        return self.other(PyBytes_FromStringAndSize(<const char*>name, size))


cdef inline uint32_t _mixed(uint32_t number, unsigned char byte) noexcept nogil:
    return (number ^ byte) * <uint32_t>16777619  # FNV-1a


cdef uint32_t _hash(Bytes text, Py_ssize_t size) noexcept nogil:
    cdef uint32_t number = 2166136261
    cdef Py_ssize_t at
    for at in range(size):
        number = _mixed(number, text[at])
    return number


cdef struct Line:
    Bytes name  # as sent
    Py_ssize_t name_size
    Bytes value
    Py_ssize_t size
    Bytes next  # the beginning of the next line
    int action


cdef inline bint _is_clean(Bytes text, Py_ssize_t size) noexcept nogil:
    """Whether all bytes are in VALUE_BYTES. Without branches, so that compilers vectorise it."""
    cdef unsigned char byte, bad = 0
    cdef Py_ssize_t at
    for at in range(size):
        byte = text[at]
        bad |= ((byte < 0x20) & (byte != 0x09)) | (byte == 0x7F)
    return not bad


cdef inline bint _is(Bytes value, Py_ssize_t size, const char* word, Py_ssize_t length) noexcept nogil:
    """Whether a clean value is `word`, in any case. `word`: lower-case letters and hyphens only."""
    cdef Py_ssize_t at
    if size != length:
        return False
    for at in range(size):
        if (value[at] | 0x20) != <unsigned char>word[at]:
            return False
    return True


cdef inline bint _is_length(Bytes value, Py_ssize_t size) noexcept nogil:
    """Whether it is a length in its usual form: digits without leading zeros."""
    cdef Py_ssize_t at
    if not 0 < size <= LENGTH_DIGITS or (size > 1 and value[0] == c"0"):
        return False
    for at in range(size):
        if not c"0" <= value[at] <= c"9":
            return False
    return True


cdef inline int _read_line(
    Names names, Bytes at, Bytes end, unsigned char* lowered, Line* line
) except -1:
    """Read one header line. Writes the name in lower case to `lowered`, which has room for
    NAME_BYTES. Returns 0 if the line is incomplete or not plain. Never reads at `end` or beyond."""
    cdef uint32_t number = 2166136261
    cdef unsigned char lower
    cdef Bytes stop = at + NAME_BYTES if end - at > NAME_BYTES else end
    cdef Bytes found
    line.name = at
    while at < stop:
        lower = LOWER[at[0]]
        if not lower:
            break
        lowered[0] = lower
        lowered += 1
        number = _mixed(number, lower)
        at += 1
    line.name_size = at - line.name
    if not line.name_size or at == end or at[0] != c":":
        return 0
    at += 1
    while at < end and (at[0] == c" " or at[0] == c"\t"):
        at += 1
    found = <Bytes>memchr(at, c"\r", end - at)
    if found == NULL or end - found < 2 or found[1] != c"\n":
        return 0
    line.value, line.size, line.next = at, found - at, found + 2
    if line.size and ((found - 1)[0] == c" " or (found - 1)[0] == c"\t"):
        return 0
    if not _is_clean(at, line.size):
        return 0
    line.action = names.find(lowered - line.name_size, line.name_size, number)
    return 1


cdef inline bint _has_one_reading(Bytes at, Bytes end, Bytes* stop) noexcept nogil:
    """Whether a target is usual. Sets `stop` to the end of its path. All its bytes are valid."""
    cdef bint is_usual = True, begins = True
    at += 1
    while at < end and at[0] != c"?":
        if at[0] == c"/":
            is_usual &= not begins
            begins = True
        else:
            is_usual &= BEGINS_SEGMENT[at[0]] if begins else IS_SEGMENT[at[0]]
            begins = False
        at += 1
    stop[0] = at
    return is_usual


cdef inline unsigned char* _put(unsigned char* out, Line* line) noexcept nogil:
    """Write the rest of the line after its name."""
    memcpy(out, b": ", 2)
    memcpy(out + 2, line.value, line.size)
    memcpy(out + 2 + line.size, b"\r\n", 2)
    return out + line.size + 4


cdef inline bytes _bytes(Bytes text, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char*>text, size)


cdef inline bytes _slice(bytes data, Py_ssize_t start, Py_ssize_t size):
    """`size` bytes of `data` from `start`, without a copy if that is all of it."""
    if size == PyBytes_GET_SIZE(data):
        return data
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, size)


cdef inline tuple _and(tuple values, object value):
    return (value,) if not values else values + (value,)


cdef class RequestReader:
    """Reads heads of requests into objects of the type `head`."""

    cdef Names names
    cdef type head

    def __cinit__(self, actions, type head):
        if not issubclass(head, RequestFields):
            raise TypeError("not a subclass of RequestFields")
        self.names = Names(actions)
        self.head = head

    def read(
        self,
        data,
        Py_ssize_t start=0,
        Py_ssize_t head_bytes=HEAD_BYTES,
        Py_ssize_t target_bytes=REQUEST_TARGET_BYTES,
        Py_ssize_t lines=LINES,
    ):
        cdef unsigned char[LOCAL_BYTES] local
        cdef unsigned char* out = local
        # `Actions.find` may let other threads run, so the pointers must be into immutable bytes.
        cdef bytes text = data if type(data) is bytes else bytes(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text) - start
        size = min(size, min(head_bytes, HEAD_BYTES))
        lines = min(lines, LINES)
        if start < 0 or size <= 0:
            return None
        # The output has one byte more for each line without a space after the colon. A name is
        # written before the rest of its line is checked, so there is room for one more.
        cdef Py_ssize_t room = size + LINES + NAME_BYTES + 4
        if room <= LOCAL_BYTES:
            return self.read_into(text, start, size, target_bytes, lines, out)
        out = <unsigned char*>PyMem_Malloc(room)
        if out == NULL:
            raise MemoryError
        try:
            return self.read_into(text, start, size, target_bytes, lines, out)
        finally:
            PyMem_Free(out)

    cdef object read_into(
        self,
        bytes data,
        Py_ssize_t start,
        Py_ssize_t size,
        Py_ssize_t target_bytes,
        Py_ssize_t lines,
        unsigned char* out,
    ):
        cdef Bytes begin = <Bytes>PyBytes_AS_STRING(data) + start
        cdef Bytes end = begin + size
        cdef Bytes at = begin
        cdef Bytes target, stop
        cdef unsigned char* written = out
        cdef bytes method, value
        cdef uint64_t seen = 0
        cdef Py_ssize_t count = 0
        cdef Line line
        cdef int action
        if size > 4 and not memcmp(at, b"GET ", 4):
            method, target = GET, at + 4
        else:
            while at < end and at - begin <= 32 and at[0] != c" ":
                at += 1
            if at == end or at[0] != c" ":
                return None
            method, target = _bytes(begin, at - begin), at + 1
            if method not in METHODS:
                return None
        if target == end or target[0] != c"/":
            return None
        at = target
        while at < end and IS_TARGET[at[0]]:
            at += 1
        if at - target > target_bytes or end - at < 11 or memcmp(at, b" HTTP/1.1\r\n", 11):
            return None
        cdef RequestFields head = <RequestFields>(<PyTypeObject*>self.head).tp_new(self.head, <PyObject*>(), NULL)
        head.method, head.target = method, _bytes(target, at - target)
        head.has_usual_target = _has_one_reading(target, at, &stop)
        head.path = head.target if stop == at else _bytes(target, stop - target)
        head.keep_alive = True
        head.cookies = head.authorizations = head.pairs = ()
        head.forwarded = head.forwarded_for = head.forwarded_proto = ()
        head.forwarded_host = head.forwarded_port = head.forwarded_prefix = ()
        at += 11
        while True:
            if end - at < 2:
                return None
            if at[0] == c"\r":
                break
            count += 1
            if count > lines or not _read_line(self.names, at, end, written, &line):
                return None
            at, action = line.next, line.action
            if action == PASS:
                written = _put(written + line.name_size, &line)
            elif ONCE <= action < ONCE_END:
                if seen >> action & 1:
                    return None
                seen |= <uint64_t>1 << action
                written = _put(written + line.name_size, &line)
            elif action == COOKIE:
                head.cookies = _and(head.cookies, _bytes(line.value, line.size))
            elif action == DROP:
                pass
            elif action == UNUSUAL:
                return None
            elif action == AUTHORIZATION:
                head.authorizations = _and(head.authorizations, _bytes(line.value, line.size))
            elif action == FORWARDED:
                head.forwarded = _and(head.forwarded, _bytes(line.value, line.size))
            elif action == FORWARDED_FOR:
                head.forwarded_for = _and(head.forwarded_for, _bytes(line.value, line.size))
            elif action == FORWARDED_PROTO:
                head.forwarded_proto = _and(head.forwarded_proto, _bytes(line.value, line.size))
            elif action == FORWARDED_HOST:
                head.forwarded_host = _and(head.forwarded_host, _bytes(line.value, line.size))
            elif action == FORWARDED_PORT:
                head.forwarded_port = _and(head.forwarded_port, _bytes(line.value, line.size))
            elif action == FORWARDED_PREFIX:
                head.forwarded_prefix = _and(head.forwarded_prefix, _bytes(line.value, line.size))
            elif action == PAIR:
                value = _bytes(line.value, line.size)
                head.pairs = _and(head.pairs, (_bytes(written, line.name_size), value))
            elif action == TE:
                if not _is(line.value, line.size, b"trailers", 8):
                    return None
                head.trailers = True
            elif seen >> action & 1:
                return None
            else:
                seen |= <uint64_t>1 << action
                if action == HOST:
                    if not line.size:
                        return None
                    head.host = _bytes(line.value, line.size)
                elif action == CONNECTION:
                    if _is(line.value, line.size, b"close", 5):
                        head.keep_alive = False
                    elif not _is(line.value, line.size, b"keep-alive", 10):
                        return None
                elif action == CONTENT_LENGTH:
                    if not _is_length(line.value, line.size):
                        return None
                    head.content_length = _bytes(line.value, line.size)
                    head.has_body = line.size > 1 or line.value[0] != c"0"
                elif action == TRANSFER_ENCODING:
                    if not _is(line.value, line.size, b"chunked", 7):
                        return None
                    head.chunked = head.has_body = True
                elif action == REQUEST_ID:
                    head.request_id = _bytes(line.value, line.size)
                else:
                    return None
        if at[1] != c"\n" or head.host is None:
            return None
        if head.chunked and head.content_length is not None:
            return None
        head.text = _slice(data, start, at + 2 - begin)
        head.passing_text = _bytes(out, written - out)
        return head


cdef class AnswerReader:
    """Reads heads of answers into objects of the type `head`."""

    cdef Names names
    cdef type head

    def __cinit__(self, actions, type head):
        if not issubclass(head, AnswerFields):
            raise TypeError("not a subclass of AnswerFields")
        self.names = Names(actions)
        self.head = head

    def read(
        self,
        data,
        Py_ssize_t start=0,
        bint private=False,
        Py_ssize_t head_bytes=HEAD_BYTES,
        Py_ssize_t lines=LINES,
    ):
        cdef unsigned char[LOCAL_BYTES] local
        cdef unsigned char* out = local
        cdef bytes text = data if type(data) is bytes else bytes(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text) - start
        size = min(size, min(head_bytes, HEAD_BYTES))
        lines = min(lines, LINES)
        if start < 0 or size <= 0:
            return None
        cdef Py_ssize_t room = size + LINES + NAME_BYTES + 4
        if room <= LOCAL_BYTES:
            return self.read_into(text, start, size, private, lines, out)
        out = <unsigned char*>PyMem_Malloc(room)
        if out == NULL:
            raise MemoryError
        try:
            return self.read_into(text, start, size, private, lines, out)
        finally:
            PyMem_Free(out)

    cdef object read_into(
        self,
        bytes data,
        Py_ssize_t start,
        Py_ssize_t size,
        bint private,
        Py_ssize_t lines,
        unsigned char* out,
    ):
        cdef Bytes begin = <Bytes>PyBytes_AS_STRING(data) + start
        cdef Bytes end = begin + size
        cdef Bytes at, reason
        cdef unsigned char* written = out
        cdef unsigned char[128] lowered
        cdef int status = 0, place, action
        cdef uint64_t seen = 0
        cdef Py_ssize_t count = 0
        cdef bint closes = False, bodiless
        cdef Line line
        if size < 15 or memcmp(begin, b"HTTP/1.1 ", 9) or begin[12] != c" ":
            return None
        for place in range(9, 12):
            if not c"0" <= begin[place] <= c"9":
                return None
            status = 10 * status + begin[place] - c"0"
        if not 200 <= status < 600:
            return None
        reason = begin + 13
        at = <Bytes>memchr(reason, c"\r", end - reason)
        if at == NULL or end - at < 2 or at[1] != c"\n" or not _is_clean(reason, at - reason):
            return None
        at += 2
        cdef AnswerFields head = <AnswerFields>(<PyTypeObject*>self.head).tp_new(self.head, <PyObject*>(), NULL)
        head.status, head.length = status, -1
        head.set_cookies = ()
        while True:
            if end - at < 2:
                return None
            if at[0] == c"\r":
                break
            count += 1
            if count > lines or not _read_line(self.names, at, end, lowered, &line):
                return None
            at, action = line.next, line.action
            if action == PASS:
                pass
            elif action == DROP or (action == SHARED_CACHES and private):
                continue
            elif action == UNUSUAL:
                return None
            elif action == CACHE_CONTROL and private:
                if head.cache_control is None:
                    head.cache_control = _bytes(line.value, line.size)
                else:
                    head.cache_control += b"," + _bytes(line.value, line.size)
                continue
            elif action == SET_COOKIE:
                head.set_cookies = _and(head.set_cookies, _bytes(line.value, line.size))
            elif action == DATE:
                head.is_dated = True
            elif action == CACHE_CONTROL or action == SHARED_CACHES:
                pass
            elif seen >> action & 1:
                return None
            else:
                seen |= <uint64_t>1 << action
                if action == CONTENT_LENGTH:
                    if not _is_length(line.value, line.size):
                        return None
                    head.length = 0
                    for place in range(line.size):
                        head.length = 10 * head.length + line.value[place] - c"0"
                elif action == EXPIRES:
                    head.expires_at = written - out
                    head.expires_end = head.expires_at + line.name_size + line.size + 4
                elif action == CONNECTION:
                    closes = _is(line.value, line.size, b"close", 5)
                    if not closes and not _is(line.value, line.size, b"keep-alive", 10):
                        return None
                    continue
                elif action == KEEP_ALIVE:
                    head.kept = _bytes(line.value, line.size)
                    continue
                elif action == TRANSFER_ENCODING:
                    if not _is(line.value, line.size, b"chunked", 7):
                        return None
                    head.chunked = True
                    continue
                else:
                    return None
            memcpy(written, line.name, line.name_size)
            written = _put(written + line.name_size, &line)
        if at[1] != c"\n":
            return None
        bodiless = status == 204 or status == 304
        if head.chunked and (head.length >= 0 or bodiless):
            return None
        if status == 204 and head.length >= 0:
            return None
        head.keep_alive = not closes and (head.chunked or head.length >= 0 or bodiless)
        head.text = _slice(data, start, at + 2 - begin)
        head.passing_text = _bytes(out, written - out)
        return head
