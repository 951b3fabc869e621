"""The users of the configuration file, as a directory."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher
from doorward.accounts.refusals import InvalidName, NameTaken
from doorward.accounts.user import Email
from doorward.directories.config import ConfigDirectory
from doorward.settings import ConfigUser

HASH = PasswordHasher(1, 8, 1).hash("correct horse")


def user(username: str, **more: object) -> ConfigUser:
    return ConfigUser.model_validate({"username": username, "password_hash": HASH} | more)


def test_an_entry_has_the_attributes_of_the_file() -> None:
    directory = ConfigDirectory(
        [user("Admin", email="Admin@example.com", groups=["a"], roles=["r"], super_admin=True)]
    )
    entry = directory.by_name("admin")
    assert entry is not None and entry is directory.by_handle("admin@example.com")
    assert (entry.username, entry.groups, entry.roles) == ("Admin", ("a",), ("r",))
    assert entry.super_admin and entry.emails == (Email("Admin@example.com", True),)
    assert HASH not in repr(entry)
    assert directory.by_name("admin@example.com") is None
    assert set(directory.handles()) == {"admin", "admin@example.com"}
    assert list(directory.entries()) == [entry]


@pytest.mark.parametrize(
    "users",
    [
        [user("alice"), user("ALICE")],
        [user("alice", email="x@example.com"), user("bob", email="X@example.com")],
        [user("alice", email="x@example.com"), user("x@example.com")],
    ],
)
def test_two_users_cannot_share_a_name_or_address(users: list[ConfigUser]) -> None:
    with pytest.raises(NameTaken):
        ConfigDirectory(users)


def test_a_name_that_cannot_be_one_is_refused() -> None:
    with pytest.raises((InvalidName, ValueError)):
        ConfigDirectory([user("al\u200bice")])
