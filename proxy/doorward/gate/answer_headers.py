"""What of an upstream's answer headers a client gets, and what is added.

Knows names; must not know what was asked for, or by whom.
"""

from collections.abc import Callable
from enum import Enum, auto

from doorward.gate.headers import HOP_BY_HOP, USUAL_OPTIONS, Header


class AnswerFate(Enum):
    """What becomes of an answer header of some name."""

    PASS = auto()
    DROP = auto()
    CONNECTION = auto()
    SET_COOKIE = auto()
    CACHE_CONTROL = auto()


_READ = {
    b"connection": AnswerFate.CONNECTION,
    b"set-cookie": AnswerFate.SET_COOKIE,
    b"cache-control": AnswerFate.CACHE_CONTROL,
}
# Names repeat from answer to answer; an upstream must not fill memory with new ones either.
_FATES: dict[bytes, AnswerFate] = {}
_FATES_LIMIT = 2048
_FATE_BYTES = 64


def _remember_fate(name: bytes) -> AnswerFate:
    lowered = name.lower()
    fate = _READ.get(lowered, AnswerFate.PASS)
    if fate is AnswerFate.PASS and lowered in HOP_BY_HOP and lowered != b"trailer":
        fate = AnswerFate.DROP
    if len(name) > _FATE_BYTES:
        return fate
    if len(_FATES) >= _FATES_LIMIT:
        _FATES.clear()
    _FATES[name] = fate
    return fate


def interim_headers(headers: list[Header]) -> list[Header]:
    """What of a 1xx answer's headers a client gets, such as the Link of early hints."""
    return answer_headers(headers, lambda cookie: True)


def answer_headers(
    headers: list[Header],
    sets_ours: Callable[[bytes], bool],
    private: bool = False,
) -> list[Header]:
    """An upstream's answer headers as a client gets them, lines and order kept.

    Hop-by-hop ones end here, as does a Set-Cookie that would replace ours. To one that is `private`
    and says nothing of caching is added that it is.
    """
    kept: list[Header] = []
    named: list[bytes] = []
    for line in headers:
        fate = _FATES.get(line[0]) or _remember_fate(line[0])
        if fate is AnswerFate.PASS:
            kept.append(line)
        elif fate is AnswerFate.CACHE_CONTROL:
            private = False
            kept.append(line)
        elif fate is AnswerFate.SET_COOKIE:
            if not sets_ours(line[1]):
                kept.append(line)
        elif fate is AnswerFate.CONNECTION:
            named += [token.strip().lower() for token in line[1].split(b",")]
    if private:
        kept.append((b"cache-control", b"private"))
    unusual = set(named) - USUAL_OPTIONS if named else None
    return [line for line in kept if line[0].lower() not in unusual] if unusual else kept
