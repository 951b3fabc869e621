"""Scripts of other sites: allowed only if the settings name them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.house import ORIGIN, PASSWORD, House, house, set_cookies

APP = "https://app.example.com"
OTHER = "https://other.example.com"
LOGIN = {"username": "alice", "password": PASSWORD}


@asynccontextmanager
async def home(folder: Path, *origins: str) -> AsyncIterator[tuple[House, httpx.AsyncClient]]:
    async with house(folder, dialects={"xhr": {"cors": {"origins": list(origins)}}}) as built:
        await built.add("alice")
        async with built.program() as client:
            yield built, client


def cors_lines(answer: httpx.Response) -> dict[str, str]:
    prefix = "access-control-"
    return {k.removeprefix(prefix): v for k, v in answer.headers.items() if k.startswith(prefix)}


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "origin": origin,
        "sec-fetch-site": "cross-site",
        "access-control-request-method": method,
        "access-control-request-headers": "content-type,x-2fa-code",
    }


async def test_without_allowed_origins_every_origin_is_refused(tmp_path: Path) -> None:
    async with home(tmp_path) as (_, client):
        asked = await client.options("/xhr/login", headers=preflight(APP))
        answer = await client.post("/xhr/login", json=LOGIN, headers={"origin": APP})
    assert asked.status_code == 204 and not cors_lines(asked) and "vary" not in asked.headers
    assert answer.status_code == 403 and not cors_lines(answer)


async def test_a_preflight_is_answered_without_identity(tmp_path: Path) -> None:
    async with home(tmp_path, APP) as (built, client):
        built.break_storage()
        answer = await client.options("/xhr/session", headers=preflight(APP, "GET"))
    assert answer.status_code == 204 and answer.content == b""
    lines = cors_lines(answer)
    assert lines["allow-origin"] == APP
    assert lines["allow-credentials"] == "true"
    assert "GET" in lines["allow-methods"].split(", ")
    allowed = lines["allow-headers"].lower().split(", ")
    assert {"authorization", "content-type", "x-2fa-code", "x-2fa-method"} <= set(allowed)
    assert int(lines["max-age"]) > 0
    assert "origin" in answer.headers["vary"].lower()


async def test_a_named_origin_logs_in_with_its_cookie_and_reads_the_answer(tmp_path: Path) -> None:
    async with home(tmp_path, APP) as (_, client):
        headers = {"origin": APP, "sec-fetch-site": "cross-site"}
        answer = await client.post("/xhr/login", json=LOGIN, headers=headers)
        assert answer.status_code == 200 and set_cookies(answer)
        assert cors_lines(answer)["allow-origin"] == APP
        assert cors_lines(answer)["allow-credentials"] == "true"
        assert "retry-after" in cors_lines(answer)["expose-headers"].lower()
        assert (await client.get("/xhr/session", headers=headers)).status_code == 200
        gone = await client.post("/xhr/logout", headers=headers)
        assert gone.status_code == 204
        refused = await client.get("/xhr/session", headers=headers)
        assert refused.status_code == 401
        assert cors_lines(refused)["allow-origin"] == APP, "scripts read refusals, too"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "https://app.example.com.evil.test",
        "https://evil.test/https://app.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://sub.app.example.com",
        "null",
        "",
        "*",
        f"{APP}, https://evil.test",
    ],
)
async def test_another_origin_can_read_and_change_nothing(tmp_path: Path, origin: str) -> None:
    """CVE-2026-40110, GHSA-rjvp-29xq-f62w: the whole origin is compared, not a part of it."""
    async with home(tmp_path, APP) as (built, client):
        opened = await built.opened()
        headers = {"origin": origin, "cookie": built.cookie(opened)}
        assert not cors_lines(await client.options("/xhr/logout", headers=preflight(origin)))
        answer = await client.post("/xhr/logout", headers=headers)
        assert answer.status_code == 403 and not cors_lines(answer)
        assert "origin" in answer.headers["vary"].lower()
        assert await built.found(opened) is not None


async def test_origins_are_compared_without_case_or_default_port(tmp_path: Path) -> None:
    async with home(tmp_path, "https://App.Example.com:443") as (_, client):
        answer = await client.options("/xhr/login", headers=preflight(APP))
    assert cors_lines(answer)["allow-origin"] == APP


async def test_two_origins_in_one_request_are_refused(tmp_path: Path) -> None:
    async with home(tmp_path, APP) as (_, client):
        lines = [("origin", APP), ("origin", "https://evil.test")]
        answer = await client.post("/xhr/login", json=LOGIN, headers=lines)
    assert answer.status_code == 403 and not cors_lines(answer)


async def test_a_wildcard_origin_excludes_credentials(tmp_path: Path) -> None:
    """If every site may call, cookies are neither accepted nor set."""
    async with home(tmp_path, "*") as (built, client):
        asked = await client.options("/xhr/login", headers=preflight("https://any.test"))
        assert cors_lines(asked)["allow-origin"] == "*"
        assert "allow-credentials" not in cors_lines(asked)
        headers = {"origin": "https://any.test", "sec-fetch-site": "cross-site"}
        answer = await client.post("/xhr/login", json=LOGIN, headers=headers)
        assert answer.status_code == 200 and not set_cookies(answer)
        assert cors_lines(answer)["allow-origin"] == "*"
        assert "allow-credentials" not in cors_lines(answer)
        opened = await built.opened()
        refused = await client.post(
            "/xhr/logout", headers=headers | {"cookie": built.cookie(opened)}
        )
        assert refused.status_code == 403
        assert await built.found(opened) is not None
        bearer = {"authorization": f"Bearer {opened.token}"}
        assert (await client.post("/xhr/logout", headers=headers | bearer)).status_code == 204


async def test_own_pages_keep_their_cookie_with_a_wildcard_origin(tmp_path: Path) -> None:
    async with home(tmp_path, "*") as (_, client):
        headers = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        answer = await client.post("/xhr/login", json=LOGIN, headers=headers)
    assert answer.status_code == 200 and set_cookies(answer)
    assert not cors_lines(answer)


# Each dialect has its own list, and applies it to each of its paths.

ENDPOINTS = [
    ("xhr", "POST", "/xhr/login"),
    ("xhr", "POST", "/xhr/totp"),
    ("xhr", "GET", "/xhr/session"),
    ("xhr", "POST", "/xhr/logout"),
    ("xhr", "GET", "/xhr/session/totp/generate"),
    ("xhr", "DELETE", "/xhr/session/totp"),
    ("alekeagle", "POST", "/api/user/session"),
    ("alekeagle", "GET", "/api/user/sessions"),
    ("alekeagle", "DELETE", "/api/user/session/1234567890"),
    ("datepoll", "POST", "/api/auth/signin"),
    ("datepoll", "POST", "/api/auth/IamLoggedIn"),
    ("datepoll", "POST", "/api/auth/changePasswordAfterSignin"),
    ("datepoll", "GET", "/api/v1/user/myself/session"),
    ("datepoll", "DELETE", "/api/v1/user/myself/session/153"),
    ("datepoll", "POST", "/api/v1/user/myself/session/logoutCurrentSession"),
    ("rocketchat", "POST", "/api/v1/login"),
    ("rocketchat", "POST", "/api/v1/sessions/logout"),
    ("rocketchat", "GET", "/api/v1/me"),
]
CARRIERS = {"authorization", "content-type", "x-user-id", "x-auth-token"}
FACTORS = {"x-2fa-code", "x-2fa-method"}
NAMES = ("xhr", "alekeagle", "datepoll", "rocketchat")


@pytest.mark.parametrize(("dialect", "method", "path"), ENDPOINTS)
async def test_a_preflight_is_answered_only_at_paths_of_its_dialect(
    tmp_path: Path, dialect: str, method: str, path: str
) -> None:
    named = {"cors": {"origins": [APP]}}
    dialects = {name: named if name == dialect else {} for name in NAMES}
    async with house(tmp_path, dialects=dialects) as built, built.program() as client:
        built.break_storage()  # no user is requested
        answer = await client.options(path, headers=preflight(APP, method))
        assert answer.status_code == 204 and answer.content == b""
        lines = cors_lines(answer)
        assert lines["allow-origin"] == APP and lines["allow-credentials"] == "true"
        assert method in lines["allow-methods"].split(", ")
        assert CARRIERS | FACTORS <= set(lines["allow-headers"].lower().split(", "))
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
        assert not cors_lines(await client.options(path, headers=preflight(OTHER, method)))
        for _, others, elsewhere in (row for row in ENDPOINTS if row[0] != dialect):
            refused = await client.options(elsewhere, headers=preflight(APP, others))
            assert refused.status_code == 204 and not cors_lines(refused)


@pytest.mark.parametrize(
    ("dialect", "method", "path"),
    [(dialect, method, path) for dialect, method, path in ENDPOINTS if method == "GET"],
)
async def test_an_allowed_origin_can_read_refusals(
    tmp_path: Path, dialect: str, method: str, path: str
) -> None:
    """Without these headers, a script only learns of a 401 that something failed."""
    async with house(tmp_path, dialects={dialect: {"cors": {"origins": [APP]}}}) as built:
        async with built.program(origin=APP, sec_fetch_site="cross-site") as client:
            for verb in (method, "PATCH"):
                answer = await client.request(verb, path)
                assert answer.status_code >= 400
                assert cors_lines(answer)["allow-origin"] == APP
                assert "retry-after" in cors_lines(answer)["expose-headers"].lower()


@pytest.mark.parametrize("dialect", NAMES)
async def test_a_rate_limit_is_visible_to_allowed_scripts(tmp_path: Path, dialect: str) -> None:
    limit = {"rate_limit": {"requests": 1, "per": "60s"}}
    values = {"cors": {"origins": [APP]}} | (
        limit if dialect in ("alekeagle", "rocketchat") else {}
    )
    path = next(row[2] for row in ENDPOINTS if row[:2] == (dialect, "GET"))
    async with house(tmp_path, dialects={dialect: values}) as built:
        async with built.program(origin=APP, sec_fetch_site="cross-site") as client:
            for _ in range(3):
                answer = await client.get(path)
                assert cors_lines(answer)["allow-origin"] == APP
