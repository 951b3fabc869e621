"""The examples, each run by a server: after a login, the application shows the user's name."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.live import Live

EXAMPLES = Path(__file__).parents[2] / "examples" / "middleware"
pytestmark = pytest.mark.outside
APPLICATIONS = sorted(file.stem for file in EXAMPLES.glob("*_app.py"))


class Example(Live):
    """An example under uvicorn, with its own settings."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, "http://127.0.0.1:9", admin_listen="off")
        self.name = name
        text = (EXAMPLES / "doorward.yaml").read_text()
        text = text.replace("http://127.0.0.1:8080", f"http://{self.host}")
        self.config.write_text(text + "dialects: {xhr: {}}\n")

    def command_line(self) -> list[str]:
        where = ["--app-dir", os.fspath(EXAMPLES), "--port", str(self.port)]
        quiet = ["--http", "h11", "--no-proxy-headers", "--no-access-log"]
        return [sys.executable, "-m", "uvicorn", f"{self.name}:app", *where, *quiet]


@pytest.mark.parametrize("name", APPLICATIONS)
def test_it_shows_the_logged_in_user(tmp_path: Path, name: str) -> None:
    with Example(tmp_path, name) as live:
        assert live.get("/").status == 401
        live.add_user("alice", "--group", "staff")
        answer = live.get("/", live.login("alice"))
        assert answer.status == 200
        assert json.loads(answer.body) == {"username": "alice", "groups": ["staff"]}
        assert answer.values(b"cache-control") == [b"private"]
