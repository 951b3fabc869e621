"""The head readers agree: the compiled one with the one in Python, and both with llhttp for heads
that they accept.

If two readers of a head differ, requests can be smuggled. `make fuzz` does the same with a million
heads.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.head_grammar import (
    ANSWERS,
    REQUESTS,
    compare_answers,
    compare_requests,
    variants,
)
from tests.support.head_readers import both

READERS = list(both())
SEEDS = st.integers(0, 2**32)
some_hundreds = settings(
    max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


@some_hundreds
@given(REQUESTS, SEEDS)
def test_all_readers_agree_on_a_request_head(head: bytes, seed: int) -> None:
    for each in variants(head, seed):
        compare_requests(READERS, each)


@some_hundreds
@given(ANSWERS, SEEDS, st.booleans())
def test_all_readers_agree_on_an_answer_head(head: bytes, seed: int, private: bool) -> None:
    for each in variants(head, seed):
        compare_answers(READERS, each, private)
