"""Knows how a route chooses the headers that identify the user: presets, and custom headers. It
must not make headers; rewriting does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import model_validator
from pydantic_core import core_schema

from doorward.header_names import can_identify, normalize_name
from doorward.settings import values
from doorward.settings.faults import Wrong
from doorward.settings.fields import Parsed, Schema, Section, Text, key, required, word_from

# The values that a header can have. Any other value is a fixed text.
LISTS = frozenset(("groups", "roles"))
VALUES = ("username", "name", "email", *sorted(LISTS), "id", "session", "level", "auth_time")
LINES = "lines"
ENCODINGS = ("percent", "utf-8", "rfc2047", "refuse")

Encoding = Annotated[Literal["percent", "utf-8", "rfc2047", "refuse"], word_from(*ENCODINGS)]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_DELIMITERS = {",": ",", "|": "|", ";": ";", " ": " ", "space": " ", LINES: LINES}


def _header_name(value: object) -> str:
    found = values.text(value)
    if not _NAME.fullmatch(found):
        hint = "use letters, digits, - and _, at most 64 of them"
        raise Wrong(f"{values.quote(found)} is not a header's name", hint)
    if not can_identify(found.encode()):
        hint = "choose another name, such as X-Employee"
        raise Wrong(f"{found} already has another meaning", hint)
    return found


def _said(value: object) -> str:
    found = values.label(value)
    if not found.isascii():
        raise Wrong("a fixed text must be ASCII", f"or use one of {', '.join(VALUES)}")
    return found


def _delimiter(value: object) -> str:
    if isinstance(value, str) and value in _DELIMITERS:
        return _DELIMITERS[value]
    raise Wrong(f"{values.quote(value)} is not one of , | ; space lines")


class IdentityHeader(Section):
    header: Annotated[str, Parsed(_header_name, {"type": "string", "pattern": "^[A-Za-z0-9]"})] = (
        required("Name of the header.")
    )
    value: Annotated[str, Parsed(_said, {"type": ["string", "integer"]})] = required(
        f"What to send: {', '.join(VALUES)}; any other text is sent as it is."
    )
    delimiter: Annotated[str, Parsed(_delimiter, {"enum": list(_DELIMITERS)})] = key(
        ",", "Separator of groups or roles: , | ; space, or lines for one header per value."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> IdentityHeader:
        if "delimiter" in self.model_fields_set and self.value not in LISTS:
            raise Wrong("has no effect, because the value is not groups or roles", key="delimiter")
        return self

    @property
    def is_list(self) -> bool:
        return self.value in LISTS


ALGORITHMS = ("ES256", "EdDSA")


class Assertion(Section):
    audience: Text = required("Audience: the value of `aud`, which the application expects.")
    algorithm: Annotated[Literal["ES256", "EdDSA"], word_from(*ALGORITHMS)] = key(
        "ES256", "Signature: ES256, or EdDSA with Ed25519."
    )


def _rows(*rows: tuple[str, str] | tuple[str, str, str]) -> tuple[IdentityHeader, ...]:
    return tuple(
        IdentityHeader.model_validate(
            dict(zip(("header", "value", "delimiter"), row, strict=False))
        )
        for row in rows
    )


# The names and formats of other products that may have protected an application before.
PRESETS: dict[str, tuple[IdentityHeader, ...]] = {
    "remote-user": _rows(  # Authelia
        ("Remote-User", "username"),
        ("Remote-Groups", "groups"),
        ("Remote-Name", "name"),
        ("Remote-Email", "email"),
    ),
    "tinyauth": _rows(
        ("Remote-User", "username"),
        ("Remote-Groups", "groups"),
        ("Remote-Name", "name"),
        ("Remote-Email", "email"),
        ("Remote-Sub", "id"),
    ),
    "x-forwarded": _rows(  # oauth2-proxy before its upstream
        ("X-Forwarded-User", "username"),
        ("X-Forwarded-Preferred-Username", "username"),
        ("X-Forwarded-Email", "email"),
        ("X-Forwarded-Groups", "groups"),
    ),
    "x-remote": _rows(  # Kubernetes
        ("X-Remote-User", "username"),
        ("X-Remote-Group", "groups", LINES),
    ),
    "x-auth-request": _rows(  # oauth2-proxy behind ingress-nginx
        ("X-Auth-Request-User", "username"),
        ("X-Auth-Request-Email", "email"),
        ("X-Auth-Request-Preferred-Username", "username"),
        ("X-Auth-Request-Groups", "groups"),
    ),
    "authentik": _rows(
        ("X-authentik-username", "username"),
        ("X-authentik-groups", "groups", "|"),
        ("X-authentik-entitlements", "roles", "|"),
        ("X-authentik-email", "email"),
        ("X-authentik-name", "name"),
        ("X-authentik-uid", "id"),
    ),
    "pomerium": _rows(  # the claims only, without Pomerium's token
        ("X-Pomerium-Claim-Sub", "id"),
        ("X-Pomerium-Claim-User", "username"),
        ("X-Pomerium-Claim-Email", "email"),
        ("X-Pomerium-Claim-Name", "name"),
        ("X-Pomerium-Claim-Groups", "groups"),
    ),
    "x-token": _rows(  # AuthCrunch
        ("X-Token-Subject", "username"),
        ("X-Token-User-Name", "name"),
        ("X-Token-User-Email", "email"),
        ("X-Token-User-Roles", "roles", "space"),
    ),
    "x-auth": _rows(  # gogatekeeper
        ("X-Auth-Username", "username"),
        ("X-Auth-Userid", "username"),
        ("X-Auth-Email", "email"),
        ("X-Auth-Subject", "id"),
        ("X-Auth-Groups", "groups"),
        ("X-Auth-Roles", "roles"),
    ),
    "vouch": _rows(("X-Vouch-User", "username")),
    "webauth": _rows(  # Grafana reads NAME, Gitea and Gogs FULLNAME
        ("X-WEBAUTH-USER", "username"),
        ("X-WEBAUTH-NAME", "name"),
        ("X-WEBAUTH-FULLNAME", "name"),
        ("X-WEBAUTH-EMAIL", "email"),
        ("X-WEBAUTH-GROUPS", "groups"),
    ),
    "cgi": _rows(("Remote-User", "username")),  # CGI calls it HTTP_REMOTE_USER
    "none": (),
}


@dataclass(frozen=True, eq=False)
class _PresetOrHeader:
    """Accepts the name of a preset, or a mapping that describes one header."""

    def _read(self, value: Any, header: Callable[[Any], IdentityHeader]) -> str | IdentityHeader:
        return header(value) if isinstance(value, dict) else values.choice(*PRESETS)(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        (section,) = (each for each in get_args(source) if each is not str)
        inner = handler.generate_schema(section)
        return core_schema.no_info_wrap_validator_function(self._read, inner)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Schema:
        return {"anyOf": [{"enum": list(PRESETS)}, handler(core)]}


Told = Annotated[str | IdentityHeader, _PresetOrHeader()]


def list_headers(told: Iterable[str | IdentityHeader]) -> tuple[IdentityHeader, ...]:
    """Every header of these presets and headers, each once. Raises Wrong if one name has two
    different values."""
    found: dict[bytes, IdentityHeader] = {}
    for each in told:
        for header in PRESETS[each] if isinstance(each, str) else (each,):
            first = found.setdefault(normalize_name(header.header.encode()), header)
            if (first.value, first.delimiter) != (header.value, header.delimiter):
                hint = "give one of them another name"
                raise Wrong(f"{header.header} would be both {first.value} and {header.value}", hint)
    return tuple(found.values())
