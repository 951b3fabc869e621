"""How easily a password is guessed. The only door to zxcvbn.

It judges; it must not know whose password it is, beyond the words that anybody would try first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

LOOKED_AT = 72  # characters: its work grows faster than their number
LEAST = 1  # 0: among the first thousand guesses of anybody who tries


async def strength(password: str, words: Sequence[str] = ()) -> int:
    """From 0 (guessed at once) to 4 (not in our time). `words` are the user's name and the like."""
    return await asyncio.to_thread(_strength, password, list(words))


def _strength(password: str, words: list[str]) -> int:
    import zxcvbn  # with its word lists, which only new passwords want

    found: int = zxcvbn.zxcvbn(password[:LOOKED_AT], user_inputs=words)["score"]
    return found
