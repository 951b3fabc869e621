"""Measures CPU per authenticated proxied request of Doorward beside nginx and Go. `make bench`.

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
from pathlib import Path
from statistics import median

from contestants import ALL, Contestant, Missing, application, tool
from load import BadRound, Round, measure
from processes import NotStarted

RESULTS = Path(__file__).parents[1] / "build" / "bench.json"
WARM_UP_S = 1

DONE, DOORWARD_FAILED, NOTHING_MEASURED = 0, 1, 2

Results = dict[str, list[Round]]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="the median of them counts")
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
    try:
        upstream = stack.enter_context(application(folder))
    except Missing:
        print("Neither nginx nor go is here, so there is no application.", file=sys.stderr)
        return NOTHING_MEASURED
    contestants = assemble(arguments.only or list(ALL), folder, upstream, stack)
    results = play(contestants, arguments)
    print_table(contestants, results)
    write_json(arguments, contestants, results)
    return DONE if results else NOTHING_MEASURED


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
            if name == "doorward":
                raise
            print(f"{name} is left out: {failed}", file=sys.stderr)
    return present


def play(contestants: list[Contestant], arguments: argparse.Namespace) -> Results:
    """Rounds in turns, each beginning with another, so that a slow minute hits everybody."""
    results: Results = {}
    for contestant in contestants:
        take_part(contestant, WARM_UP_S, arguments.connections, {})
    for number in range(arguments.rounds):
        shift = number % max(len(contestants), 1)
        for contestant in contestants[shift:] + contestants[:shift]:
            print(f"round {number + 1} of {arguments.rounds}: {contestant.name}", file=sys.stderr)
            take_part(contestant, arguments.seconds, arguments.connections, results)
    for contestant in contestants:
        if contestant.name == "doorward":
            contestant.check()  # the session has lasted to the end
    return results


def take_part(contestant: Contestant, seconds: int, connections: int, results: Results) -> None:
    try:
        figures = measure(contestant, seconds, connections)
    except BadRound as bad:
        if contestant.name == "doorward":
            raise
        print(f"A round of {contestant.name} does not count:\n{bad}", file=sys.stderr)
    else:
        results.setdefault(contestant.name, []).append(figures)


def summary(rounds: list[Round]) -> dict[str, float]:
    return {f.name: median(getattr(r, f.name) for r in rounds) for f in fields(Round)}


def ratios(results: Results) -> dict[str, float]:
    """Doorward's CPU per request as a multiple of each peer's."""
    cpu = {name: summary(rounds)["cpu_us"] for name, rounds in results.items() if rounds}
    peers = {name: cost for name, cost in cpu.items() if name != "doorward" and cost}
    return {name: cpu["doorward"] / cost for name, cost in peers.items() if "doorward" in cpu}


def print_table(contestants: list[Contestant], results: Results) -> None:
    print(f"\n{'':10}{'CPU µs/request':>16}{'(min … max)':>16}{'requests/s':>12}", end="")
    print(f"{'p50 ms':>9}{'p99 ms':>9}{'RSS MiB':>9}")
    for name, rounds in results.items():
        row, costs = summary(rounds), [r.cpu_us for r in rounds]
        spread = f"{min(costs):.1f} … {max(costs):.1f}"
        print(f"{name:10}{row['cpu_us']:16.1f}{spread:>16}{row['requests_per_s']:12.0f}", end="")
        print(f"{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}{row['rss_mib']:9.1f}")
    print()
    for contestant in contestants:
        print(f"{contestant.name}: {contestant.what}")
    for name, ratio in ratios(results).items():
        print(f"CPU per request, Doorward ÷ {name}: {ratio:.2f}")


def write_json(
    arguments: argparse.Namespace, contestants: list[Contestant], results: Results
) -> None:
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "cpu": cpu_model(), "kernel": platform.release()},
        "python": platform.python_version(),
        "load": {name: getattr(arguments, name) for name in ("rounds", "seconds", "connections")},
        "contestants": {contestant.name: contestant.what for contestant in contestants},
        "median": {name: summary(rounds) for name, rounds in results.items()},
        "cpu_ratio_to": ratios(results),
        "rounds": {name: [asdict(r) for r in rounds] for name, rounds in results.items()},
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
