"""Shared by the tests of the `rocketchat` dialect: its headers, its shapes, a user with TOTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from doorward.accounts.sessions.sessions import Opened

from tests.support.house import PASSWORD, House

ON: dict[str, Any] = {"rocketchat": {"rate_limit": "off"}}
RIGHT = {"user": "alice", "password": PASSWORD}
SHA256 = hashlib.sha256(PASSWORD.encode()).hexdigest()
LOGGED_OUT = {"status": "error", "message": "You must be logged in to do this."}
UNAUTHORIZED = {"status": "error", "error": "Unauthorized", "message": "Unauthorized"}


def api(name: str) -> str:
    return f"/api/v1/{name}"


def pair(opened: Opened, code: str | None = None, method: str | None = None) -> dict[str, str]:
    """The headers of a documented request."""
    headers = {"X-User-Id": opened.session.user.id, "X-Auth-Token": opened.token}
    headers |= {} if code is None else {"x-2fa-code": code}
    return headers | ({} if method is None else {"x-2fa-method": method})


def is_answer(response: httpx.Response, status: int, content: dict[str, Any]) -> bool:
    """Assert the exact answer, including the order of its keys and its type."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert json.dumps(response.json()) == json.dumps(content)
    return True


def is_failure(response: httpx.Response, status: int, code: str, reason: str = "") -> bool:
    """Assert `reason [code]` and its `errorType`."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    said = response.json()
    assert said["success"] is False and said["errorType"] == code
    assert said["error"].endswith(f"[{code}]") and said["error"].startswith(reason)
    return True


@contextmanager
def later(home: House, seconds: float) -> Iterator[None]:
    home.clock.now += seconds
    yield
    home.clock.now -= seconds
