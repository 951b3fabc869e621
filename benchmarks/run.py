"""Measure CPU per authenticated, proxied request of Doorward beside its peers. `make bench`.

benchmarks/README.md explains what is measured, and for which purposes the comparison is fair.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import load
import streaming
from cases import CASES, MEMORY, Carrier, Case, chosen, seed_of
from contestants import OURS, Contestant, Missing, application, tool
from load import BadRound
from machine import machine, python
from memory import SESSIONS, memory
from peers import ALL, DEFAULT
from processes import NotStarted
from results import Round, changes, report, save
from results import load as load_report
from tables import console, handbook, print_case, print_changes, print_memory

RESULTS = Path(__file__).parents[1] / "build" / "bench.json"
WARM_UP_S, WARM_UP_SEED = 1, 0
# Credentials that the first warm-up does not send, so that each is looked up before it is measured.
WARMED_UP = (Carrier.BEARER, Carrier.TOKEN)

DONE, DOORWARD_FAILED, NOTHING_MEASURED = 0, 1, 2


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", default=[], help="a,b: " + ", ".join(CASES))
    parser.add_argument("--only", action="append", default=[], help="a,b: " + ", ".join(ALL))
    parser.add_argument("--rounds", type=int, default=3, help="of each case (default: 3)")
    parser.add_argument("--seconds", type=int, default=2, help="of a round (default: 2)")
    parser.add_argument("--connections", type=int, default=64, help="kept open (default: 64)")
    parser.add_argument(
        "--requests", type=int, default=50_000, help="of the case memory (default: 50000)"
    )
    parser.add_argument("--save", type=Path, default=RESULTS, help="file for the figures")
    parser.add_argument("--against", type=Path, help="saved file to compare with")
    found = parser.parse_args()
    if found.rounds < 1 or found.seconds < 1:
        parser.error("--rounds and --seconds are at least 1")
    try:
        found.cases = chosen(found.case, [*CASES, MEMORY]) or [*CASES, MEMORY]
        found.contestants = chosen(found.only, ALL) or list(DEFAULT)
        found.before = load_report(found.against) if found.against else None
    except (ValueError, OSError) as wrong:
        parser.error(str(wrong))
    return found


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
        folder.chmod(0o755)  # if root started nginx, its worker runs as another user
        try:
            return compete(arguments, folder, stack)
        except BadRound as bad:
            print(f"Doorward did not answer every request as it should:\n{bad}", file=sys.stderr)
        except NotStarted as failed:
            print(failed, file=sys.stderr)
        return DOORWARD_FAILED


def compete(arguments: argparse.Namespace, folder: Path, stack: ExitStack) -> int:
    upstream = stack.enter_context(application(folder))
    contestants = assemble(arguments.contestants, folder, upstream, stack)
    about = tell_about(arguments, contestants)
    warm_up(CASES["different"], contestants, arguments, folder)
    results: dict[str, dict[str, list[Round]]] = {}
    doorward_failed = False
    for name in arguments.cases:
        if name in CASES:
            results[name], failed = play(CASES[name], contestants, arguments, folder)
            doorward_failed |= failed
            print_case(CASES[name], results[name])
    results = {name: rounds for name, rounds in results.items() if rounds}
    if MEMORY in arguments.cases and any(one.is_doorward for one in contestants):
        readings = memory(folder / MEMORY, upstream, arguments.requests, arguments.connections)
        about[MEMORY] = print_memory(readings, SESSIONS)
    if results:
        print("", *handbook(CASES, results), sep="\n")
    saved = report(results, about)
    save(arguments.save, saved)
    print(f"\nEvery round is in {arguments.save}")
    if arguments.before:
        found = changes(arguments.before, saved)
        print_changes(found, str(arguments.against), arguments.before["measured_at"])
    if doorward_failed:
        print("Doorward did not answer every request as it should: see above.", file=sys.stderr)
        return DOORWARD_FAILED
    return DONE if results or MEMORY in about else NOTHING_MEASURED


def assemble(names: list[str], folder: Path, upstream: int, stack: ExitStack) -> list[Contestant]:
    """Start the contestants that are installed. Raises NotStarted if a Doorward does not start."""
    present = []
    for name in names:
        try:
            contestant = stack.enter_context(ALL[name](folder, upstream))
            contestant.check()
            present.append(contestant)
        except Missing as missing:
            print(f"{name} is left out: {missing} is not installed.", file=sys.stderr)
        except (NotStarted, OSError, subprocess.SubprocessError) as failed:
            if name in OURS:
                raise
            print(f"{name} is left out: {failed}", file=sys.stderr)
    return present


def play(
    case: Case, contestants: list[Contestant], arguments: argparse.Namespace, folder: Path
) -> tuple[dict[str, list[Round]], bool]:
    """Play rounds in turn, each beginning with another contestant, so that a slow minute affects
    all.

    Returns the valid rounds, and whether one of Doorward's was invalid.
    """
    those = [one for one in contestants if one.takes_part(case.only, case.name)]
    results: dict[str, list[Round]] = {one.name: [] for one in those}
    doorward_failed = False
    if case.carrier in WARMED_UP:
        warm_up(case, those, arguments, folder)
    for number in range(arguments.rounds):
        seed = seed_of(case, number, arguments.rounds)
        shift = number % max(len(those), 1)
        for contestant in those[shift:] + those[:shift]:
            try:
                figures = measure(contestant, case, arguments.seconds, seed, arguments, folder)
                results[contestant.name].append(figures)
            except BadRound as bad:
                doorward_failed |= contestant.is_doorward
                note = f"A round of {contestant.name} in {case.name} does not count:\n{bad}"
                print(note, file=sys.stderr)
    for contestant in those:
        if contestant.is_doorward:
            contestant.check()  # the sessions have lasted to the end
    return {name: rounds for name, rounds in results.items() if rounds}, doorward_failed


def warm_up(
    case: Case, contestants: list[Contestant], arguments: argparse.Namespace, folder: Path
) -> None:
    for contestant in contestants:
        with suppress(BadRound):  # a permanent failure shows in the first round
            measure(contestant, case, WARM_UP_S, WARM_UP_SEED, arguments, folder)


def measure(
    contestant: Contestant,
    case: Case,
    seconds: int,
    seed: int,
    arguments: argparse.Namespace,
    folder: Path,
) -> Round:
    """Raises BadRound if answers were wrong or missing."""
    try:
        if case.load in streaming.PROTOCOLS:
            return streaming.measure(contestant, case, seconds)
        return load.measure(contestant, case, seconds, arguments.connections, folder, seed)
    except (NotStarted, OSError, subprocess.SubprocessError) as failed:
        raise BadRound(str(failed)) from failed


def tell_about(arguments: argparse.Namespace, contestants: list[Contestant]) -> dict[str, Any]:
    """Print and return the description of the run, for the saved file."""
    about = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": python(),
        "load": {name: getattr(arguments, name) for name in ("rounds", "seconds", "connections")},
        "contestants": {contestant.name: contestant.what for contestant in contestants},
    }
    console.print(f"{about['python']}; {about['machine']}")
    console.print(
        f"{arguments.rounds} rounds of {arguments.seconds} s, {arguments.connections} connections"
    )
    for contestant in contestants:
        console.print(f"{contestant.name:>13}: {contestant.what}", markup=False)
    return about


if __name__ == "__main__":
    sys.exit(main())
