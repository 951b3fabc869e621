"""The kinds of errors that a dialect's table of answers has to cover."""

from __future__ import annotations

from doorward.accounts.refusals import Refusal
from doorward.dialects.context import RequestFault


def list_errors() -> list[type[Exception]]:
    """Every refusal of the core and every fault of a request, as far as they are imported."""
    return sorted(_leaves(Refusal) | _leaves(RequestFault), key=repr)


def _leaves(tree: type[Exception]) -> set[type[Exception]]:
    below = tree.__subclasses__()
    return set().union(*map(_leaves, below)) if below else {tree}
