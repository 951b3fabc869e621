"""Measures CPU per authenticated proxied request of Doorward beside its peers. `make bench`.

What is measured, and what that is fair for, is told in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, fields
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from statistics import median

from cases import CASES, DEFAULT, Case
from contestants import ALL, DOORWARDS, Contestant, Missing, application, tool
from load import BadRound, Round, measure
from processes import NotStarted
from streaming import STREAMS, Stream

RESULTS = Path(__file__).parents[1] / "build" / "bench.json"
WARM_UP_S = 1

DONE, DOORWARD_FAILED, NOTHING_MEASURED = 0, 1, 2

Results = dict[str, list[Round]]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", choices=CASES, help="several times for several")
    parser.add_argument("--stream", action="append", choices=STREAMS, help="likewise")
    parser.add_argument("--rounds", type=int, default=3, help="the median of them counts")
    parser.add_argument("--seconds", type=int, default=5, help="of load in a round")
    parser.add_argument("--connections", type=int, default=64, help="kept alive")
    parser.add_argument("--only", action="append", choices=ALL, help="may be given several times")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # children end, too
    try:
        tool("wrk")
    except Missing:
        print("wrk is missing, so nothing can be measured: apt-get install wrk", file=sys.stderr)
        return NOTHING_MEASURED
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorward-bench-")))
        folder.chmod(0o755)  # nginx's worker is another user when it is started by root
        try:
            return compete(arguments, folder, stack)
        except BadRound as bad:
            print(f"Doorward did not answer every request with success:\n{bad}", file=sys.stderr)
        except NotStarted as failed:
            print(failed, file=sys.stderr)
        return DOORWARD_FAILED


def compete(arguments: argparse.Namespace, folder: Path, stack: ExitStack) -> int:
    upstream = stack.enter_context(application(folder))
    contestants = assemble(arguments.only or list(ALL), folder, upstream, stack)
    results: dict[str, Results] = {}
    for name in arguments.case or DEFAULT:
        results[name] = play(CASES[name], contestants, arguments)
        print_table(CASES[name], results[name])
    for name in arguments.stream or (() if arguments.case else STREAMS):
        results[name] = flow(name, contestants, arguments)
        print_table(STREAMS[name], results[name])
    print_who(contestants, results)
    write_json(arguments, contestants, results)
    return DONE if any(results.values()) else NOTHING_MEASURED


def assemble(names: list[str], folder: Path, upstream: int, stack: ExitStack) -> list[Contestant]:
    """Those that are here and work; raises NotStarted when Doorward is not among them."""
    present = []
    for name in names:
        try:
            contestant = stack.enter_context(ALL[name](folder, upstream))
            contestant.check()
            present.append(contestant)
        except Missing as missing:
            print(f"{name} is left out: {missing} is not installed.", file=sys.stderr)
        except (NotStarted, subprocess.SubprocessError) as failed:
            if name in DOORWARDS:
                raise
            print(f"{name} is left out: {failed}", file=sys.stderr)
    return present


def play(case: Case, contestants: list[Contestant], arguments: argparse.Namespace) -> Results:
    """Rounds in turns, each beginning with another, so that a slow minute hits everybody."""
    results: Results = {}
    those = [c for c in contestants if c.is_doorward or not case.doorward_only]
    for contestant in those:
        take_part(contestant, case, WARM_UP_S, arguments.connections, {})
    for number in range(arguments.rounds):
        shift = number % max(len(those), 1)
        for contestant in those[shift:] + those[:shift]:
            note = f"{case.name}, round {number + 1} of {arguments.rounds}: {contestant.name}"
            print(note, file=sys.stderr)
            take_part(contestant, case, arguments.seconds, arguments.connections, results)
    for contestant in those:
        if contestant.is_doorward:
            contestant.check()  # the session has lasted to the end
    return results


def take_part(
    contestant: Contestant, case: Case, seconds: int, connections: int, results: Results
) -> None:
    try:
        figures = measure(contestant, case, seconds, connections)
    except BadRound as bad:
        if contestant.is_doorward:
            raise
        print(f"A round of {contestant.name} does not count:\n{bad}", file=sys.stderr)
    else:
        results.setdefault(contestant.name, []).append(figures)


def flow(name: str, contestants: list[Contestant], arguments: argparse.Namespace) -> Results:
    """Rounds of messages or events: CPU is that of one of them."""
    results: Results = {}
    for _ in range(arguments.rounds):
        for contestant in contestants:
            if contestant.name == "apache":
                continue  # it is not set up for upgrades
            print(f"{name}: {contestant.name}", file=sys.stderr)
            figures = STREAMS[name].measure(contestant, arguments.seconds)
            results.setdefault(contestant.name, []).append(figures)
    return results


def summary(rounds: list[Round]) -> dict[str, float]:
    return {f.name: median(getattr(r, f.name) for r in rounds) for f in fields(Round)}


def ratios(results: Results) -> dict[str, dict[str, float]]:
    """The CPU of each Doorward as a multiple of each peer's."""
    cpu = {name: summary(rounds)["cpu_us"] for name, rounds in results.items() if rounds}
    ours = [name for name in cpu if name in DOORWARDS]
    peers = [name for name in cpu if name not in DOORWARDS and cpu[name]]
    return {our: {peer: cpu[our] / cpu[peer] for peer in peers} for our in ours}


def print_table(case: Case | Stream, results: Results) -> None:
    print(f"\n{case.name}: {case.what}")
    print(f"{'':10}{'CPU µs each':>12}{'(min … max)':>18}{'each second':>13}", end="")
    print(f"{'p50 ms':>9}{'p99 ms':>9}{'RSS MiB':>9}{'÷ go':>7}{'÷ nginx':>9}")
    shares = ratios(results)
    for name, rounds in results.items():
        row, costs = summary(rounds), [r.cpu_us for r in rounds]
        spread = f"{min(costs):.1f} … {max(costs):.1f}"
        print(f"{name:10}{row['cpu_us']:12.1f}{spread:>18}{row['requests_per_s']:13.0f}", end="")
        times = (row["p50_ms"], row["p99_ms"])
        print("".join(" " * 9 if isnan(ms) else f"{ms:9.2f}" for ms in times), end="")
        print(f"{row['rss_mib']:9.1f}", end="")
        share = shares.get(name, {})
        print("".join(f"{share[peer]:{w}.2f}" if peer in share else " " * w
                      for peer, w in (("go", 7), ("nginx", 9))))  # fmt: skip


def print_who(contestants: list[Contestant], results: dict[str, Results]) -> None:
    print()
    for contestant in contestants:
        print(f"{contestant.name}: {contestant.what}")
    page = ratios(results.get("page", {})).get("doorward", {})
    for peer, ratio in page.items():
        print(f"CPU per request for the page, Doorward ÷ {peer}: {ratio:.2f}")


def write_json(
    arguments: argparse.Namespace, contestants: list[Contestant], results: dict[str, Results]
) -> None:
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "cpu": cpu_model(), "kernel": platform.release()},
        "python": platform.python_version(),
        "load": {name: getattr(arguments, name) for name in ("rounds", "seconds", "connections")},
        "contestants": {contestant.name: contestant.what for contestant in contestants},
        "cases": {
            case: {
                "median": {name: summary(rounds) for name, rounds in found.items()},
                "cpu_ratio": ratios(found),
                "rounds": {name: [asdict(r) for r in rounds] for name, rounds in found.items()},
            }
            for case, found in results.items()
        },
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(f"\nEvery round is in {arguments.json}")


def cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
