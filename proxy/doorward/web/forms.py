"""Posted forms of the pages: a few short fields, no file, each at most once.

Knows the two encodings of HTML forms; must not know the meaning of fields.
"""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from doorward.web.endpoint import BODY_LIMIT_BYTES, body, media_type

FIELDS_LIMIT = 16  # Doorward's forms have three fields
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


class NotAForm(Exception):
    """The body's media type is not one of a form: 415."""


class UnreadableForm(Exception):
    """The body is declared as a form but cannot be parsed, or is ambiguous: 400."""


async def read_fields(request: Request, most: int = BODY_LIMIT_BYTES) -> dict[str, str]:
    """The form's fields, limited in bytes. Raises BodyTooLarge, NotAForm, UnreadableForm."""
    return _unite(await read_pairs(request, most=most))


async def read_pairs(
    request: Request, limit: int = FIELDS_LIMIT, most: int = BODY_LIMIT_BYTES
) -> list[tuple[str, str]]:
    """The form's names and values in order, at most `limit`. Raises as `read_fields` does."""
    kind = media_type(request)
    if kind not in (URLENCODED, MULTIPART):
        raise NotAForm
    content = await body(request, most)
    try:
        if kind == URLENCODED:
            return parse_qsl(
                content.decode(), keep_blank_values=True, errors="strict", max_num_fields=limit
            )
        return await _parts(request, content, limit)
    except (MultiPartException, FormParserError, ValueError) as fault:
        raise UnreadableForm from fault


async def _parts(request: Request, content: bytes, limit: int) -> list[tuple[str, str]]:
    async def replay() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    # A separate scope: the parser raises its own exception, and its input was limited above.
    again = Request({"type": "http", "headers": request.headers.raw}, replay)
    form = await again.form(max_files=0, max_fields=limit, max_part_size=BODY_LIMIT_BYTES)
    # Without files every value is text, which the parser's types do not express.
    return [(name, str(value)) for name, value in form.multi_items()]


def _unite(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value per name: of two user names, another reader might take the other one."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise UnreadableForm
        found[name] = value
    return found
