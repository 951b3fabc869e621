"""Signed notes that browsers keep. A note contains only its expiry and a signature over that and
the values that it is about.

Knows signatures and times; must not know what a note allows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Sequence

from doorward.accounts.keys import Keys

_NOTE = re.compile(r"([0-9]{1,15})\.([A-Za-z0-9_-]{43})")


class Notes:
    """For one purpose: a note for one is invalid for another (CVE-2024-47616)."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys, purpose: str) -> None:
        self._keys = keys.follow(lambda derive: derive(purpose))

    def write(self, about: Sequence[object], life_s: float, now: float) -> str:
        """A note about these values, which must be serializable as JSON."""
        until = int(now + life_s)
        return f"{until}.{_sign(self._keys()[0], about, until)}"

    def holds(self, note: str, about: Sequence[object], life_s: float, now: float) -> bool:
        """Whether Doorward wrote this about the same values, and it has not expired. A shorter
        lifetime also applies to existing notes."""
        found = _NOTE.fullmatch(note)
        if found is None:
            return False
        until = int(found[1])
        if not now < until <= now + life_s:
            return False
        signatures = (_sign(key, about, until) for key in self._keys())
        return any([hmac.compare_digest(one, found[2]) for one in signatures])


def _sign(key: bytes, about: Sequence[object], until: int) -> str:
    text = json.dumps([*about, until]).encode()
    mac = hmac.digest(key, text, hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
