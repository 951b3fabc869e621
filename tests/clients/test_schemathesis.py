"""Requests generated from the API description, with a running Doorward: every answer conforms to
the description."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.live import Live
from tests.support.waiting import PATIENCE_S

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
DIALECTS = {
    "xhr": {},
    "alekeagle": {"rate_limit": "off"},
    "datepoll": {},
    "rocketchat": {"rate_limit": "off"},
}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
# For these, requests that violate the description have to be refused, too.
STRICT = (*CHECKS, "negative_data_rejection")


@pytest.fixture(scope="module")
def live(deploy: Start) -> Live:
    live = deploy(
        "http://127.0.0.1:9",
        dialects=DIALECTS,
        api={"enabled": True},
        regulation={"enabled": False},
    )
    live.add_user("boss", "--super-admin")
    return live


def run(live: Live, folder: Path, tag: str, checks: tuple[str, ...], *more: str) -> None:
    command = [
        str(SCHEMATHESIS), "run", f"http://{live.host}/.doorward/openapi.json",
        "--include-tag", tag, "--checks", ",".join(checks), "--phases", "examples,coverage,fuzzing",
        "--max-examples", "10", "--seed", "1", "--generation-database", "none", "--warnings", "off",
        "--exclude-path-regex", "/audit/events$", "--no-color", *more,
    ]  # fmt: skip
    environment = os.environ | {"no_proxy": "*", "HOME": str(folder)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]


def token(live: Live) -> str:
    words = ("token", "add", "boss", "--name", "x", "--scope", "admin:write", "--json")
    made: str = json.loads(live.command(*words).stdout)["token"]
    return made


def test_the_administration_api_answers_as_it_is_described(live: Live, tmp_path: Path) -> None:
    run(live, tmp_path, "api", STRICT, "--header", f"Authorization: Bearer {token(live)}")


def test_it_does_so_for_anonymous_clients_too(live: Live, tmp_path: Path) -> None:
    run(live, tmp_path, "api", CHECKS)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_answers_as_it_is_described(live: Live, tmp_path: Path, dialect: str) -> None:
    live.add_user(dialect)  # unchanged by the administration API
    run(live, tmp_path, dialect, CHECKS, "--header", live.login(dialect))
