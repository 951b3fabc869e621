"""Importing users from another program with their hashes and factors, then rotating the keys: real
processes, real commands, requests over sockets."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from doorward.accounts.factors import totp

from tests.cli.test_import_commands import AUTHELIA, BCRYPT, PASSWORDS, SECRET
from tests.support.live import Live
from tests.support.origin import OK, Origin, answering
from tests.support.wire import Answer

TINA = "bcrypt password"


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((answering(OK),)) as origin:
        yield origin


def post(live: Live, path: str, cookie: str = "", **fields: str) -> Answer:
    body = json.dumps(fields).encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {live.host}", "Content-Type: application/json"]
    lines += [cookie] * bool(cookie) + [f"Content-Length: {len(body)}", "", ""]
    with live.client() as client:
        return client.ask("\r\n".join(lines).encode() + body)


def cookie_of(answer: Answer) -> str:
    line = next(v for v in answer.values(b"set-cookie") if b"Max-Age=0" not in v)
    return "Cookie: " + line.partition(b";")[0].decode()


def with_code(live: Live, after: int = 0) -> tuple[str, int]:
    """The cookie of a login with a code, and the time step of that code: the first valid one after
    the given step. Three logins in a row each find one."""
    first = post(live, "/xhr/login", username="tina", password=TINA)
    assert first.status == 200 and b'"totp":true' in first.body
    pending = cookie_of(first)
    assert live.get("/", pending).status == 401, "CVE-2026-32246"
    step = max(after + 1, totp.step_at(time.time()) - 1)
    second = post(live, "/xhr/totp", pending, token=totp.code_at(SECRET, step))
    if second.status == 401:  # the step ended in the meantime
        step += 1
        second = post(live, "/xhr/totp", pending, token=totp.code_at(SECRET, step))
    assert second.status == 204, second
    assert live.get("/", pending).status == 401
    return cookie_of(second), step


def key_file(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text(base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=") + "\n")
    path.chmod(0o600)
    return str(path)


def schemes(live: Live) -> dict[str, str]:
    file = Path(str(live.settings["data_dir"])) / "doorward.db"
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT username, password_hash FROM users").fetchall()
    return {name: stored.split("$")[1] for name, stored in rows}


def test_users_of_authelia_log_in_and_get_new_hashes(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "users.yml").write_text(AUTHELIA)
    with Live(tmp_path / "live", origin.url) as live:
        done = live.command("user", "import", "authelia", str(tmp_path / "users.yml"))
        assert done.returncode == 0, done.stderr
        assert (schemes(live)["Béa"], schemes(live)["seth"]) == ("2b", "6")
        for name, password in PASSWORDS.items():
            assert live.get("/", live.login(name, password)).status == 200
            assert post(live, "/xhr/login", username=name, password="wrong").status == 401
        assert schemes(live) == dict.fromkeys(("arthur", "Béa", "seth"), "argon2id") | {"gone": "6"}
        for name, password in PASSWORDS.items():
            assert live.get("/", live.login(name, password)).status == 200


def test_keys_are_rotated_and_a_lost_one_is_reported_with_its_users(
    tmp_path: Path, origin: Origin
) -> None:
    old, new = key_file(tmp_path, "old.key"), key_file(tmp_path, "new.key")
    (tmp_path / "users").write_text(f"tina:{BCRYPT}:{SECRET}\n")

    def live(*keys: str) -> Live:
        return Live(tmp_path / "live", origin.url, secret_files=list(keys), workers=2)

    with live(old) as first:
        done = first.command("user", "import", "tinyauth", str(tmp_path / "users"))
        assert done.returncode == 0, done.stderr
        before, step = with_code(first)
    with live(new, old) as both:
        assert both.get("/", before).status == 200, "all keys verify"
        after, step = with_code(both, step)
    with live(new) as second:
        assert second.get("/", before).status == 401, "signed with a key that is gone"
        assert second.get("/", after).status == 200
        assert second.get("/", with_code(second, step)[0]).status == 200
    lost = live(old).command("serve")
    assert lost.returncode == 2
    assert "'tina'" in lost.stderr and "doorward user reset-totp tina" in lost.stderr
    assert "Traceback" not in lost.stderr
    reset = live(old).command("user", "reset-totp", "tina", "--yes")
    assert reset.returncode == 0, reset.stderr
    with live(old) as freed:
        assert freed.get("/", freed.login("tina", TINA)).status == 200
