"""The evaluation of benchmark rounds. No test depends on how long anything takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.cases import CASES, chosen, seed_of
from benchmarks.results import Change, Round, changes, load, ratios, report, save, summary


def rounds(*cpu_us: float, p99_ms: float | None = None) -> list[Round]:
    return [Round(100, 50.0, cpu, 80.0, p99_ms, p99_ms) for cpu in cpu_us]


ABOUT = {"measured_at": "2026-01-01T00:00:00+00:00"}


def test_a_summary_is_minimum_median_and_maximum_whatever_order_rounds_came_in() -> None:
    cpu = summary(rounds(30.0, 10.0, 25.0))["cpu_us"]
    assert (cpu.minimum, cpu.median, cpu.maximum) == (10.0, 25.0, 30.0)


def test_a_figure_that_a_case_does_not_have_is_left_out() -> None:
    assert "p99_ms" not in summary(rounds(10.0))
    assert summary(rounds(10.0, p99_ms=4.0))["p99_ms"].median == 4.0


def test_a_ratio_is_of_medians_in_the_same_case() -> None:
    found = ratios({"doorward": rounds(20.0, 30.0, 1000.0), "go": rounds(60.0)})
    assert found == {"doorward": 0.5, "go": 1.0}


@pytest.mark.parametrize("peer", [[], rounds(0.0)])
def test_there_is_no_ratio_to_a_peer_without_figures(peer: list[Round]) -> None:
    assert ratios({"doorward": rounds(20.0), "go": peer}) == {}


def test_a_saved_run_compares_with_itself_without_change(tmp_path: Path) -> None:
    run = report({"different": {"doorward": rounds(20.0, p99_ms=5.0), "go": rounds(40.0)}}, ABOUT)
    save(tmp_path / "build" / "run.json", run)
    read = load(tmp_path / "build" / "run.json")
    assert {change.percent for change in changes(read, run)} == {0.0}


def test_a_change_names_case_contestant_figure_and_both_values() -> None:
    before = report({"page": {"doorward": rounds(20.0), "go": rounds(40.0)}}, ABOUT)
    now = report({"page": {"doorward": rounds(15.0), "go": rounds(60.0)}}, ABOUT)
    found = changes(before, now)
    assert found[0] == Change("page", "doorward", "ratio", 0.5, 0.25)
    assert found[1] == Change("page", "doorward", "cpu_us", 20.0, 15.0)
    assert found[1].percent == -25.0


def test_figures_of_only_one_run_are_not_compared() -> None:
    before = report({"page": {"doorward": rounds(20.0)}, "large": {"go": rounds(9.0)}}, ABOUT)
    now = report({"page": {"doorward": rounds(20.0), "nginx": rounds(9.0)}}, ABOUT)
    assert {(c.case, c.contestant) for c in changes(before, now)} == {("page", "doorward")}
    assert changes(report({}, ABOUT), now) == []


@pytest.mark.parametrize("text", ["{}", "[]", '{"cases": {}}', "no JSON"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json was not saved by these benchmarks"):
        load(tmp_path / "run.json")


def test_a_saved_run_is_plain_json_with_every_round(tmp_path: Path) -> None:
    save(tmp_path / "run.json", report({"page": {"go": rounds(1.0, 2.0)}}, ABOUT))
    found = json.loads((tmp_path / "run.json").read_text(), parse_constant=pytest.fail)
    assert [one["cpu_us"] for one in found["cases"]["page"]["go"]["rounds"]] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], []),
        (["page,different"], ["different", "page"]),
        (["page", "different"], ["different", "page"]),
        ([" page , page,"], ["page"]),
    ],
)
def test_cases_are_chosen_by_commas_or_by_repeating_the_option(
    asked: list[str], expected: list[str]
) -> None:
    assert chosen(asked, CASES) == expected


def test_an_unknown_case_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"pages, typo: choose from .*different"):
        chosen(["pages,different,typo"], CASES)


def test_traffic_that_differs_comes_first_and_repeated_bytes_last() -> None:
    names = list(CASES)
    assert (names[0], names[-1]) == ("different", "page")


def test_no_round_repeats_the_requests_of_another_or_of_the_warm_up() -> None:
    seeds = [seed_of(case, number, 3) for case in CASES.values() for number in range(3)]
    assert len({0, *seeds}) == len(seeds) + 1
