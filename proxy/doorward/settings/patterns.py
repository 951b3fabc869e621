"""Knows how the paths and methods of routes and rules are written.
It must not match them; the gate does."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote as percent_encode

from doorward import paths
from doorward.path_readings import BadPath, list_readings
from doorward.settings.faults import Wrong
from doorward.settings.values import is_on, quote, text

# The raw bytes that the path of a request target can contain: those of RFC 3986 3.3, and others
# that clients send.
_RAW = re.compile(r"(?:[!$&'()*+,\-./0-9:;=@A-Z_a-z~\[\]^`{|}\"<>]|%[0-9A-Fa-f]{2})+")
# The bytes that `percent_encode` does not change.
_SAFE = "/%!$&'()*+,;:=@~[]^`{|}<>"
# A path of endpoints: of unreserved characters alone (RFC 3986 2.3), so that it is read in one way.
_PLAIN = re.compile(r"(?:/[A-Za-z0-9\-._~]+)+")
_METHOD = re.compile(r"[A-Z0-9!#$%&'+.^_`|~-]+")


def route_path(value: object) -> str:
    """The path below which a route applies; a trailing slash has no meaning."""
    found = _path(value)
    if "*" in found:
        raise Wrong(f"{quote(found)} has a *", "a route's path includes everything below it")
    return found.rstrip("/") or "/"


def rule_path(value: object) -> str:
    """A path in which `*` stands for one segment, or at the end for everything below."""
    found = _path(value)
    if any("*" in part and part != "*" for part in found.split("/")):
        raise Wrong(
            f"{quote(found)} has a * inside a segment",
            "a * stands for a segment (/user/*/edit), or at the end for everything below (/*)",
        )
    return found


def _path(value: object) -> str:
    found = text(value)
    if not found.startswith("/"):
        raise Wrong(f"{quote(found)} does not begin with /")
    if "?" in found or "#" in found:
        raise Wrong(f"{quote(found)} has a query or a fragment", "only the path is compared")
    if not _RAW.fullmatch(found):
        raise Wrong(f"{quote(found)} is not a path in the form that clients send", _encoded(found))
    try:
        list_readings(found.encode())
    except BadPath as reason:
        message = f"requests for {quote(found)} are refused: {reason}"
        raise Wrong(message, "write another path") from None
    if found.startswith(paths.PREFIX):
        raise Wrong(f"{paths.PREFIX} and everything below belong to Doorward", "leave it out")
    return found


def _encoded(path: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", path):
        return "two hexadecimal digits follow a %; write %25 for a % itself"
    if "\\" in path:
        return "segments are separated by /"
    return f"write it encoded: {percent_encode(path, safe=_SAFE)}"


# Far longer than any real pattern; it limits the cost of compiling one.
_REGEX_CHARACTERS = 1024


def path_regex(value: object) -> str:
    """A regular expression in RE2's syntax, which has no look-around and no back-references, so
    that matching takes linear time for any input (https://github.com/google/re2/wiki/Syntax)."""
    found = text(value)
    if not found.isascii() or len(found) > _REGEX_CHARACTERS:
        raise Wrong(f"must be ASCII and at most {_REGEX_CHARACTERS} characters long")
    try:
        compile_regex(found)
    except ValueError as fault:
        raise Wrong(f"{quote(found)} is not a regular expression: {fault}") from None
    return found


def compile_regex(pattern: str) -> Any:
    """A matcher that `fullmatch`es bytes. Raises ValueError."""
    import re2  # importing takes 20 ms, and most configurations need none

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as fault:
        reason = fault.args[0] if fault.args else fault
        raise ValueError(reason.decode() if isinstance(reason, bytes) else str(reason)) from None


def method(value: object) -> str:
    """A method. Methods are case-sensitive (RFC 9110 9.1), and the known ones are in upper case."""
    found = text(value)
    if found == "*":
        raise Wrong("'*' is not a method", "omit methods to match every method")
    if _METHOD.fullmatch(found):
        return found
    hint = f"write {found.upper()}" if _METHOD.fullmatch(found.upper()) else None
    raise Wrong(f"{quote(found)} is not a method", hint)


# X-Auth-Token carries sessions.
_API_KEY_HEADER = re.compile(r"(?!x-auth-)x-[a-z0-9-]{0,58}(?:key|token)", re.IGNORECASE)


def api_key_header(value: object) -> str:
    """The name of a header that can carry an API token; true stands for X-Api-Key."""
    if is_on(value):
        return "X-Api-Key"
    found = text(value)
    if not _API_KEY_HEADER.fullmatch(found):
        raise Wrong(
            f"{quote(found)} is not a header for keys",
            "use a name that begins with X- and ends with Key or Token, such as X-Api-Key",
        )
    return found


def prefix(value: object) -> str:
    """Returns the path prefix of a dialect's endpoints, without a slash at its end."""
    found = route_path(value)
    if found == "/":
        raise Wrong("must not be the root", "write it as /api")
    if not _PLAIN.fullmatch(found):
        message = f"{quote(found)} has an empty segment or a character that clients may encode"
        raise Wrong(message, "use letters, digits and - . _ ~, as in /api/v2")
    if f"{found}/" == paths.PREFIX:
        raise Wrong(f"{paths.PREFIX} and everything below belong to Doorward", "write it as /api")
    return found
