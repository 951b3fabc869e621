"""Users of other programs are imported by command, and log in with their old passwords."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts.factors import totp
from doorward.accounts.passwords.hashing import OURS
from doorward.accounts.refusals import InvalidCredentials, SecondFactorRequired
from doorward.accounts.session import ClientInfo
from doorward.cli.main import app
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts
from typer.testing import CliRunner

from tests.support.command import Command
from tests.support.people import proven
from tests.support.sessions import log_in

CLIENT = ClientInfo("192.0.2.1", "a browser")
BCRYPT = "$2b$10$iLBBCGITXLWiSLKgOVpt..5QcHk0klfoOJ5747yK7N/xvKyqf8F1i"
ARGON2 = (
    "$argon2id$v=19$m=65536,t=3,p=4$kjvmMiXKx/spnSGNH4kpbA"
    "$u7uQc6y+g1eA/rMIcrob/HyrJou1pVKPDarN+xk5bCM"
)
SHA512 = (
    "$6$saltsalt$fJroT3mnT.5sMN.Kh5PAdplAezv3ZMwRSvtTM3QcMgikVavj9829pZnH.1xUjjMPGwrtb"
    "ApVkXaKC14f0UdUv1"
)
AUTHELIA = f"""
users:
  arthur:
    disabled: false
    displayname: 'Arthur D.'
    password: '{ARGON2}'
    email: arthur@example.com
    groups: [admins, dev]
  Béa:
    displayname: ''
    password: {BCRYPT!r}
    email: bea@example.com
    groups:
  seth:
    password: "{SHA512}"
    given_name: Seth
  gone:
    disabled: true
    password: "{SHA512}"
"""
PASSWORDS = {"arthur": "argon2 password", "béa": "bcrypt password", "seth": "sha512 password"}
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


async def login(config: Path, name: str, password: str, **more: Any) -> str:
    """The scheme and the beginning of the stored hash after a login."""
    async with build_accounts(load_settings(config, os.environ)) as accounts:
        opened = await log_in(
            accounts.logins, name, password, client=CLIENT, now=time.time(), **more
        )
        assert opened.session.level == "full"
        credential = await accounts.users.credential(name)
        assert credential is not None
        return f"{credential.scheme} {credential.password_hash}"


def imports(doorward: Command, format: str, text: str, status: int = 0) -> str:
    file = doorward.config.with_name("users")
    file.write_text(text)
    return doorward("user", "import", format, str(file), status=status)


@pytest.mark.usefixtures("full_price")
def test_users_of_authelia_log_in_and_get_new_hashes(doorward: Command) -> None:
    printed = imports(doorward, "authelia", AUTHELIA)
    assert printed == "".join(f"user {n} imported\n" for n in ("arthur", "Béa", "seth", "gone"))
    users = doorward.users()
    assert users["arthur"]["emails"] == [{"address": "arthur@example.com", "verified": True}]
    assert users["arthur"]["groups"] == ["admins", "dev"]
    assert users["arthur"]["name"] == "Arthur D." and users["Béa"]["name"] is None
    assert (users["seth"]["active"], users["gone"]["active"]) == (True, False)
    for name, password in PASSWORDS.items():
        for handle in (name, name.upper()):
            stored = asyncio.run(login(doorward.config, handle, password))
            assert stored.startswith(f"{OURS} $argon2id$v=19$m=19456,t=2,p=1$")
        with pytest.raises(InvalidCredentials):
            asyncio.run(login(doorward.config, name, f"{password}."))
    with pytest.raises(InvalidCredentials):
        asyncio.run(login(doorward.config, "gone", "sha512 password"))


def test_users_of_an_htpasswd_file_are_imported(doorward: Command) -> None:
    text = f"# ours\nalice:{BCRYPT}\r\n\nbob:{{SHA}}L55TUjtiq8FBorTWAZ0jy6g129A=\n"
    file = doorward.config.with_name("users")
    file.write_text(text)
    words = ["user", "import", "htpasswd", str(file), "-c", str(doorward.config)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and done.stdout == "user alice imported\nuser bob imported\n"
    assert done.stderr.startswith("warning: user bob has a SHA-1 hash")
    for name, password in (("alice", "bcrypt password"), ("bob", "correct horse")):
        assert asyncio.run(login(doorward.config, name, password)).startswith(OURS)


def test_users_of_tinyauth_keep_their_second_factor(doorward: Command) -> None:
    doubled = BCRYPT.replace("$", "$$")
    imports(doorward, "tinyauth", f"alice:{doubled}:{SECRET},bob:{BCRYPT}\ncarol:{BCRYPT}\n")
    assert all(user["active"] for user in doorward.users().values())
    for name in ("bob", "carol"):
        assert asyncio.run(login(doorward.config, name, "bcrypt password")).startswith(OURS)
    with pytest.raises(SecondFactorRequired):
        asyncio.run(login(doorward.config, "alice", "bcrypt password"))
    code = totp.code_at(SECRET, totp.step_at(time.time()))
    assert asyncio.run(login(doorward.config, "alice", "bcrypt password", code=code))
    assert "--yes" in doorward("user", "reset-totp", "alice", status=1)
    shown = doorward("user", "show", "alice")
    assert "second_factors: totp\n" in shown and "recovery_codes: 0\n" in shown
    assert "removed\n" in doorward("user", "reset-totp", "alice", "--yes")
    assert asyncio.run(login(doorward.config, "alice", "bcrypt password"))
    assert doorward("user", "reset-totp", "alice", "--yes", status=1)


def test_reset_totp_removes_codes_by_email_if_asked(doorward: Command) -> None:
    """Without a mail server, the user could never log in again."""

    async def turn_on() -> None:
        async with build_accounts(load_settings(doorward.config, os.environ)) as accounts:
            user = await accounts.users.get("alice")
            await accounts.second_factors.enable_email(proven(user, time.time()), time.time())

    doorward("user", "add", "alice", "--email", "alice@example.com", "--generate")
    with doorward.config.open("a") as file:
        file.write("email: {smtp: 'smtp://127.0.0.1:9', from: doorward@example.com}\n")
    asyncio.run(turn_on())
    assert "still asked for (--email)" in doorward("user", "reset-totp", "alice", "--yes")
    assert "second_factors: email\n" in doorward("user", "show", "alice")
    assert "removed\n" in doorward("user", "reset-totp", "alice", "--yes", "--email")
    assert "second_factors: -\n" in doorward("user", "show", "alice")


@pytest.mark.parametrize(
    ("format", "text", "says"),
    [
        ("htpasswd", f"alice:{BCRYPT}\nno colon\n", "line 2: This is not name:hash"),
        ("htpasswd", "alice:plain\n", "line 1: user alice: Doorward cannot verify"),
        (
            "htpasswd",
            f"alice:{BCRYPT}\nALICE:{BCRYPT}\n",
            "line 2: user ALICE: this name is taken by line 1",
        ),
        ("htpasswd", f" :{BCRYPT}\n", "line 1: user  : A user name has"),
        (
            "htpasswd",
            f"alice:{BCRYPT}\nADMIN:{BCRYPT}\n",
            "line 2: user ADMIN: Another user already",
        ),
        ("tinyauth", f"alice:{BCRYPT}:{SECRET}:more", "line 1: user alice: This is not name:hash"),
        ("tinyauth", "alice", "line 1: This is not name:hash"),
        ("tinyauth", f"bob:{BCRYPT}\nalice:{BCRYPT}:short!", "line 2: user alice: This"),
        ("authelia", "users: [", "This is not YAML"),
        ("authelia", "[]", "has no users"),
        ("authelia", "users: {alice: }", "line 1: user alice: there is no mapping"),
        ("authelia", "users:\n  alice: {}", "line 2: user alice: Doorward cannot"),
        (
            "authelia",
            f"users: {{alice: {{password: '{BCRYPT}', groups: x}}}}",
            "alice: groups is not a list",
        ),
        (
            "authelia",
            f"users: {{alice: {{password: '{BCRYPT}', groups: ['a,b']}}}}",
            "user alice: A group",
        ),
        (
            "authelia",
            f"users: {{alice: {{password: '{BCRYPT}', email: x}}}}",
            "alice: This is not an",
        ),
        ("authelia", "\ud800", "UTF-8"),
        ("authelia", 'users: {"\\e[2J": {}}', r"line 1: user '\x1b[2J': "),
    ],
)
def test_an_invalid_file_is_reported_and_nothing_is_imported(
    doorward: Command, format: str, text: str, says: str
) -> None:
    file = doorward.config.with_name("users")
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert says in doorward("user", "import", format, str(file), status=1)
    assert list(doorward.users()) == ["Admin"]


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("htpasswd", ""),
        ("htpasswd", "# none yet\n\n"),
        ("tinyauth", "\n"),
        ("authelia", ""),
        ("authelia", "users: {}"),
    ],
)
def test_a_file_without_users_is_reported(doorward: Command, format: str, text: str) -> None:
    said = doorward("user", "import", format, "-", stdin=text, status=1)
    assert "no users" in said


def test_an_unknown_format_or_missing_file_is_reported(doorward: Command) -> None:
    assert "htpasswd, authelia, tinyauth" in doorward("user", "import", "ldif", "x", status=2)
    assert "No such file" in doorward("user", "import", "htpasswd", "/nowhere/x", status=1)


def test_a_file_can_be_read_from_standard_input(doorward: Command) -> None:
    doorward("user", "import", "htpasswd", "-", stdin=f"alice:{BCRYPT}\n")
    assert "alice" in doorward.users()


def test_users_are_edited(doorward: Command) -> None:
    doorward("user", "add", "alice", "--email", "a@example.com", "--group", "wiki", "--generate")
    doorward(
        "user", "edit", "A@example.com", "--add-email", "b@example.com", "--remove-email",
        "A@EXAMPLE.COM", "--add-group", "ops", "--add-group", "dev", "--remove-group", "wiki",
        "--add-role", "admin", "--super-admin", "--name", "Alice A.", "--must-change-password",
    )  # fmt: skip
    user = doorward.users()["alice"]
    assert user["emails"] == [{"address": "b@example.com", "verified": True}]
    assert (user["groups"], user["roles"]) == (["ops", "dev"], ["admin"])
    assert (user["super_admin"], user["must_change_password"], user["name"]) == (
        True, True, "Alice A."
    )  # fmt: skip
    doorward("user", "edit", "b@example.com", "--no-super-admin", "--name", "")
    user = doorward.users()["alice"]
    assert (user["super_admin"], user["name"], user["groups"]) == (False, None, ["ops", "dev"])


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("bob", (), "no user named bob"),
        ("admin", ("--add-group", "x"), "configuration file"),
        ("alice", ("--add-group", "a,b"), "no comma"),
        ("alice", ("--add-email", "nonsense"), "not an e-mail address"),
        ("alice", ("--remove-email", "nonsense"), "not an e-mail address"),
        ("alice", ("--add-email", "admin@example.com"), "already belongs to user Admin"),
        ("alice", ("--add-email", "carol"), "not an e-mail address"),
        ("alice", ("--add-email", "carol@example.com"), "already belongs to user"),
        ("alice", ("--name", "a\nb"), "display name"),
    ],
)
def test_an_invalid_edit_changes_nothing(
    doorward: Command, name: str, words: tuple[str, ...], says: str
) -> None:
    doorward("user", "add", "alice", "--generate")
    doorward("user", "add", "carol@example.com", "--generate")
    before = doorward.users()
    assert says in doorward("user", "edit", name, *words, status=1)
    assert doorward.users() == before
