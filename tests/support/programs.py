"""Third-party programs, started for a test and polled until they answer."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import PATIENCE_S

READY_WITHIN_S = 90.0  # for an interpreter with many imports, on a busy machine


@contextmanager
def running(
    command: list[str], log: Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program until the end of the block."""
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, cwd=cwd, env=environment) as child,
    ):
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()


def wait_until_answered(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while child.poll() is None and time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=PATIENCE_S, trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.05)  # a process starts in real time
    pytest.fail(f"{url} was not served; the log says:\n{log.read_text()[-4000:]}")
