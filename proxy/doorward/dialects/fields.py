"""Fields out of a body in any of three encodings: JSON, urlencoded and multipart.

Knows how forms name lists and nested values; must not know what a field means.
"""

import re

from starlette.requests import Request

from doorward.dialects.context import Malformed, TooLarge, parse_object
from doorward.web import endpoint, form
from doorward.web.endpoint import BodyTooLarge

JSON = "application/json"
FIELDS_LIMIT = 1000  # more session ids than a user can have, less than what a body has room for

# `sessions[]` is one more of a list, `2fa[code]` a field within another.
_NESTED = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")

Fields = dict[str, object]


async def any_fields(request: Request) -> Fields:
    """The body's fields; none where it is empty or of another type. Raises Malformed, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == JSON:  # some clients say so of a DELETE without a body
            content = await endpoint.body(request)
            return parse_object(content) if content else {}
        return _nested(await form.pairs(request, FIELDS_LIMIT))
    except BodyTooLarge:
        raise TooLarge from None
    except form.NotAForm:
        return {}
    except form.Malformed:
        raise Malformed("The body is not a form.") from None


def _nested(pairs: list[tuple[str, str]]) -> Fields:
    """A name that comes more than once is a list; a part of a nested one may come once."""
    found: Fields = {}
    for name, value in pairs:
        nested = _NESTED.fullmatch(name)
        if nested is None:
            found[name] = [*_listed(found[name]), value] if name in found else value
        elif not nested[2]:
            found[nested[1]] = [*_listed(found.get(nested[1], [])), value]
        else:
            inner = found.setdefault(nested[1], {})
            if not isinstance(inner, dict) or nested[2] in inner:
                raise Malformed("The form says one thing twice.")
            inner[nested[2]] = value
    return found


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
