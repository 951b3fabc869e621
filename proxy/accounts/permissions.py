"""What a role allows. It knows roles and permissions, not who asks for what."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.accounts.refusals import NotPermitted
from proxy.accounts.user import User

VIEW_SESSIONS = "view-device-management"
END_SESSIONS = "logout-device-management"
END_USERS_SESSIONS = "logout-other-user"
EDIT_TOTP = "edit-other-user-totp"

ADMIN = "admin"
ROLES: Mapping[str, frozenset[str]] = {
    ADMIN: frozenset({VIEW_SESSIONS, END_SESSIONS, END_USERS_SESSIONS, EDIT_TOTP}),
}


def permissions(user: User) -> frozenset[str]:
    """Everything the user may do to others; a super admin is an admin."""
    roles = {*user.roles, ADMIN} if user.super_admin else user.roles
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


def require(user: User, permission: str) -> None:
    """Raises NotPermitted."""
    if permission not in permissions(user):
        raise NotPermitted(f"This needs the permission {permission}.")
