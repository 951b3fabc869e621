"""Changes to a user of the database other than password and state, and their result.

Only computes. Storage calls it in the transaction that writes the result, so concurrent changes are
not lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from doorward.accounts.names import (
    check_display_name,
    check_group,
    normalise,
    normalise_address,
)
from doorward.accounts.user import Email, User


@dataclass(frozen=True, slots=True)
class Edit:
    """None changes nothing; an empty name removes the name. Removals are applied before additions;
    an address added again takes the new spelling and state."""

    name: str | None = None
    remove_emails: tuple[str, ...] = ()
    add_emails: tuple[Email, ...] = ()
    remove_groups: tuple[str, ...] = ()
    add_groups: tuple[str, ...] = ()
    remove_roles: tuple[str, ...] = ()
    add_roles: tuple[str, ...] = ()
    super_admin: bool | None = None
    must_change_password: bool | None = None


def list_handles(username: str, emails: Iterable[Email]) -> tuple[str, ...]:
    """The normalised name and verified addresses that lead to a user. Raises InvalidName,
    InvalidEmail, for addresses that are not verified too."""
    addresses = [(normalise_address(email.address), email.verified) for email in emails]
    verified = [address for address, is_verified in addresses if is_verified]
    return tuple(dict.fromkeys([normalise(username), *verified]))


def apply_edit(user: User, edit: Edit, delimiters: str = ",") -> User:
    """The changed user; see `check_group` for `delimiters`. Raises InvalidName, InvalidEmail,
    InvalidGroup."""
    return replace(
        user,
        name=_name(user.name, edit.name),
        emails=_emails(user.emails, edit),
        groups=_groups(user.groups, edit.remove_groups, edit.add_groups, delimiters),
        roles=_groups(user.roles, edit.remove_roles, edit.add_roles, delimiters),
        super_admin=user.super_admin if edit.super_admin is None else edit.super_admin,
        must_change_password=(
            user.must_change_password
            if edit.must_change_password is None
            else edit.must_change_password
        ),
    )


def _name(old: str | None, new: str | None) -> str | None:
    if new is None:
        return old
    return check_display_name(new) if new else None


def _emails(old: tuple[Email, ...], edit: Edit) -> tuple[Email, ...]:
    kept = {normalise_address(email.address): email for email in old}
    for address in edit.remove_emails:
        kept.pop(normalise_address(address), None)
    kept |= {normalise_address(email.address): email for email in edit.add_emails}
    return tuple(kept.values())


def _groups(
    old: tuple[str, ...], removed: tuple[str, ...], added: tuple[str, ...], delimiters: str
) -> tuple[str, ...]:
    kept = [group for group in old if group not in removed]
    new = [check_group(group, delimiters) for group in added if group not in kept]
    return tuple(dict.fromkeys([*kept, *new]))
