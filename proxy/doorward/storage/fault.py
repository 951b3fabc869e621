"""The one error storage adds to the core's refusals: it cannot be opened at all."""

from __future__ import annotations


class StorageFault(Exception):
    """`str()` is one sentence for the person who runs Doorward: what, where, and what to do."""
