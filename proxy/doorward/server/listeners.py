"""Listening sockets, bound before anything else starts.

Must not know what is served over them.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from doorward.settings import Listen, Settings

BACKLOG = 2048
LEAST_OPEN_PORT = 1024  # those below take a privilege, unless the system is configured otherwise

EVERY_MACHINES = frozenset(("localhost", "127.0.0.1", "0.0.0.0"))  # noqa: S104 - nothing is bound


class ListenFault(Exception):
    """An address that cannot be used for listening; the text says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """The listening sockets of one Doorward, in all of its processes."""

    main: socket.socket
    admin: socket.socket | None

    def refuse(self) -> None:
        """Refuse new connections at once, in every process that has these sockets open."""
        for sock in (self.main, self.admin):
            if sock is not None:
                with contextlib.suppress(OSError):  # it may be closed already
                    sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def open_listeners(settings: Settings) -> Iterator[Sockets]:
    """The sockets of these settings, closed at the end. Raises ListenFault."""
    with contextlib.ExitStack() as stack:
        main = stack.enter_context(bind(settings.listen, "listen"))
        if settings.listen.path is not None:
            stack.callback(_take_away, settings.listen.path, _identity(settings.listen.path))
        admin = None
        if settings.admin_listen is not None:
            admin = stack.enter_context(bind(settings.admin_listen, "admin_listen"))
        yield Sockets(main, admin)


def find_unusable(settings: Settings) -> tuple[str, ...]:
    """Why this process could not listen on each address that it cannot. Another one, at another
    time, may be able to: with more privileges, or once the directory of a socket exists. An address
    in use is not among them, because a server may be running."""
    found = []
    for key, listen in (("listen", settings.listen), ("admin_listen", settings.admin_listen)):
        if listen is not None and (reason := _explain_unusable(listen)) is not None:
            found.append(f"{key}: cannot listen on {listen}: {reason}")
    return tuple(found)


def _explain_unusable(listen: Listen) -> str | None:
    if listen.path is not None:
        return _explain_unusable_path(listen.path)
    if listen.host in EVERY_MACHINES and not 0 < (listen.port or 0) < LEAST_OPEN_PORT:
        return None
    try:
        _bound(listen).close()
    except OSError as fault:
        return None if fault.errno == errno.EADDRINUSE else explain_fault(listen, fault)
    return None


def _explain_unusable_path(path: Path) -> str | None:
    """Why there can be no socket at this path, and what to do."""
    directory = path.parent
    if not os.path.isdir(directory):
        return f"there is no directory {directory}; create it or choose another"
    if os.path.lexists(path) and not path.is_socket():
        return "another file has this name; choose another or move it away"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} cannot be written to; let the user that runs Doorward write there"
    return None


def bind(listen: Listen, key: str) -> socket.socket:
    """A listening socket for the setting `key`. Raises ListenFault."""
    try:
        sock = _unix(listen.path) if listen.path is not None else _inet(listen)
    except OSError as fault:
        reason = explain_fault(listen, fault)
        raise ListenFault(f"{key}: cannot listen on {listen}: {reason}") from None
    sock.setblocking(False)
    return sock


def explain_fault(listen: Listen, fault: OSError) -> str:
    """Why an address cannot be used, and what to do."""
    if listen.path is not None and (reason := _explain_unusable_path(listen.path)) is not None:
        return reason
    if fault.errno == errno.EADDRINUSE:
        return "it is already in use; choose another or stop the program that uses it"
    if fault.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; write one that it has, or 0.0.0.0 for all"
    if fault.errno == errno.EACCES and 0 < (listen.port or 0) < LEAST_OPEN_PORT:
        return (
            f"ports below {LEAST_OPEN_PORT} are reserved; choose a higher one, or allow it with"
            " AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or with"
            " `sysctl net.ipv4.ip_unprivileged_port_start=0` (in a container, by its own sysctls)"
        )
    return f"{fault.strerror}; choose another address"


def _inet(listen: Listen) -> socket.socket:
    sock = _bound(listen)
    try:
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _bound(listen: Listen) -> socket.socket:
    infos = socket.getaddrinfo(
        listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, address = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if listen.host == "::" else 1
            )
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _unix(path: Path) -> socket.socket:
    """Bind a Unix socket; replaces a socket that nobody listens on any more, but no other file."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _is_served(path):
            path.unlink()
        sock.bind(os.fspath(path))
        os.chmod(path, 0o660)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns  # inode numbers are reused


def _take_away(path: Path, identity: tuple[int, ...] | None) -> None:
    """Remove this process's socket, unless the next server has put its own there meanwhile."""
    if _identity(path) == identity:
        path.unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True


def format_address(sock: socket.socket, *, tls: bool = False) -> str:
    """The address as a user would type it."""
    name = sock.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'https' if tls else 'http'}://{host}:{name[1]}"
