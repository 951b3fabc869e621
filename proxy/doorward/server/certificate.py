"""The listener's certificate, read again when its files change.

Knows files and TLS contexts; must not know what is served over the connections.
"""

import ssl

import structlog

from doorward.settings import InvalidSettings, Tls
from doorward.settings.certificates import listening_context
from doorward.settings.file_state import FileState, get_file_state

_log = structlog.get_logger("doorward.tls")

# How often the files are checked: a renewal has weeks of time.
LOOK_S = 1.0


class Certificate:
    """`context` stays the listener's; each new connection gets what the files last contained.

    A pair that does not fit, as while one file is written before the other, changes nothing: the
    last good one stays until the files change again. Raises InvalidSettings at the start.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._seen = self._state()
        self.context = self._latest = listening_context(tls)
        self.context.sni_callback = self._meet

    def _meet(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called in every handshake, with or without a server name."""
        connection.context = self._latest

    def look(self) -> None:
        """Read the files again if they have changed since the last read."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._latest = listening_context(self._tls)
        except InvalidSettings as fault:
            _log.error("certificate_not_taken", reason=str(fault))
        else:
            _log.info("certificate_taken", file=str(self._tls.certificate))

    def _state(self) -> tuple[FileState, ...]:
        return tuple(
            get_file_state(path) for path in (self._tls.certificate, self._tls.key_) if path
        )
