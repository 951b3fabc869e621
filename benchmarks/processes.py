"""Starts the processes of a benchmark, measures their cost, and ends them.

It knows /proc, and must not know what the processes are for; it only signals processes that it
started.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

READY_WITHIN_S = 30
END_WITHIN_S = 10
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """A process ended early or did not answer in time. The message names the process and the
    reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def cookies(self) -> list[str]:
        """NAME=VALUE of each cookie that an answer sets."""
        return [v.split(";")[0] for name, v in self.headers if name.lower() == "set-cookie"]


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float
    rss_bytes: int


def version(*command: str) -> str:
    """The first line of a program's version output."""
    told = subprocess.run(command, capture_output=True, text=True, timeout=30)  # noqa: S603
    lines = (told.stdout or told.stderr).strip().splitlines()
    return lines[0].strip() if lines else ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(
    port: int,
    path: str,
    method: str = "GET",
    body: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Answer:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


@contextmanager
def running(
    name: str, command: list[str], port: int, folder: Path, environ: dict[str, str] | None = None
) -> Iterator[int]:
    """Starts the command, waits until its port answers HTTP, yields its process id, ends it."""
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(  # noqa: S603  the command is one of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | (environ or {}),
        )
        try:
            wait_until_answered(name, child, port, log)
            yield child.pid
        finally:
            end(child)


def wait_until_answered(name: str, child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and child.poll() is None:
        try:
            ask(port, "/")
            return
        except (OSError, HTTPException):
            time.sleep(0.05)
    what = "did not answer in time" if child.poll() is None else f"ended with {child.returncode}"
    raise NotStarted(f"{name} {what}:\n{log.read_text(errors='replace')[-2000:]}")


def end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def usage(roots: Iterable[int]) -> Usage:
    """The CPU time of processes and all their descendants so far, and their current memory."""
    family = {pid for root in roots for pid in (root, *descendants(root))}
    cpu_s = sum(cpu_ticks(pid) for pid in family) / TICKS_PER_S
    return Usage(cpu_s, sum(rss_bytes(pid) for pid in family))


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; the second may contain blanks."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def cpu_ticks(pid: int) -> int:
    try:
        fields = stat(pid)
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])  # utime and stime, every thread included


def rss_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(parent(int(entry.name)), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def parent(pid: int) -> int:
    try:
        return int(stat(pid)[1])
    except OSError:  # it has ended in the meantime
        return 0
