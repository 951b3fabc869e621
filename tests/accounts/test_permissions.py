"""The permissions of each role."""

from __future__ import annotations

from dataclasses import replace

import pytest
from doorward.accounts import permissions
from doorward.accounts.refusals import NotPermitted

from tests.support.core import Core

ALL = {
    "logout-device-management",
    "view-device-management",
    "logout-other-user",
    "edit-other-user-totp",
}


async def test_an_admin_holds_exactly_four_permissions(core: Core) -> None:
    user = await core.add()
    assert permissions.list_permissions(user) == set()
    assert permissions.list_permissions(replace(user, roles=("editor", "Admin"))) == set()
    assert permissions.list_permissions(replace(user, roles=("admin",))) == ALL
    assert permissions.list_permissions(replace(user, super_admin=True)) == ALL


async def test_a_refusal_names_the_missing_permission(core: Core) -> None:
    user = await core.add(groups=["admin"])
    for permission in ALL:
        with pytest.raises(NotPermitted, match=permission):
            permissions.require(user, permission)
        permissions.require(replace(user, roles=("admin",)), permission)
