"""Compare the head readers on any number of heads: `make fuzz`.

Usage: python -m tests.fuzz [--cases N] [--seconds S] [--seed N]. Each round prints its seed; the
same seed draws the same heads again. Stops at the first difference, which Hypothesis minimizes.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.support.head_grammar import (
    ANSWERS,
    REQUESTS,
    compare_answers,
    compare_requests,
    variants,
)
from tests.support.head_readers import both

ROUND = 1000  # heads, each with its variants
EDITS = 40  # variants of each head: cheaper than drawing another head
READERS = list(both())
SEEDS = st.integers(0, 2**32)


def run_round(number: int, counts: Counter[str]) -> None:
    """Compare requests and answers, half of each. Raises AssertionError for a difference."""
    heads = settings(
        max_examples=ROUND // 2,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )

    @heads
    @seed(number)
    @given(REQUESTS, SEEDS)
    def requests(head: bytes, variant: int) -> None:
        for each in variants(head, variant, EDITS):
            taken = compare_requests(READERS, each)
            counts["requests taken" if taken else "requests left to llhttp"] += 1

    @heads
    @seed(number)
    @given(ANSWERS, SEEDS, st.booleans())
    def answers(head: bytes, variant: int, private: bool) -> None:
        for each in variants(head, variant, EDITS):
            taken = compare_answers(READERS, each, private)
            counts["answers taken" if taken else "answers left to llhttp"] += 1

    requests()
    answers()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=1800, help="stop after this long")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    arguments = parser.parse_args()
    started, number = time.monotonic(), arguments.seed
    counts: Counter[str] = Counter()
    print("readers:", ", ".join(each.runs for each in READERS), "and llhttp")
    while counts.total() < arguments.cases and time.monotonic() - started < arguments.seconds:
        print(f"{counts.total():9} cases compared; next seed {number}", flush=True)
        run_round(number, counts)
        number += 1
    for what, count in sorted(counts.items()):
        print(f"{what:24}{count:9}")
    print(f"{counts.total()} cases, no difference")
    return 0 if counts.total() >= arguments.cases else 1


if __name__ == "__main__":
    sys.exit(main())
