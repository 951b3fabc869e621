"""Whether the database can be read and written: the last cause of a failure, logged when it
changes.

It must not know what is read or written, or what happens to a request that needed it.
"""

from __future__ import annotations

import structlog

_log = structlog.get_logger("doorward.storage")

READ = "read"
WRITE = "write"


class Health:
    """Each cause of a failure is logged once, and so is the recovery, never once per request."""

    __slots__ = ("_failures", "_said")

    def __init__(self) -> None:
        self._failures: dict[str, str] = {}  # the last cause, by kind of operation
        self._said: set[tuple[str, str]] = set()  # since the last success

    def failed(self, operation: str, cause: str) -> None:
        self._failures[operation] = cause
        if (operation, cause) not in self._said:
            self._said.add((operation, cause))
            _log.error("storage_failed", operation=operation, reason=cause)

    def succeeded(self, operation: str) -> None:
        if self._failures.pop(operation, None) is not None:
            self._said = {said for said in self._said if said[0] != operation}
            _log.warning("storage_recovered", operation=operation)

    def failure(self, operation: str) -> str | None:
        """The cause of the last failure if nothing has succeeded since, else None."""
        return self._failures.get(operation)
