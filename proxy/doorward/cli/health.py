"""`doorward health`: asks a running Doorward whether it is ready. It knows two addresses and one
endpoint, and must not know what readiness depends on.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import TYPE_CHECKING

import typer

from doorward import paths
from doorward.cli.options import ConfigOption, settings_or_exit

if TYPE_CHECKING:
    from doorward.settings import Listen

TIMEOUT_S = 0.5  # a command may take a second in all; the listener is on this machine
ANSWER_BYTES = 4096
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to ask where all is listened on


class Silent(Exception):
    """There is no answer at an address, or not one of Doorward's."""


def health(config: ConfigOption = None) -> None:
    """Print ok (status 0) or the reason (status 1). For container health checks."""
    settings = settings_or_exit(config)
    try:
        if settings.admin_listen is not None:
            reason = find_reason(ask(settings.admin_listen, "/readyz"))
        else:
            is_tls = settings.tls is not None
            reason = find_reason(ask(settings.listen, paths.HEALTH, is_tls=is_tls))
    except Silent as silent:
        reason = str(silent)
    if reason is not None:
        typer.echo(reason, err=True)
        raise typer.Exit(1)
    typer.echo("ok")


class _LocalConnection(http.client.HTTPConnection):
    """A connection to a listener of this machine, which may be a Unix socket."""

    def __init__(self, listen: Listen, *, is_tls: bool) -> None:
        host = listen.host or "127.0.0.1"
        super().__init__(ANYWHERE.get(host, host), listen.port, timeout=TIMEOUT_S)
        self._path = listen.path
        self._is_tls = is_tls

    def connect(self) -> None:
        if self._path is None:
            super().connect()
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(TIMEOUT_S)
            self.sock.connect(str(self._path))
        if self._is_tls:
            # The certificate is for the name that users open. Nothing is sent that others may not
            # read, and the answer is a status.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)


def ask(listen: Listen, path: str, *, is_tls: bool = False) -> tuple[int, bytes]:
    """The status and the beginning of the answer. Raises Silent."""
    connection = _LocalConnection(listen, is_tls=is_tls)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as fault:
        why = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
        raise Silent(f"nothing answers on {listen}: {why.lower()}") from None
    finally:
        connection.close()


def find_reason(answer: tuple[int, bytes]) -> str | None:
    """The reason why it is not ready; None if it is ready."""
    status, body = answer
    if status == 200:
        return None
    try:
        reason = json.loads(body)["reason"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"not ready: it answered with status {status}"
    return f"not ready: {reason}"
