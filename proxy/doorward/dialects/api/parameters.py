"""What requests to the administration API contain: parameters, cursors and fields.

Knows their names and forms; must not know what an operation does with them. Reading one raises
Malformed, which names it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from starlette.requests import Request

from doorward.accounts.administration import Cursor, Details
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.dialects.context import Malformed
from doorward.dialects.fields import get_text, is_storable

MUST_CHANGE = "must_change_password"
# The fields of a user that an administrator can set; others are refused by name.
DETAILS = ("name", "email", "groups", "roles", MUST_CHANGE)
BAD_CURSOR = "The parameter cursor is invalid. Use `next` of the previous page."
PAGE, MOST = 50, 200  # entries on a page: the default and the maximum

Item = TypeVar("Item")


def get_id(request: Request) -> str:
    found: str = request.path_params["id"]
    return found


def read_text(request: Request, name: str) -> str | None:
    text = request.query_params.get(name)
    if text is not None and not is_storable(text):
        raise Malformed(f"The parameter {name} contains invalid characters.", (name,))
    return text


def read_limit(request: Request) -> int:
    text = request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST):
        raise Malformed(f"The parameter limit has to be a number from 1 to {MOST}.", ("limit",))
    return int(text)


def read_flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Malformed(f"The parameter {name} has to be true or false.", (name,))
    return text == "true"


def read_cursor(request: Request) -> int | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Malformed(BAD_CURSOR, ("cursor",))
    return int(text)


def write_cursor(found: Sequence[Item], limit: int, number: Callable[[Item], int]) -> str | None:
    """The cursor of the page after these `limit` entries. None if there are no more."""
    return str(number(found[limit - 1])) if len(found) > limit else None


def read_user_cursor(request: Request) -> Cursor | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    number, dot, key = text.partition(".")
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    if not (is_number and dot and is_storable(key)):
        raise Malformed(BAD_CURSOR, ("cursor",))
    return Cursor(key, int(number))


def write_user_cursor(last: Cursor) -> str:
    return f"{last.number}.{last.key}"


def read_filter(request: Request) -> RecordFilter:
    kind, since = request.query_params.get("kind"), request.query_params.get("since")
    if kind is not None and kind not in set(Kind):
        raise Malformed("The parameter kind is not a kind of record.", ("kind",))
    return RecordFilter(
        user=read_text(request, "user"),
        kind=None if kind is None else Kind(kind),
        since=None if since is None else _parse_time(since),
    )


def _parse_time(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        return found.timestamp()
    except (ValueError, OverflowError):
        sentence = "The parameter since has to be a time such as 2026-01-31T00:00:00Z."
        raise Malformed(sentence, ("since",)) from None


# Fields of bodies


def refuse_others(fields: Mapping[str, object], *names: str) -> None:
    """Raise Malformed for an unknown field: it may be a misspelt one."""
    if others := tuple(name for name in fields if name not in names):
        raise Malformed(f"There is no field {others[0][:80]!a}.", others)


def get_storable(fields: Mapping[str, object], name: str) -> str:
    text = get_text(fields, name)
    if not is_storable(text):
        raise Malformed(f"The field {name} contains invalid characters.", (name,))
    return text


def _get_optional(fields: Mapping[str, object], name: str) -> str | None:
    return get_storable(fields, name) if name in fields else None


def get_flag(fields: Mapping[str, object], name: str) -> bool | None:
    value = fields.get(name)
    if name in fields and not isinstance(value, bool):
        raise Malformed(f"The field {name} has to be true or false.", (name,))
    return value if isinstance(value, bool) else None


def read_details(fields: Mapping[str, object]) -> Details:
    return Details(
        name=_get_optional(fields, "name"),
        email=_get_optional(fields, "email"),
        groups=_get_list(fields, "groups"),
        roles=_get_list(fields, "roles"),
        must_change=get_flag(fields, MUST_CHANGE),
    )


def read_new_password(fields: Mapping[str, object]) -> str | None:
    """The new password, or None to generate one, which then has to be changed, because an
    administrator has seen it."""
    password = _get_optional(fields, "password")
    if password is None and get_flag(fields, MUST_CHANGE) is False:
        raise Malformed("A generated password has to be changed.", (MUST_CHANGE,))
    return password


def _get_list(fields: Mapping[str, object], name: str) -> tuple[str, ...] | None:
    if name not in fields:
        return None
    value = fields[name]
    if not isinstance(value, list) or not all(
        isinstance(one, str) and is_storable(one) for one in value
    ):
        raise Malformed(f"The field {name} has to be a list of strings.", (name,))
    return tuple(dict.fromkeys(value))
