"""The modules that a server loads. They stay in the memory of every worker, so a server must not
load libraries that only a command or an unused setting needs.

A real server reports each import (`python -X importtime`).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from doorward.storage.database import DATABASE_FILE

from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.savings import migrated

pytestmark = pytest.mark.outside

# Libraries that no server needs.
NEVER = (
    "typer",
    "click",
    "rich.console",  # an import of `rich` is tried, and fails
    "pygments",
    "alembic",
    "mako",
    "sqlalchemy.orm",
    "sqlalchemy.ext.asyncio",
    "prometheus_client",
    "http.server",
    "html.parser",
    "wsproto",
    "h11",
    "passlib",
    "doorward.cli.main",
    "doorward.doctor",
    "doorward.dialects.openapi",
    "doorward.relay.websocket",
)
# Libraries that only servers with certain settings need.
WHEN_ON: dict[str, dict[str, Any]] = {
    "aiosmtplib": {"email": {"smtp": "smtp://127.0.0.1:9", "from": "doorward@example.com"}},
    "jwt": {"dialects": {"datepoll": {}}},
    "cryptography": {
        "routes": [{"upstream": "http://127.0.0.1:9", "assertion": {"audience": "wiki"}}]
    },
    "doorward.dialects.alekeagle": {"dialects": {"alekeagle": {}}},
    "doorward.dialects.datepoll": {"dialects": {"datepoll": {}}},
    "doorward.dialects.rocketchat": {"dialects": {"rocketchat": {}}},
    "doorward.dialects.api": {"api": {"enabled": True}},
}


class Watched(Live):
    def command_line(self) -> list[str]:
        main = "from doorward.cli import main; main()"
        return [sys.executable, "-X", "importtime", "-c", main, "serve", "-c", str(self.config)]

    @property
    def loaded(self) -> set[str]:
        """Every imported module, with the packages that contain it."""
        lines = [line for line in self.lines() if line.startswith("import time:")]
        return {line.rpartition("|")[2].strip() for line in lines}


def find(names: tuple[str, ...], loaded: set[str]) -> set[str]:
    return {name for name in names if any(f"{one}.".startswith(f"{name}.") for one in loaded)}


def test_a_server_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    migrated(tmp_path / "data")
    with Origin((answering(OK),)) as origin:
        live = Watched(tmp_path, origin.url, users=[config_user()])
        with live:
            assert live.get("/", live.login()).status == 200
            assert live.get("/.doorward/login").status == 200
            assert live.admin("/metrics").status_code == 200
    assert {"doorward.app", "structlog", "doorward.dialects.xhr"} <= live.loaded
    assert not find((*NEVER, *WHEN_ON), live.loaded)


def test_a_server_loads_the_modules_that_its_settings_need(tmp_path: Path) -> None:
    """Otherwise the list above could contain names that are never loaded."""
    settings: dict[str, Any] = {"dialects": {}}
    for wanted in WHEN_ON.values():
        dialects = settings["dialects"] | wanted.get("dialects", {})
        settings |= wanted | {"dialects": dialects}
    migrated(tmp_path / "data")
    live = Watched(tmp_path, "http://127.0.0.1:9", **settings)
    with live:
        pass
    assert find(tuple(WHEN_ON), live.loaded) == set(WHEN_ON)


def test_migrations_end_with_the_process_that_makes_them(tmp_path: Path) -> None:
    """At the first start, and after an update."""
    code = (
        "import sys; from doorward.settings import settings_from;"
        "from doorward.start.tables import prepare_tables;"
        f"prepare_tables(settings_from({{'data_dir': {str(tmp_path)!r},"
        " 'routes': [{'upstream': 'http://127.0.0.1:9'}]}));"
        "sys.exit('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / DATABASE_FILE).stat().st_size > 0
