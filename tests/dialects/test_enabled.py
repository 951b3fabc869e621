"""The paths of the dialects, and the log line that lists them at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doorward.app import Application
from doorward.settings import InvalidSettings, settings_from
from doorward.web.endpoint import shadowed_paths
from starlette.routing import Route
from structlog.testing import capture_logs

from tests.support.house import house

Json = dict[str, Any]
ALL: dict[str, Json] = {"xhr": {}, "alekeagle": {}, "datepoll": {}, "rocketchat": {}}
PATHS = ("/xhr/login", "/xhrs", "/api/v1/me", "/api/v1/session/{id}")


async def nobody(request: object) -> None: ...


@pytest.mark.parametrize(
    ("prefixes", "shadowed"),
    [
        (["/"], PATHS),
        (["/wiki"], ()),
        (["/xhr"], ("/xhr/login",)),
        (["/api/v1/"], ("/api/v1/me", "/api/v1/session/{id}")),
        (["/xhr/login", "/api/v1/session"], ("/xhr/login", "/api/v1/session/{id}")),
        (["/xhr/login/ldap"], ()),
    ],
)
def test_a_path_beneath_a_route_is_reported_as_shadowed(
    prefixes: list[str], shadowed: tuple[str, ...]
) -> None:
    found = [Route(path, nobody) for path in PATHS]
    assert shadowed_paths(found, prefixes) == sorted(shadowed)


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        ({"dialects": {}}, []),
        ({"routes": [{"path": "/wiki", "upstream": "http://127.0.0.1:9"}]}, []),
        ({"dialects": {"datepoll": {}}}, ["/api/auth/signin", "/api/v1/user/myself/session/{id}"]),
    ],
)
async def test_the_start_logs_the_paths_that_no_upstream_gets(
    tmp_path: Path, values: dict[str, object], paths: list[str]
) -> None:
    given = {
        "data_dir": str(tmp_path),
        "routes": [{"upstream": "http://127.0.0.1:9"}],
        "dialects": {"xhr": {}},
    }
    with capture_logs() as lines:
        async with Application(settings_from(given | values, tmp_path)):
            pass
    told = [line for line in lines if line["event"] == "paths_of_dialects"]
    assert len(told) == (1 if paths else 0)
    assert all(set(paths) <= set(line["paths"]) for line in told)


async def list_paths(tmp_path: Path, alekeagle: Json) -> list[str]:
    """The paths of all dialects under one host, as the start logs them. Raises InvalidSettings."""
    given = {
        "data_dir": str(tmp_path),
        "routes": [{"upstream": "http://127.0.0.1:9"}],
        "dialects": ALL | {"alekeagle": alekeagle},
    }
    with capture_logs() as lines:
        async with Application(settings_from(given, tmp_path)):
            pass
    (told,) = [line for line in lines if line["event"] == "paths_of_dialects"]
    paths: list[str] = told["paths"]
    return paths


async def test_no_two_dialects_take_the_same_path(tmp_path: Path) -> None:
    """All four can be enabled under one host, whatever the prefix: a prefix with which one of two
    would not answer is an error."""
    paths = await list_paths(tmp_path, {})
    assert len(paths) == len(set(paths))
    assert {"/xhr/session", "/api/auth/signin", "/api/v1/me"} <= set(paths)
    places = {str(above) for path in paths for above in Path(path.partition("/{")[0]).parents}
    refused = set()
    for prefix in sorted(places - {"/"}):
        try:
            found = await list_paths(tmp_path, {"prefix": prefix})
        except InvalidSettings:
            refused.add(prefix)
            found = await list_paths(tmp_path, {"prefix": prefix, "sample_paths": False})
        assert len(found) == len(set(found)), prefix
    assert refused == {"/xhr", "/api/v1/user/myself"}


@pytest.mark.parametrize("dialect", ALL)
async def test_a_disabled_dialect_is_a_404(tmp_path: Path, dialect: str) -> None:
    off: dict[str, Json] = {name: {} for name in ALL if name != dialect}
    async with house(tmp_path, dialects=off) as built, built.program() as client:
        path = {
            "xhr": "/xhr/session",
            "alekeagle": "/api/session",
            "datepoll": "/api/v1/user/myself/session",
            "rocketchat": "/api/v1/me",
        }[dialect]
        assert (await client.get(path)).status_code == 404  # by the router; there is no gate
