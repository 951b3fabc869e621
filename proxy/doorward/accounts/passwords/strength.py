"""How easily a password is guessed. The only door to zxcvbn.

It judges; it must not know whose password it is, beyond the words that anybody would try first.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable, Sequence

_BETWEEN = re.compile(r"[\W_]+")  # what stands between the parts of a name or an address
LOOKED_AT = 72  # characters: its work grows faster than their number
LEAST = 1  # 0: among the first thousand guesses of anybody who tries

# zxcvbn keeps the words of a call in its module, so two threads would use each other's.
_TURN = threading.Lock()


async def measure_strength(password: str, words: Sequence[str] = ()) -> int:
    """From 0 (guessed at once) to 4 (not in our time). `words` are the user's name and the like."""
    return await asyncio.to_thread(compute_score, password, words)


def compute_score(password: str, words: Sequence[str] = ()) -> int:
    """As `measure_strength`, in the caller's thread."""
    import zxcvbn  # with its word lists, which only new passwords want

    with _TURN:
        found: int = zxcvbn.zxcvbn(password[:LOOKED_AT], user_inputs=list(words))["score"]
    return found


def list_words(username: str, name: str | None, addresses: Iterable[str]) -> tuple[str, ...]:
    """What anybody would try first: each as it is, without its separators, and in its parts."""
    found: list[str] = []
    for text in (username, name or "", *addresses):
        parts = _BETWEEN.split(text)
        found += [text, "".join(parts), *parts]
    return tuple(dict.fromkeys(filter(None, found)))
