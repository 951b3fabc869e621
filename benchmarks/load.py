"""One round of load by wrk, and what it and /proc say about it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from contestants import Contestant, tool
from processes import usage

UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class BadRound(Exception):
    """A round in which answers were wrong or missing: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Round:
    requests: int
    requests_per_s: float
    cpu_us: float  # of the proxy, per request
    p50_ms: float
    p99_ms: float
    rss_mib: float


def measure(contestant: Contestant, seconds: int, connections: int) -> Round:
    """Raises BadRound unless every request was answered with success."""
    before = usage(contestant.pid)
    report = wrk(contestant, seconds, connections)
    after = usage(contestant.pid)
    requests = int(number(r"(\d+) requests in", report))
    return Round(
        requests=requests,
        requests_per_s=number(r"Requests/sec:\s+([\d.]+)", report),
        cpu_us=(after.cpu_s - before.cpu_s) / requests * 1e6,
        p50_ms=latency_ms("50%", report),
        p99_ms=latency_ms("99%", report),
        rss_mib=after.rss_bytes / 2**20,
    )


def wrk(contestant: Contestant, seconds: int, connections: int) -> str:
    command = [tool("wrk"), "--latency", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in contestant.headers.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{contestant.port}/")
    report = subprocess.run(  # noqa: S603
        command, text=True, capture_output=True, timeout=seconds + 60, check=True
    ).stdout
    if "Non-2xx" in report or "Socket errors" in report or " 0 requests in" in report:
        raise BadRound(report)
    return report


def number(pattern: str, report: str) -> float:
    found = re.search(pattern, report)
    if found is None:
        raise BadRound(report)
    return float(found[1])


def latency_ms(percentile: str, report: str) -> float:
    found = re.search(rf"^\s+{percentile}\s+([\d.]+)(us|ms|s|m)\s*$", report, re.M)
    if found is None:
        raise BadRound(report)
    return float(found[1]) * UNITS_MS[found[2]]
