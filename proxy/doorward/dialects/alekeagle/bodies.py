"""The fields of bodies in the `alekeagle` dialect, and the error that names missing fields.

Knows names and types; must not know what a field is for.
"""

from starlette.requests import Request

from doorward.dialects.context import Malformed
from doorward.dialects.fields import Fields, has_half_character, read_fields


async def read_required_fields(request: Request, *required: str) -> Fields:
    """The body's fields. If it cannot be read, all required fields count as missing."""
    try:
        return await read_fields(request)
    except Malformed as fault:
        raise Malformed(str(fault), required) from None


def get_texts(fields: Fields, *names: str, within: str = "") -> list[str]:
    """Raises Malformed with the names of all fields that are missing or not text."""
    missing = tuple(name for name in names if not _is_text(fields.get(name)))
    if missing:
        raise Malformed(fields=tuple(f"{within}.{name}" if within else name for name in missing))
    return [str(fields[name]) for name in names]


def _is_text(value: object) -> bool:
    """Whether it is a string without lone surrogates, which JSON can express."""
    return isinstance(value, str) and not has_half_character(value)
