"""Marks the tests that need something outside their process (a socket, another process, a browser,
a database server), and prevents other tests from using it. `make quick` runs the others.

Most are recognized by their folder or their fixtures; others have `@pytest.mark.outside`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

FOLDERS = frozenset(("browser", "clients", "faults", "journeys", "server", "upstream"))
FIXTURES = frozenset(("deploy", "origin", "postgresql_socket", "serve", "small_disk", "wall"))
POSTGRESQL = "postgresql"  # the parameter of a fixture that starts it

# Audit events: https://docs.python.org/3/library/audit_events.html
REACHING = frozenset(
    "socket.bind socket.connect socket.getaddrinfo socket.sendto subprocess.Popen os.exec os.fork"
    " os.forkpty os.posix_spawn os.spawn os.system pty.spawn".split()
)

_reached: list[str] = []
_is_inside = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _is_inside and event in REACHING:
        _reached.append(f"{event}{arguments!r}"[:200])
        raise PermissionError(f"{event}: this test is not marked as one that needs the outside")


sys.addaudithook(_watch)


def is_outside(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    call = getattr(item, "callspec", None)
    return (
        item.get_closest_marker("outside") is not None
        or item.path.parent.name in FOLDERS
        or not FIXTURES.isdisjoint(fixtures)
        or (call is not None and POSTGRESQL in call.params.values())
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make quick` does not need to import files that it leaves out."""
    is_quick = config.option.markexpr == "not outside"
    return True if is_quick and collection_path.name in FOLDERS else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    outside = {item for item in items if is_outside(item)}
    for item in outside:
        item.add_marker("outside")
    # Run files that wait for processes first, so that only short tests remain at the end.
    slow = {item.path for item in outside}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    global _is_inside
    _is_inside = item.get_closest_marker("outside") is None
    try:
        return (yield)
    finally:
        _is_inside = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Fail the test even if it caught the error.

    The end of the last test also ends everything that others had started."""
    global _is_inside
    _is_inside = False
    yield
    reached = list(_reached)
    _reached.clear()
    assert not reached, f"mark this test `outside`, or keep it inside: {reached}"
