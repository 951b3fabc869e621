"""What of an upstream's answer headers a client gets, and what is added.

Knows names; must not know what was asked for, or by whom.
"""

from collections.abc import Callable
from enum import Enum, auto

from doorward.http1 import head_tables
from doorward.http1.headers import HOP_BY_HOP, USUAL_OPTIONS, Header, names_somebody
from doorward.http1.heads import AnswerHead, answer_reader
from doorward.http1.response_head import ResponseHead
from doorward.rewrite.caching import is_targeted, private_control
from doorward.upstream.heads import ReadPlain


class AnswerFate(Enum):
    """What becomes of an answer header of some name."""

    PASS = auto()
    DROP = auto()
    CONNECTION = auto()
    SET_COOKIE = auto()
    CACHE_CONTROL = auto()
    SHARED_CACHES = auto()


_READ = {
    b"connection": AnswerFate.CONNECTION,
    b"set-cookie": AnswerFate.SET_COOKIE,
    b"cache-control": AnswerFate.CACHE_CONTROL,
}
# Names repeat from answer to answer; an upstream must not fill memory with new ones either.
_FATES: dict[bytes, AnswerFate] = {}
_FATES_LIMIT = 2048
_FATE_BYTES = 64


def fate_of(lowered: bytes) -> AnswerFate:
    """What becomes of an answer header of this lower-case name."""
    fate = _READ.get(lowered, AnswerFate.PASS)
    if fate is not AnswerFate.PASS:
        return fate
    if (lowered in HOP_BY_HOP and lowered != b"trailer") or names_somebody(lowered):
        return AnswerFate.DROP
    return AnswerFate.SHARED_CACHES if is_targeted(lowered) else fate


_ACTIONS = {
    AnswerFate.PASS: head_tables.PASS,
    AnswerFate.DROP: head_tables.DROP,
    AnswerFate.CONNECTION: head_tables.CONNECTION,
    AnswerFate.SET_COOKIE: head_tables.SET_COOKIE,
    AnswerFate.CACHE_CONTROL: head_tables.CACHE_CONTROL,
    AnswerFate.SHARED_CACHES: head_tables.SHARED_CACHES,
}
# The same in one pass; see `http1/heads.py`. `read_private` is for answers to one session.
_read = answer_reader(lambda name: _ACTIONS[fate_of(name)]).read
read_shared: ReadPlain = _read


def read_private(data: bytes) -> AnswerHead | None:
    return _read(data, 0, True)


def plain_response_head(
    plain: AnswerHead, sets_ours: Callable[[bytes], bool], private: bool
) -> ResponseHead | None:
    """The head as a client gets it, of one that was read in one pass; None where a cookie has to be
    taken out of it."""
    for cookie in plain.set_cookies:
        if sets_ours(cookie):
            return None
    text = plain.passing_text
    if private:
        value, without_expires = private_control(plain.cache_control or b"")
        text = plain.without_expires if without_expires else text
        text += b"cache-control: %b\r\n" % value
    return ResponseHead.of_lines(plain.status, text, plain.length, is_dated=plain.is_dated)


def _remember_fate(name: bytes) -> AnswerFate:
    fate = fate_of(name.lower())
    if len(name) > _FATE_BYTES:
        return fate
    if len(_FATES) >= _FATES_LIMIT:
        _FATES.clear()
    _FATES[name] = fate
    return fate


def interim_headers(headers: list[Header]) -> list[Header]:
    """What of a 1xx answer's headers a client gets, such as the Link of early hints. It has no
    body, and no length of one (RFC 9110 8.6)."""
    kept = answer_headers(headers, lambda cookie: True)
    return [line for line in kept if line[0].lower() != b"content-length"]


def answer_headers(
    headers: list[Header],
    sets_ours: Callable[[bytes], bool],
    private: bool = False,
) -> list[Header]:
    """An upstream's answer headers as a client gets them, lines and order kept.

    Hop-by-hop ones end here, as do a Set-Cookie that could replace ours and names that say who
    somebody is: an application that trusts those must not get them from another by way of a client.
    One that is `private` is for one session, whatever the application says to shared caches.
    """
    kept: list[Header] = []
    named: list[bytes] = []
    control: bytes | None = None
    for line in headers:
        fate = _FATES.get(line[0]) or _remember_fate(line[0])
        if fate is AnswerFate.PASS:
            kept.append(line)
        elif fate is AnswerFate.CACHE_CONTROL:
            if private:
                control = line[1] if control is None else control + b"," + line[1]
            else:
                kept.append(line)
        elif fate is AnswerFate.SET_COOKIE:
            if not sets_ours(line[1]):
                kept.append(line)
        elif fate is AnswerFate.CONNECTION:
            named += [token.strip().lower() for token in line[1].split(b",")]
        elif fate is AnswerFate.SHARED_CACHES and not private:
            kept.append(line)
    unusual = set(named) - USUAL_OPTIONS if named else None
    if unusual:
        kept = [line for line in kept if line[0].lower() not in unusual]
        control = None if b"cache-control" in unusual else control
    if private:
        value, without_expires = private_control(control or b"")
        if without_expires:
            kept = [line for line in kept if len(line[0]) != 7 or line[0].lower() != b"expires"]
        kept.append((b"cache-control", value))
    return kept
