"""Fixtures for several folders of tests: a clock, settings, accounts, an origin, a server.

Folders add their own. The other sides of connections are in `support/`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
from doorward.settings import Settings, settings_from
from doorward.wiring import accounts as wiring
from doorward.wiring.accounts import Accounts, build_accounts
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.plugins.outside import (
    pytest_collection_modifyitems,
    pytest_ignore_collect,
    pytest_runtest_protocol,
    pytest_runtest_teardown,
)
from tests.support.clock import FixedClock
from tests.support.front import ACCESS, Build, Front, front_of
from tests.support.house import House, house
from tests.support.live import Live
from tests.support.mailbox import Mailbox
from tests.support.origin import OK, Origin, answering
from tests.support.patience import be_patient
from tests.support.savings import CHEAP, FULL_PRICE, migrated, set_price, share_compiled
from tests.support.servers import FOREIGN
from tests.support.small_disk import SmallDisk, mounted

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_ignore_collect",
    "pytest_runtest_protocol",
    "pytest_runtest_teardown",
]

# Runs are deterministic, and do not depend on the machine's speed. To explore further:
# HYPOTHESIS_PROFILE=explore make test
SLOW: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
hypothesis_settings.register_profile("same", derandomize=True, database=None, **SLOW)
hypothesis_settings.register_profile("explore", **SLOW)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

Make = Callable[..., Settings]
Start = Callable[..., Live]
Carrier = dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def _cheap() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        set_price(patch, CHEAP)
        be_patient(patch)
        share_compiled(patch)
        yield


@pytest.fixture
def full_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Password hashes and disk writes at their real cost."""
    set_price(monkeypatch, FULL_PRICE)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    """Builds settings from values as in YAML; the upstream is unreachable."""

    def make(**values: Any) -> Settings:
        chosen = {"data_dir": str(tmp_path), "routes": [{"upstream": "http://127.0.0.1:9"}]}
        return settings_from(chosen | values, tmp_path)

    return make


@pytest.fixture
async def accounts(settings: Make, clock: FixedClock, tmp_path: Path) -> AsyncIterator[Accounts]:
    """The core on an SQLite file for this test."""
    migrated(tmp_path)
    async with build_accounts(settings(), clock) as built:
        yield built


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """Receives the mails of a core that is built after it."""
    mailbox = Mailbox()
    monkeypatch.setattr(wiring, "build_mailer", lambda settings: mailbox)
    return mailbox


@pytest.fixture
def origin() -> Iterator[Origin]:
    """An upstream that records requests and answers `ok`."""
    with Origin((answering(OK),)) as origin:
        yield origin


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """Pages and the `xhr` dialect, without users."""
    async with house(tmp_path) as built:
        yield built


@pytest.fixture
async def fronts(tmp_path: Path, origin: Origin) -> AsyncIterator[Build]:
    """Builds applications with the given settings."""
    async with AsyncExitStack() as stack:

        async def build(**values: Any) -> Front:
            return await stack.enter_async_context(front_of(tmp_path, origin, **values))

        yield build


@pytest.fixture
async def front(fronts: Build) -> Front:
    """An application in which `/public/` is public, `/admin/` is for the group `admins`, and
    everything else requires a login."""
    return await fronts(access=ACCESS)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A separate file system, just large enough for a database."""
    with mounted(tmp_path / "disk", "12m") as disk:
        yield disk


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "asgi"])
def fast_lane(request: pytest.FixtureRequest) -> bool:
    """Both settings of the synchronous start, which must behave alike."""
    on: bool = request.param
    return on


# Ways to carry a request, as options of a deployment.
CARRIERS: dict[str, Carrier] = {
    "lane": {},
    "task": {"fast_lane": False},
    **{server: {"server": server} for server in FOREIGN},
}


@pytest.fixture(scope="module", params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    """Every server, all of which must behave alike: `deploy(upstream, **carrier)`."""
    return CARRIERS[str(request.param)]


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts Doorward as a process in front of an upstream, until the end of the file's tests."""
    with ExitStack() as stack:

        def start(upstream: str, **values: Any) -> Live:
            folder = tmp_path_factory.mktemp("live")
            return stack.enter_context(Live(folder, upstream, **values))

        yield start
