"""One round of load by wrk, with the figures from wrk and /proc."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import nullcontext
from pathlib import Path

from cases import Carrier, Case, Load
from contestants import Contestant, bearer, forged, tool
from lag import Lag
from processes import usage
from results import Round
from storm import storm
from traffic import Header, lua_request

UPLOAD = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("x", 1048576)
"""
# wrk calls `done` once at the end; its own report contains rounded numbers.
DONE = """
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('FIGURES {"requests": %d, "seconds": %f, "bytes": %.0f, "refused": %d,'
    .. ' "failed": %d, "p50_ms": %f, "p99_ms": %f}\\n', summary.requests, summary.duration / 1e6,
    summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class BadRound(Exception):
    """Answers were wrong or missing, so the figures of this round are invalid."""


def measure(
    contestant: Contestant, case: Case, seconds: int, connections: int, folder: Path, seed: int
) -> Round:
    """Raises BadRound unless every request was answered as the case expects."""
    rush = storm(contestant.port, case.logins_per_s) if case.logins_per_s else nullcontext()
    with rush:
        lag = Lag(contestant.metrics)
        before = usage(contestant.pids)
        figures = wrk(contestant, case, seconds, case.connections or connections, folder, seed)
        after = usage(contestant.pids)
        lag_ms = lag.longest_ms()
    return Round(
        requests=int(figures["requests"]),
        requests_per_s=figures["requests"] / figures["seconds"],
        cpu_us=(after.cpu_s - before.cpu_s) / figures["requests"] * 1e6,
        rss_mib=after.rss_bytes / 2**20,
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        lag_ms=lag_ms,
    )


def carried(contestant: Contestant, carrier: Carrier) -> list[Header | None]:
    match carrier:
        case Carrier.NOBODY:
            return [None] * len(contestant.sessions)
        case Carrier.BEARER:
            return [bearer(session) for session in contestant.sessions]
        case Carrier.TOKEN:
            return list(contestant.tokens)
        case Carrier.FORGED:
            return [forged(session) for session in contestant.sessions]
    return list(contestant.sessions)


def wrk(
    contestant: Contestant,
    case: Case,
    seconds: int,
    connections: int,
    folder: Path,
    seed: int,
) -> dict[str, float]:
    """Return wrk's counts and times. Another seed draws other requests."""
    command = [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s"]
    lua = DONE
    sessions = carried(contestant, case.carrier)
    if case.load is Load.DIFFERENT:
        # Programs get 401, browsers are redirected to the login page.
        lua += lua_request(folder, sessions, seed, only_programs=case.status == 401)
    elif case.load is Load.UPLOAD:
        lua += UPLOAD
    script = folder / "wrk.lua"
    script.write_text(lua)
    command += [f"{script}", f"http://127.0.0.1:{contestant.port}{case.path}"]
    if sessions[0]:
        command += ["-H", ": ".join(sessions[0])]
    ran = subprocess.run(  # noqa: S603
        command, text=True, capture_output=True, timeout=seconds + 60
    )
    found = re.search(r"^FIGURES (.*)$", ran.stdout, re.M)
    if found is None:
        raise BadRound(ran.stdout + ran.stderr)
    figures: dict[str, float] = json.loads(found[1])
    judge(case, figures, ran.stdout)
    return figures


def judge(case: Case, figures: dict[str, float], told: str) -> None:
    """Raises BadRound for failures, another status, and bodies that are too short."""
    requests = figures["requests"]
    refused = requests if case.status >= 400 else 0
    short = figures["bytes"] < requests * case.body_bytes
    if not requests or figures["failed"] or figures["refused"] != refused or short:
        raise BadRound(told)
