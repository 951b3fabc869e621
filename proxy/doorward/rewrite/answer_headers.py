"""Which headers of an upstream's answer a client gets, and which are added.

Knows names; must not know the request or the user.
"""

from collections.abc import Callable
from enum import Enum, auto

from doorward.header_names import forget_with, is_identity_name
from doorward.http1 import head_tables
from doorward.http1.headers import HOP_BY_HOP, USUAL_OPTIONS, Header
from doorward.http1.heads import AnswerHead, answer_reader
from doorward.http1.response_head import ResponseHead
from doorward.rewrite.caching import is_targeted, private_control
from doorward.upstream.heads import ReadPlain


class AnswerAction(Enum):
    """What to do with an answer header of a certain name."""

    PASS = auto()
    DROP = auto()
    CONNECTION = auto()
    SET_COOKIE = auto()
    CACHE_CONTROL = auto()
    SHARED_CACHES = auto()


_READ = {
    b"connection": AnswerAction.CONNECTION,
    b"set-cookie": AnswerAction.SET_COOKIE,
    b"cache-control": AnswerAction.CACHE_CONTROL,
}
# Names repeat from answer to answer. The limit keeps upstreams from filling memory with new ones.
_LEARNT: dict[bytes, AnswerAction] = {}
forget_with(_LEARNT.clear)
_LEARNT_LIMIT = 2048
_LEARNT_BYTES = 64


def classify_answer_header(lowered: bytes) -> AnswerAction:
    """What to do with an answer header of this lower-case name."""
    action = _READ.get(lowered, AnswerAction.PASS)
    if action is not AnswerAction.PASS:
        return action
    if (lowered in HOP_BY_HOP and lowered != b"trailer") or is_identity_name(lowered):
        return AnswerAction.DROP
    return AnswerAction.SHARED_CACHES if is_targeted(lowered) else action


_ACTIONS = {
    AnswerAction.PASS: head_tables.PASS,
    AnswerAction.DROP: head_tables.DROP,
    AnswerAction.CONNECTION: head_tables.CONNECTION,
    AnswerAction.SET_COOKIE: head_tables.SET_COOKIE,
    AnswerAction.CACHE_CONTROL: head_tables.CACHE_CONTROL,
    AnswerAction.SHARED_CACHES: head_tables.SHARED_CACHES,
}
# The same in one pass; see `http1/heads.py`. `read_private` is for answers to one session.
_read = answer_reader(lambda name: _ACTIONS[classify_answer_header(name)]).read
read_shared: ReadPlain = _read


def read_private(data: bytes) -> AnswerHead | None:
    return _read(data, 0, True)


def plain_response_head(
    plain: AnswerHead, sets_ours: Callable[[bytes], bool], private: bool
) -> ResponseHead | None:
    """The head for the client, of an answer that was read in one pass; None if a cookie has to be
    removed."""
    for cookie in plain.set_cookies:
        if sets_ours(cookie):
            return None
    text = plain.passing_text
    if private:
        value, without_expires = private_control(plain.cache_control or b"")
        text = plain.without_expires if without_expires else text
        text += b"cache-control: " + value + b"\r\n"
    return ResponseHead.of_lines(plain.status, text, plain.length, is_dated=plain.is_dated)


def _remember_action(name: bytes) -> AnswerAction:
    action = classify_answer_header(name.lower())
    if len(name) > _LEARNT_BYTES:
        return action
    if len(_LEARNT) >= _LEARNT_LIMIT:
        _LEARNT.clear()
    _LEARNT[name] = action
    return action


def interim_headers(headers: list[Header]) -> list[Header]:
    """Which headers of a 1xx answer a client gets, such as the Link of early hints. It has no body,
    and no length of one (RFC 9110 8.6)."""
    kept = answer_headers(headers, lambda cookie: True)
    return [line for line in kept if line[0].lower() != b"content-length"]


def answer_headers(
    headers: list[Header],
    sets_ours: Callable[[bytes], bool],
    private: bool = False,
) -> list[Header]:
    """An upstream's answer headers for the client, in the same order.

    Hop-by-hop headers are removed, and so are a Set-Cookie that could replace Doorward's and
    identity headers: another application that trusts those must not get them through a client. A
    `private` answer is for one session only, so the application's permissions for shared caches are
    removed.
    """
    kept: list[Header] = []
    named: list[bytes] = []
    control: bytes | None = None
    for line in headers:
        action = _LEARNT.get(line[0]) or _remember_action(line[0])
        if action is AnswerAction.PASS:
            kept.append(line)
        elif action is AnswerAction.CACHE_CONTROL:
            if private:
                control = line[1] if control is None else control + b"," + line[1]
            else:
                kept.append(line)
        elif action is AnswerAction.SET_COOKIE:
            if not sets_ours(line[1]):
                kept.append(line)
        elif action is AnswerAction.CONNECTION:
            named += [token.strip().lower() for token in line[1].split(b",")]
        elif action is AnswerAction.SHARED_CACHES and not private:
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
