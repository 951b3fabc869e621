"""Finds the user who already has a name or an address.

It knows how to report this; the core requires names and addresses to be unique.
"""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doorward.accounts.user import User
    from doorward.wiring.accounts import Accounts


@asynccontextmanager
async def name_the_holder(
    accounts: Accounts, name: str | None, emails: Sequence[str]
) -> AsyncIterator[None]:
    """Turn a NameTaken into a message with the user who has this name or one of these addresses,
    and the command to use instead of a second `user add`."""
    from doorward.accounts.refusals import NameTaken

    try:
        yield
    except NameTaken:
        for handle in filter(None, (name, *emails)):
            if (found := await accounts.users.credential(handle)) is not None:
                raise NameTaken(_sentence(handle, found.user, is_name=handle is name)) from None
        raise


def _sentence(handle: str, user: User, *, is_name: bool) -> str:
    from doorward.accounts.names import display, parse_handle
    from doorward.accounts.user import DATABASE

    name = display(user.username)
    if not is_name or parse_handle(handle) != parse_handle(user.username):
        return f"{display(handle)} already belongs to user {name}"
    if user.source == DATABASE:
        return f"user {name} already exists; use `doorward user passwd {shlex.quote(name)}`"
    return f"user {name} already exists; it comes from the {user.source} file"
