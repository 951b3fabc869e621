"""Estimates how easily a password can be guessed. The only module that uses zxcvbn.

Must not know whose password it is, except for the words that an attacker would try first.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterable, Sequence

_BETWEEN = re.compile(r"[\W_]+")  # separators between the parts of a name or an address
LOOKED_AT = 72  # characters; zxcvbn takes more than linear time
LEAST = 1  # 0: among the first thousand guesses

# zxcvbn stores the words of a call in its module, so two threads would overwrite each other's.
_TURN = threading.Lock()


async def measure_strength(password: str, words: Sequence[str] = ()) -> int:
    """From 0 (guessed at once) to 4 (practically never). `words` are the user's name and similar
    words."""
    return await asyncio.to_thread(compute_score, password, words)


def compute_score(password: str, words: Sequence[str] = ()) -> int:
    """As `measure_strength`, in the caller's thread."""
    import zxcvbn  # loads word lists, which only new passwords need

    with _TURN:
        found: int = zxcvbn.zxcvbn(password[:LOOKED_AT], user_inputs=list(words))["score"]
    return found


def list_words(username: str, name: str | None, addresses: Iterable[str]) -> tuple[str, ...]:
    """Obvious guesses: each word unchanged, without separators, and in parts."""
    found: list[str] = []
    for text in (username, name or "", *addresses):
        parts = _BETWEEN.split(text)
        found += [text, "".join(parts), *parts]
    return tuple(dict.fromkeys(filter(None, found)))
