from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import HASH, Command
from tests.support.savings import migrated


@pytest.fixture
def doorward(tmp_path: Path) -> Command:
    config = tmp_path / "doorward.yaml"
    config.write_text(
        f"""
data_dir: data
routes: [{{upstream: "http://127.0.0.1:9"}}]
users:
  - {{username: Admin, password_hash: "{HASH}", groups: [admins], email: admin@example.com}}
"""
    )
    migrated(tmp_path / "data")
    return Command(config)
