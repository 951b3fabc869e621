"""The refusals are a closed tree with a code and a sentence each."""

from __future__ import annotations

import re

from doorward.accounts import refusals
from doorward.accounts.refusals import Refusal


def every() -> list[type[Refusal]]:
    return Refusal.__subclasses__()


def test_all_refusals_are_in_one_module_without_subclasses() -> None:
    assert {refusal.__module__ for refusal in every()} == {refusals.__name__}
    assert not any(refusal.__subclasses__() for refusal in every())


def test_each_refusal_has_its_own_code_and_a_message() -> None:
    codes = [refusal.code for refusal in every()]
    assert len(set(codes)) == len(codes)
    for refusal in every():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", refusal.code)
        assert refusal.message.endswith(".") and refusal.message.isprintable()
        assert "code" in vars(refusal) and "message" in vars(refusal)
