"""The table of what happens if an upstream gives no answer."""

from __future__ import annotations

from itertools import product

import pytest
from doorward.relay.retry import IDEMPOTENT, Next, SentRequest, next_step
from doorward.upstream.failures import (
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    InvalidAnswer,
    NoneUsable,
    ResponseTimeout,
    UpstreamFailure,
    UpstreamOverloaded,
)

FRESH, OTHER, GIVE_UP = Next.SAME_UPSTREAM_FRESH, Next.OTHER_UPSTREAM, Next.GIVE_UP
LOST, TIMEOUT, INVALID = ConnectionLost("lost"), ResponseTimeout("late"), InvalidAnswer("odd")


@pytest.mark.parametrize(
    ("failure", "over_kept", "has_other", "was_stale", "expected"),
    [
        (LOST, True, False, False, FRESH),  # a kept connection lost a race
        (LOST, True, True, False, FRESH),
        (LOST, False, False, False, GIVE_UP),  # a new connection failed
        (LOST, False, True, False, OTHER),
        (LOST, False, False, True, GIVE_UP),  # the new one gave no answer either
        (LOST, False, True, True, OTHER),
        (LOST, True, True, True, OTHER),
        (LOST, True, False, True, GIVE_UP),
        (TIMEOUT, True, False, False, GIVE_UP),
        (TIMEOUT, True, True, False, OTHER),
        (INVALID, True, False, False, GIVE_UP),
        (INVALID, False, True, True, OTHER),
    ],
)
def test_the_next_step_follows_the_table(
    failure: UpstreamFailure, over_kept: bool, has_other: bool, was_stale: bool, expected: Next
) -> None:
    for method in IDEMPOTENT:
        assert next_step(SentRequest(method, False, over_kept, has_other, was_stale), failure) is (
            expected
        )


@pytest.mark.parametrize("failure", [LOST, TIMEOUT, INVALID], ids=lambda one: one.word)
def test_an_unsafe_request_is_never_sent_twice(failure: UpstreamFailure) -> None:
    for kept, other, stale in product((True, False), repeat=3):
        assert next_step(SentRequest(b"POST", False, kept, other, stale), failure) is GIVE_UP
        assert next_step(SentRequest(b"PATCH", True, kept, other, stale), failure) is GIVE_UP
        assert next_step(SentRequest(b"PUT", True, kept, other, stale), failure) is GIVE_UP


def test_a_request_of_doorwards_own_is_sent_again_whatever_its_method() -> None:
    own = SentRequest(b"POST", True, True, False, is_own=True)
    assert next_step(own, LOST) is FRESH
    assert next_step(own, TIMEOUT) is GIVE_UP
    again = SentRequest(b"POST", True, True, False, was_stale=True, is_own=True)
    assert next_step(again, LOST) is GIVE_UP


@pytest.mark.parametrize("kind", [ConnectFailed, ConnectTimeout, NoneUsable])
def test_a_failed_connection_means_that_all_upstreams_were_tried(
    kind: type[UpstreamFailure],
) -> None:
    for kept, other, stale in product((True, False), repeat=3):
        assert next_step(SentRequest(b"GET", False, kept, other, stale), kind("")) is GIVE_UP


def test_an_upstream_that_is_too_busy_is_left_for_another() -> None:
    assert next_step(SentRequest(b"GET", False, False, True), UpstreamOverloaded("busy")) is OTHER
