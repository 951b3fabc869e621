"""What a role allows. It knows roles and permissions; it must not know operations."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from doorward.accounts.refusals import NotPermitted
from doorward.accounts.user import User

VIEW_SESSIONS = "view-device-management"
END_SESSIONS = "logout-device-management"
END_USERS_SESSIONS = "logout-other-user"
EDIT_TOTP = "edit-other-user-totp"

NOT_ONESELF = "You cannot do this to your own account."
SUPER_ADMINS_ONLY = "Only super administrators can do this to an administrator."

ADMIN = "admin"
ROLES: Mapping[str, frozenset[str]] = {
    ADMIN: frozenset({VIEW_SESSIONS, END_SESSIONS, END_USERS_SESSIONS, EDIT_TOTP}),
}


class Owner(Enum):
    """The operator of the machine, who uses the command line and can change everybody."""

    OWNER = "command"


OWNER: Final = Owner.OWNER
Actor = User | Owner


def list_permissions(user: User) -> frozenset[str]:
    """Every permission of the user over others; a super administrator is an administrator."""
    roles = {*user.roles, ADMIN} if user.super_admin else user.roles
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


def require(user: Actor, permission: str) -> None:
    """Raises NotPermitted."""
    if user is not OWNER and permission not in list_permissions(user):
        raise NotPermitted(f"This needs the permission {permission}.")


def is_admin(user: User) -> bool:
    """Whether the user can use the administration pages."""
    return user.super_admin or ADMIN in user.roles


def require_over(actor: Actor, subject: User) -> None:
    """Returns if the actor can change the subject: no administrator gains rank through another user
    (CVE-2024-41942), and none can lock themselves out. Every operation of the core on another user
    calls this. Raises NotPermitted."""
    if actor is OWNER:
        return
    if not is_admin(actor):
        raise NotPermitted
    if subject.number == actor.number:
        raise NotPermitted(NOT_ONESELF)
    if is_admin(subject) and not actor.super_admin:
        raise NotPermitted(SUPER_ADMINS_ONLY)


def require_rank(actor: Actor, before: User, after: User) -> None:
    """Returns if the actor may make such a change: only super administrators can create or edit
    administrators. Raises NotPermitted."""
    if actor is OWNER or actor.super_admin:
        return
    if _rank(before) != _rank(after):
        raise NotPermitted(SUPER_ADMINS_ONLY)


def _rank(user: User) -> tuple[bool, bool]:
    return user.super_admin, ADMIN in user.roles
