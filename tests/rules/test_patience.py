"""How tests wait: for a condition, with the same timeout everywhere. Other limits are so long that
a machine that stalls for a moment does not exceed them, or are there to be exceeded.

Read from the syntax trees, so that a new test cannot escape.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from doorward.settings.values import duration

from tests.support.patience import LENGTHENED, LENGTHENED_ELSEWHERE, UNCHANGED
from tests.support.waiting import PATIENCE_S

TESTS = Path(__file__).parents[1]
PRODUCT = TESTS.parent / "proxy" / "doorward"
SOURCES = [path for path in sorted(TESTS.rglob("*.py")) if "node_modules" not in path.parts]
HTTPX = {"Client", "get", "post", "put", "patch", "delete", "head", "options", "request", "stream"}
# The functions that wait; all other code calls these.
WAITING = TESTS / "support" / "waiting.py"


@cache
def tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


def place(source: Path) -> str:
    return source.relative_to(TESTS).as_posix()


every_source = pytest.mark.parametrize("source", SOURCES, ids=place)


def calls(source: Path) -> list[tuple[str, ast.Call]]:
    return [
        (ast.unparse(node.func), node)
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Call)
    ]


@every_source
def test_a_fixed_sleep_has_a_reason_beside_it(source: Path) -> None:
    """Tests wait for other threads and processes with `until`; a fixed sleep is only for tests
    about time."""
    lines = source.read_text().splitlines()
    for name, call in calls(source):
        if name in ("time.sleep", "asyncio.sleep") and source != WAITING:
            is_turn = ast.unparse(call.args[0]) == "0"  # this is one turn of the loop, not a wait
            assert is_turn or "# " in lines[call.lineno - 1], lines[call.lineno - 1]


# Functions whose positional numbers are seconds to wait.
WAITING_CALLS = {"settimeout", "wait_for", "timeout", "result", "wait", "join"}
# Settings that are no limits, or whose clock the test moves.
OTHER = {"idle_timeout_s", "interval", "max_age", "hsts", "per"}
DURATION = re.compile(r"[1-9]\d*(ms|s)")


def values_in(source: Path) -> Iterator[tuple[str, ast.expr]]:
    """Named values: of keywords, of keys, and, without a name, of positional arguments."""
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield ast.unparse(key) if key else "", value
        elif isinstance(node, ast.Call):
            yield from ((keyword.arg or "", keyword.value) for keyword in node.keywords)
            waits = ast.unparse(node.func).rpartition(".")[2] in WAITING_CALLS
            yield from (("timeout" if waits else "", value) for value in node.args)
        elif isinstance(node, ast.Assign):
            yield "", node.value


def limit_s(name: str, value: ast.expr) -> float | None:
    """The seconds of a real limit: a duration as in the settings, or a number of seconds."""
    match value:
        case ast.Constant(value=str(text)) if DURATION.fullmatch(text):
            return duration(text).total_seconds()
        case ast.Constant(value=int() | float() as number) if "timeout" in name:
            return float(number)
    return None


@every_source
def test_a_short_limit_has_a_reason_beside_it(source: Path) -> None:
    """A machine may stall for seconds, and everything is late then. Limits in tests are long,
    except where the test waits until they are over."""
    lines = source.read_text().splitlines()
    for name, value in values_in(source):
        seconds = None if name.strip("'") in OTHER else limit_s(name, value)
        if seconds is not None and 0 < seconds < PATIENCE_S:
            line = lines[value.lineno - 1]
            assert "# " in line, f"{place(source)}:{value.lineno}: {line}"


@every_source
def test_an_http_client_has_the_patience_of_the_tests(source: Path) -> None:
    """The library's default is five seconds, which may be too short to start a process on a busy
    machine."""
    for name, call in calls(source):
        if name.partition(".")[0] == "httpx" and name.partition(".")[2] in HTTPX:
            named = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert "timeout" in named, f"{place(source)}:{call.lineno}"


@every_source
def test_a_websocket_has_the_patience_of_the_tests(source: Path) -> None:
    imported = {
        alias.name
        for node in ast.walk(tree(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("websockets.")
        for alias in node.names
    }
    for name, call in calls(source):
        if name in imported & {"connect", "serve"}:
            assert "open_timeout" in ast.unparse(source_of(source, call)), f"{place(source)}"


def source_of(source: Path, call: ast.Call) -> ast.AST:
    """The source of the function that contains a call, because options may be built before it."""
    functions = [
        node
        for node in ast.walk(tree(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.lineno <= call.lineno <= (node.end_lineno or 0)
    ]
    return functions[-1]


@every_source
def test_nothing_is_compared_with_itself(source: Path) -> None:
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Compare):
            sides = [ast.dump(side) for side in (node.left, *node.comparators)]
            made = any(isinstance(part, ast.Call | ast.Await) for part in ast.walk(node.left))
            assert made or len(set(sides)) == len(sides), ast.unparse(node)


def real_limits() -> set[str]:
    """Constants of the product in seconds that are shorter than the patience of the tests."""
    found = set()
    for source in PRODUCT.rglob("*.py"):
        module = ".".join(source.relative_to(PRODUCT).with_suffix("").parts)
        for node in ast.parse(source.read_text()).body:
            for name, value in assigned(node):
                if name.endswith("_S") and is_short(value):
                    found.add(f"{module}.{name}")
    return found


def assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=[ast.Tuple() as names], value=ast.Tuple() as values):
            yield from zip(map(ast.unparse, names.elts), values.elts, strict=True)
        case ast.Assign(targets=targets, value=value):
            yield from ((ast.unparse(target), value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield ast.unparse(target), value


def is_short(value: ast.expr) -> bool:
    """Whether a number, or one of several, is short; what is computed is taken for long."""
    match value:
        case ast.Constant(value=int() | float() as number):
            return number < PATIENCE_S
        case ast.Tuple(elts=parts):
            return any(map(is_short, parts))
    return False


def test_every_time_limit_of_the_product_is_known_to_the_tests() -> None:
    """Whoever adds one decides whether a machine that stalls may exceed it in a test."""
    unchanged = [name for names in UNCHANGED.values() for name in names]
    known = [*LENGTHENED, *LENGTHENED_ELSEWHERE, *unchanged]
    assert len(known) == len(set(known))
    assert real_limits() - set(known) == set(), "add it to tests/support/patience.py"
    assert set(known) - real_limits() == set(), "it is no short limit any more"
