"""One round of load by wrk, and what it and /proc say about it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass

from cases import Case
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


def measure(contestant: Contestant, case: Case, seconds: int, connections: int) -> Round:
    """Raises BadRound unless every request was answered as the case says."""
    before = usage(contestant.pid)
    report = wrk(contestant, case, seconds, case.connections or connections)
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


def headers_of(contestant: Contestant, case: Case) -> dict[str, str]:
    headers = dict(case.headers)
    if case.cookie is not None:
        return headers | {"Cookie": case.cookie}
    return headers | contestant.headers if case.identified else headers


def wrk(contestant: Contestant, case: Case, seconds: int, connections: int) -> str:
    command = [tool("wrk"), "--latency", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in headers_of(contestant, case).items():
        command += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if case.script:
            script.write(case.script)
            script.flush()
            command += ["-s", script.name]
        command.append(f"http://127.0.0.1:{contestant.port}{case.path}")
        report = subprocess.run(  # noqa: S603
            command, text=True, capture_output=True, timeout=seconds + 60, check=True
        ).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
    requests = int(number(r"(\d+) requests in", report))
    as_said = requests if case.status >= 400 else 0
    if int(refused[1] if refused else 0) != as_said or "Socket errors" in report or not requests:
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
