"""A byte order mark at the beginning of files and standard input is ignored."""

from __future__ import annotations

import base64
import codecs
from pathlib import Path

import pytest
from doorward.cli.imports import FORMATS
from doorward.directories.htpasswd import HtpasswdDirectory
from doorward.settings import load_settings
from doorward.settings.key_ring import read_ring

from tests.accounts.test_imported import BCRYPT
from tests.support.command import HASH, Command, fits

MARK = codecs.BOM_UTF8.decode()
USERS = {
    "htpasswd": f"carol:{HASH}\n",
    "tinyauth": f"carol:{BCRYPT}\n",
    "authelia": f"users: {{carol: {{password: '{HASH}'}}}}\n",
}


def test_a_password_on_standard_input(doorward: Command) -> None:
    doorward("user", "add", "alice", "--password-stdin", stdin=f"{MARK}correct horse\n")
    assert fits(doorward, "correct horse")


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_of_users_to_import(doorward: Command, format: str, tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(USERS[format], encoding="utf-8-sig")
    assert "carol" in doorward("user", "import", format, str(file))


def test_an_htpasswd_file(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(USERS["htpasswd"], encoding="utf-8-sig")
    assert [entry.key for entry in HtpasswdDirectory(file).entries()] == ["carol"]


def test_a_configuration_with_its_secrets(tmp_path: Path) -> None:
    key, storage, config = (tmp_path / name for name in ("key", "storage", "doorward.yaml"))
    line = base64.urlsafe_b64encode(bytes(range(32))).decode()
    key.write_text(f"{line}\n", encoding="utf-8-sig")
    key.chmod(0o600)
    storage.write_text("postgresql://host/database\n", encoding="utf-8-sig")
    config.write_text(
        f"secret_files: ['{key}']\nroutes: [{{upstream: 'http://app:1'}}]\n", encoding="utf-8-sig"
    )
    settings = load_settings(config, {"DOORWARD_STORAGE_FILE": str(storage)})
    assert [key.secret for key in read_ring(settings).keys] == [bytes(range(32))]
    assert settings.storage == "postgresql://host/database"
