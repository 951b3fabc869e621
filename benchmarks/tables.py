"""The printed tables: one for each case, one of all cases for the documentation, and changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cases import Case
from results import PEER, Change, Rounds, Spread, ratios, summary
from rich.console import Console
from rich.table import Table

console = Console(width=None if Console().is_terminal else 120, highlight=False)

LABELS = {
    "ratio": f"CPU ÷ {PEER}",
    "cpu_us": "CPU µs",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "lag_ms": "lag ms",
    "rss_mib": "RSS MiB",
}


def print_case(case: Case, rounds: Rounds) -> None:
    title = f"{case.name}: {case.what}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.add_column("")
    for label in (f"CPU µs a {case.each}", "min … max", f"÷ {PEER}", f"{case.each}s a second",
                  "p50 ms", "p99 ms", "min … max", "lag ms", "RSS MiB"):  # fmt: skip
        table.add_column(label, justify="right")
    shares = ratios(rounds)
    for name, those in rounds.items():
        found = summary(those)
        cpu, p99 = found["cpu_us"], found.get("p99_ms")
        table.add_row(
            name,
            f"{cpu.median:.1f}",
            span(cpu),
            f"{shares[name]:.2f}" if name in shares else "",
            f"{found['requests_per_s'].median:,.0f}",
            f"{found['p50_ms'].median:.2f}" if "p50_ms" in found else "",
            f"{p99.median:.2f}" if p99 else "",
            span(p99) if p99 else "",
            f"{found['lag_ms'].maximum:.1f}" if "lag_ms" in found else "",
            f"{found['rss_mib'].median:.0f}",
        )
    console.print()
    console.print(table)


def span(spread: Spread) -> str:
    return f"{spread.minimum:.1f} … {spread.maximum:.1f}"


def handbook(cases: Mapping[str, Case], results: Mapping[str, Rounds]) -> Iterable[str]:
    """Lines of Markdown: a row per case, a column per contestant, with CPU and its ratio."""
    names = list(dict.fromkeys(name for rounds in results.values() for name in rounds))
    yield f"| CPU µs (÷ {PEER}) | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for case, rounds in results.items():
        shares = ratios(rounds)
        cells = [cell(rounds, shares, name) for name in names]
        yield f"| {case}: {cases[case].what} | " + " | ".join(cells) + " |"


def cell(rounds: Rounds, shares: Mapping[str, float], name: str) -> str:
    if not rounds.get(name):
        return ""
    cpu = summary(rounds[name])["cpu_us"].median
    told = f"{cpu:,.0f}" if cpu >= 100 else f"{cpu:.1f}"
    return f"{told} ({shares[name]:.2f})" if name in shares else told


def print_changes(changes: Iterable[Change], file: str, measured_at: str) -> None:
    title = f"Changes against {file}, measured {measured_at}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.add_column("case")
    table.add_column("")
    table.add_column("figure")
    for label in ("before", "now", "change"):
        table.add_column(label, justify="right")
    last = ("", "")
    for change in changes:
        place = (change.case, change.contestant)
        percent = "" if change.percent is None else f"{change.percent:+.1f} %"
        shown = place if place != last else ("", "")
        before, now = f"{change.before:.2f}", f"{change.now:.2f}"
        table.add_row(*shown, LABELS[change.figure], before, now, percent)
        last = place
    console.print()
    console.print(table if table.row_count else f"{file} has no case in common with this run.")


def print_memory(readings: Iterable[tuple[int, float]], sessions: int) -> list[tuple[int, float]]:
    """Print each reading as soon as it is taken; return all of them."""
    console.print(f"\n[bold]memory: RSS of a new Doorward, requests of {sessions:,} sessions[/]")
    found = []
    for requests, mib in readings:
        console.print(f"{requests:12,} requests {mib:8.1f} MiB")
        found.append((requests, mib))
    return found
