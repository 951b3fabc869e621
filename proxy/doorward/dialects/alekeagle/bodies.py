"""What the `alekeagle` dialect reads out of bodies, and how it names what is missing there.

It knows names and types; what a field is for it must not know.
"""

from starlette.requests import Request

from doorward.dialects.context import Malformed
from doorward.dialects.fields import Fields, has_half_character, read_fields


async def read_required_fields(request: Request, *required: str) -> Fields:
    """The body's fields. Of one that cannot be read all the required ones are missing."""
    try:
        return await read_fields(request)
    except Malformed as fault:
        raise Malformed(str(fault), required) from None


def get_texts(fields: Fields, *names: str, within: str = "") -> list[str]:
    """Raises Malformed with the names of all that are missing or no text."""
    missing = tuple(name for name in names if not _is_text(fields.get(name)))
    if missing:
        raise Malformed(fields=tuple(f"{within}.{name}" if within else name for name in missing))
    return [str(fields[name]) for name in names]


def _is_text(value: object) -> bool:
    """A string of whole characters: JSON can say half of one."""
    return isinstance(value, str) and not has_half_character(value)
