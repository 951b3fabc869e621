from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.browsing import CHROMIUM
from tests.support.waiting import PATIENCE_S

expect.set_options(timeout=PATIENCE_S * 1000)  # the library's default is five seconds


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_S * 1000
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which finds accessibility problems."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to fetch axe-core with; apt-get install npm brings it")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run([*command, "axe-core@4"], check=True, timeout=100)
    return Path(folder, "node_modules", "axe-core", "axe.min.js").read_text()
