"""Reads fields from a body in any of three encodings: JSON, urlencoded and multipart.

Knows how JSON and forms write lists and nested values; must not know what a field means.
"""

import json
import re
from collections.abc import Mapping
from typing import NoReturn

from starlette.requests import Request

from doorward.dialects.context import Malformed, TooLarge
from doorward.web import endpoint, forms
from doorward.web.endpoint import BodyTooLarge, media_type

JSON = "application/json"
FIELDS_LIMIT = 1000  # more than a user's sessions, fewer than fit in a body

# `sessions[]` adds to a list, `2fa[code]` is a field within another.
_NESTED = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")

Fields = dict[str, object]


async def read_fields(request: Request) -> Fields:
    """The body's fields; none if it is empty or of another type. Raises Malformed, TooLarge."""
    if media_type(request) == JSON:  # some clients send this type with a DELETE without a body
        content = await _read_body(request)
        return parse_object(content) if content else {}
    try:
        return _nest(await forms.read_pairs(request, FIELDS_LIMIT))
    except BodyTooLarge:
        raise TooLarge from None
    except forms.NotAForm:
        return {}
    except forms.UnreadableForm:
        raise Malformed("The body is not a form.") from None


async def read_json(request: Request) -> Fields:
    """The body as a JSON object. Raises Malformed or TooLarge.

    Only `application/json` is read: a page of another site can send forms and plain text.
    """
    _require_json(request)
    return parse_object(await _read_body(request))


async def read_optional_json(request: Request) -> Fields:
    """The same; no fields if the body is empty."""
    content = await _read_body(request)
    if not content:
        return {}
    _require_json(request)
    return parse_object(content)


async def _read_body(request: Request) -> bytes:
    try:
        return await endpoint.body(request)
    except BodyTooLarge:
        raise TooLarge from None


def _require_json(request: Request) -> None:
    if media_type(request) != JSON:
        raise Malformed("Send JSON, with Content-Type: application/json.")


def parse_object(content: bytes) -> Fields:
    """Unambiguous JSON (RFC 8259 4 and 6): no duplicate names, no NaN. Raises Malformed."""
    try:
        found = json.loads(content.decode(), object_pairs_hook=_unite, parse_constant=_refuse)
    except (ValueError, RecursionError):  # also: not UTF-8, a number of 5000 digits
        raise Malformed("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise Malformed("The body is not a JSON object.")
    return found


def _unite(pairs: list[tuple[str, object]]) -> Fields:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def get_text(fields: Mapping[str, object], name: str) -> str:
    """A required field: a string without lone surrogates. Raises Malformed."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise Malformed(f"The field {name} has to be a string.")
    if has_half_character(value):
        raise Malformed(f"The field {name} contains invalid characters.")
    return value


def has_half_character(text: str) -> bool:
    """Whether it contains a lone surrogate, which JSON can express and UTF-8 cannot."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def is_storable(text: str) -> bool:
    """Whether every database can store it: no lone surrogate, and no NUL, which PostgreSQL does not
    accept in texts."""
    return "\0" not in text and not has_half_character(text)


def _nest(pairs: list[tuple[str, str]]) -> Fields:
    """A repeated name is a list; a part of a nested field may appear only once."""
    found: Fields = {}
    for name, value in pairs:
        nested = _NESTED.fullmatch(name)
        if nested is None:
            found[name] = [*_as_list(found[name]), value] if name in found else value
        elif not nested[2]:
            found[nested[1]] = [*_as_list(found.get(nested[1], [])), value]
        else:
            inner = found.setdefault(nested[1], {})
            if not isinstance(inner, dict) or nested[2] in inner:
                raise Malformed("The form contains a field twice.")
            inner[nested[2]] = value
    return found


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
