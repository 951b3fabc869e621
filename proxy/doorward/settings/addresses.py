"""Knows how addresses are written: listeners, upstreams, public URLs, hosts, networks, origins.
It must not resolve, open or connect to any of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from doorward.settings import patterns
from doorward.settings.faults import Wrong
from doorward.settings.values import quote, text
from doorward.text import has_hidden

Network = IPv4Network | IPv6Network
Scheme = Literal["http", "https", "unix"]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# # The longest path in sockaddr_un on Linux, without the final NUL.
_LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to accept connections on: host and port, or the path of a Unix socket."""

    host: str | None = None
    port: int | None = None
    path: Path | None = None

    @property
    def is_unix(self) -> bool:
        return self.path is not None

    @property
    def is_unnamed(self) -> bool:
        """Whether clients cannot connect to it as written: a socket, all addresses, or any free
        port."""
        return self.is_unix or self.is_everywhere or self.port == 0

    @property
    def is_everywhere(self) -> bool:
        """Whether it is the wildcard address, which cannot be used as a name."""
        return self.host is not None and _is_address(self.host, "is_unspecified")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        host = self.host
        return host is None or host == "localhost" or _is_address(host, "is_loopback")

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{add_brackets(self.host or '')}:{self.port}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The address of an application. `port` is always set, `path` is that of a Unix socket, and
    `base` is the prefix for every request's path, without a final slash."""

    scheme: Scheme
    host: str | None = None
    port: int | None = None
    path: Path | None = None
    base: str = ""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        return f"{self.scheme}://{add_brackets(self.host or '')}:{self.port}{self.base}"


def add_brackets(host: str) -> str:
    """The host in the form that can be followed by a port."""
    return f"[{host}]" if ":" in host else host


def _is_address(host: str, quality: str) -> bool:
    try:
        return bool(getattr(ip_address(host), quality))
    except ValueError:
        return False


def listen(value: object, directory: Path) -> Listen:
    """Returns the listener of `host:port`, `[v6]:port` or `unix:/path`. Port 0 stands for any free
    one."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise Wrong(f"{value} lacks a host", f"write 127.0.0.1:{value} or 0.0.0.0:{value}")
    found = text(value)
    if found.startswith("unix:"):
        return Listen(path=socket_path(found, directory))
    if "://" in found:
        raise Wrong(f"{quote(found)} is a URL", "write it as host:port, [v6]:port or unix:/path")
    host, colon, port = found.rpartition(":")
    if not colon or host in {"", "*"}:
        raise Wrong(f"{quote(found)} lacks a host or a port", "write it as 127.0.0.1:8080")
    return Listen(host=_listen_host(host), port=_port(port, lowest=0))


def _listen_host(host: str) -> str:
    if ":" in host and not host.startswith("["):
        raise Wrong(f"{quote(host)} is not a host", "write an IPv6 address as [::1]:8080")
    found = url_host(host)
    if ":" in found and (mapped := IPv6Address(found).ipv4_mapped) is not None:
        raise Wrong(f"{quote(host)} is an IPv4 address", f"write {mapped} without brackets")
    return found


def socket_path(value: str, directory: Path) -> Path:
    """Returns the absolute path of `unix:/path`, `unix:///path` or `unix:path`."""
    name = value.removeprefix("unix:")
    if name.startswith("//"):
        name = name[2:] if name.startswith("///") else ""
    if not name or name.endswith("/") or has_hidden(name):
        raise Wrong("is not the path of a unix socket", "write it as unix:/run/name.sock")
    path = absolute(name, directory)
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise Wrong(
            f"is longer than {_LONGEST_SOCKET_PATH} bytes, the limit for the path of a unix socket"
        )
    return path


def absolute(value: object, directory: Path) -> Path:
    """A path, relative to the directory of the configuration file."""
    name = text(value)
    if not name or has_hidden(name):
        raise Wrong(f"{quote(name)} is not a path")
    if name == "~" or name.startswith("~/"):
        raise Wrong(f"{quote(name)} begins with ~, which only shells expand", "write the full path")
    return Path(os.path.normpath(directory / name))


def upstream(value: object, directory: Path) -> Upstream:
    """Returns the upstream of `http://host:port`, `https://host:port/base` or `unix:/path`."""
    found = text(value)
    if found.startswith("unix:"):
        return Upstream("unix", path=socket_path(found, directory))
    example = "http://127.0.0.1:9000, https://app:443 or unix:/path"
    parts = _split(found, ("http", "https"), example, with_path=True)
    host = url_host(parts.netloc.rpartition(":")[0] if _has_port(parts) else parts.netloc)
    if "//" in parts.path or ";" in parts.path:
        raise Wrong("has an empty segment or a parameter in its path", "write it as /base")
    base = patterns.route_path(parts.path or "/")
    scheme: Scheme = "https" if parts.scheme == "https" else "http"
    return Upstream(scheme, host, _read_port(parts), base=base.rstrip("/"))


def public_url(value: object) -> str:
    """Returns scheme, host and port as given, without a trailing slash."""
    found = text(value)
    parts = _split(found, ("http", "https"), "https://wiki.example.com")
    host = url_host(parts.netloc.rpartition(":")[0] if _has_port(parts) else parts.netloc)
    if _is_address(host, "is_unspecified"):
        raise Wrong(f"people cannot open {host}", "write the name or address that people use")
    _read_port(parts)
    return found.rstrip("/")


def origin(url: str) -> str:
    """Scheme, lower-case host and port of a valid URL, without the scheme's default port."""
    parts = urlsplit(url)
    host = url_host(parts.netloc.rpartition(":")[0] if _has_port(parts) else parts.netloc)
    port = _read_port(parts)
    shown = "" if port == _DEFAULT_PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{add_brackets(host)}{shown}"


def is_local_origin(origin: str) -> bool:
    """Whether only this machine can open it."""
    host = urlsplit(origin).hostname or ""
    return host == "localhost" or _is_address(host, "is_loopback")


def cors_origin(value: object) -> str:
    """Returns an origin as browsers send it (RFC 6454 6.2), or `*`."""
    found = text(value)
    if found == "*":
        return found
    parts = _split(found, ("http", "https"), "https://app.example.com")
    if parts.path:
        raise Wrong(f"{quote(found)} has a path", f"write {quote(found.rstrip('/'))}")
    return origin(found)


def _split(
    url: str, schemes: tuple[str, ...], example: str, *, with_path: bool = False
) -> SplitResult:
    """The parts of a URL that has only scheme, host and port, or also a path. Errors do not contain
    the URL, because it may contain a password."""
    if has_hidden(url) or url != url.strip() or " " in url or "\\" in url:
        raise Wrong("contains white space, a backslash or control characters", f"write {example}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Wrong("is not a URL", f"write it as {example}") from None
    if parts.scheme not in schemes or not url.lower().startswith(f"{parts.scheme}://"):
        raise Wrong(f"does not begin with {'://, '.join(schemes)}://", f"write it as {example}")
    if "@" in parts.netloc:
        raise Wrong("has a user or a password in it", f"write it as {example}")
    if with_path and ("?" in url or "#" in url):
        raise Wrong("has a query or a fragment", f"write {example}")
    if not with_path and (parts.path not in {"", "/"} or "?" in url or "#" in url):
        raise Wrong("has a path, a query or a fragment", f"end it after host and port: {example}")
    return parts


def _has_port(parts: SplitResult) -> bool:
    return ":" in parts.netloc.rpartition("]")[2]


def _read_port(parts: SplitResult) -> int:
    if not _has_port(parts):
        return _DEFAULT_PORTS[parts.scheme]
    return _port(parts.netloc.rpartition(":")[2], lowest=1)


def _port(value: str, lowest: int) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not lowest <= int(value) <= 65535:
        raise Wrong(f"{quote(value)} is not a port", f"ports are {lowest} to 65535")
    return int(value)


def url_host(host: str) -> str:
    """Returns the host of a URL: an address without its brackets, or a name in ASCII."""
    if host.startswith("[") and host.endswith("]"):
        return _address(host[1:-1], host)
    return host_name(host)


def _address(inner: str, shown: str) -> str:
    try:
        address = IPv6Address(inner)
    except ValueError:
        address = None
    if address is None or address.scope_id:
        raise Wrong(f"{quote(shown)} is not an IPv6 address")
    return str(address)


def host_name(host: str) -> str:
    """Returns a name or an IPv4 address in lower-case ASCII (IDNA 2008)."""
    name = host if host.isascii() else _to_ascii(host)
    name = name.lower()
    if len(name) > 253 or not _HOST.fullmatch(name) or _is_numeric_but_no_address(name):
        raise Wrong(f"{quote(host)} is not a host name")
    return name


def _is_numeric_but_no_address(name: str) -> bool:
    """Whether it ends in a number but is not an IPv4 address; URL parsers disagree about those."""
    last = name.rpartition(".")[2]
    numeric = last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
    return numeric and not _is_address(name, "version")


def _to_ascii(host: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise Wrong(f"{quote(host)} is not a host name") from None


def host_pattern(value: object) -> str:
    """Returns an exact host or `*.example.com`, in lower-case ASCII, without a port."""
    found = text(value)
    if found == "*":
        raise Wrong("'*' is not a host", "omit host to match every host")
    if found.startswith("[") and found.endswith("]"):
        return f"[{_address(found[1:-1], found)}]"
    if ":" in found or "/" in found:
        raise Wrong(
            f"{quote(found)} contains more than a host", "write the host without scheme and port"
        )
    star = "*." if found.startswith("*.") else ""
    if "*" in found[len(star) :]:
        raise Wrong(f"{quote(found)} has a * in the middle", "only *.example.com is allowed")
    return star + host_name(found[len(star) :])


def read_origin(value: object) -> str:
    """Returns the origin of a URL that is scheme, host and port only."""
    found = text(value)
    _split(found, ("http", "https"), "http://intranet:8080")
    return origin(found.rstrip("/"))


def sent_host(value: object) -> str:
    """Returns `keep`, `upstream`, or a host with or without a port."""
    found = text(value)
    if found in {"keep", "upstream"}:
        return found
    host, colon, port = found.rpartition(":") if found.rpartition("]")[2] else (found, "", "")
    if not colon:
        return add_brackets(url_host(found))
    return f"{add_brackets(url_host(host))}:{_port(port, lowest=1)}"


def server_name(value: object) -> str:
    """The name or address that a certificate must have."""
    found = text(value)
    if _is_address(found, "version"):
        return found
    if ":" in found or "*" in found:
        raise Wrong(f"{quote(found)} is not a single name", "write it as wiki.example.com")
    return host_name(found)


def network(value: object) -> Network:
    """Returns the network of `10.0.0.0/8`, `fd00::/8` or a single address."""
    found = text(value)
    try:
        loose = ip_network(found, strict=False)
    except ValueError:
        hint = "write it as 10.0.0.0/8 or fd00::/8"
        raise Wrong(f"{quote(found)} is not a network", hint) from None
    if "/" in found and str(loose.network_address) != _first_address(found):
        raise Wrong(f"{quote(found)} has bits set beyond its length", f"write {loose}")
    if isinstance(loose, IPv6Network) and (mapped := loose.network_address.ipv4_mapped):
        # Peers are compared as IPv4, so this network would never match.
        raise Wrong("is an IPv4 network written as IPv6", f"write {mapped}/{loose.prefixlen - 96}")
    return loose


def peers(value: object) -> Network | Literal["unix"]:
    """Returns a network, or `unix`: every process that connects to the unix socket."""
    return "unix" if value in ("unix", "unix:") else network(value)


def _first_address(written: str) -> str:
    return str(ip_address(written.partition("/")[0]))


def is_within(host: str, domain: str) -> bool:
    """Whether a cookie with this Domain reaches a host, or every host that a pattern matches."""
    return host.removeprefix("*.") == domain or host.endswith(f".{domain}")
