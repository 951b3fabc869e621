"""The one error that storage adds to the core's refusals: it cannot be opened."""

from __future__ import annotations


class StorageFault(Exception):
    """`str()` is one sentence for the operator: what, where, and what to do."""
