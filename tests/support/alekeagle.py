"""Shared by the tests of the `alekeagle` dialect: its paths, errors and callers."""

from __future__ import annotations

import json
from typing import Any

import httpx
from doorward.accounts.sessions.sessions import Opened

from tests.support.house import PASSWORD

# The highest limits; separate tests are about limits.
ON: dict[str, Any] = {"alekeagle": {"rate_limit": "off"}}
RIGHT = {"user": "alice", "pass": PASSWORD}
SESSION = "/api/user/session"
SESSIONS = "/api/user/sessions"
ALL = "/api/user/sessions/all"
MONTH_S = 2_592_000
TEN_YEARS_S = 315_576_000

MESSAGES = {
    "INVALID_SESSION_ERROR": "Invalid Session",
    "SESSION_NOT_FOUND_ERROR": "Session Not Found",
    "INVALID_USER_ERROR": "Invalid User",
    "INVALID_PASSWORD_ERROR": "Invalid Password",
    "MISSING_FIELDS_ERROR": "Missing Fields",
    "BANNED_ERROR": "Account Banned",
    "RATELIMITED_ERROR": "You Have Been Ratelimited. Please Try Again Later.",
    "INTERNAL_SERVER_ERROR": "Internal Server Error",
    "ENDPOINT_NOT_FOUND_ERROR": "Endpoint Not Found",
    "INSUFFICIENT_PERMISSIONS_ERROR": "Missing Permissions",
    "BODY_TOO_LARGE_ERROR": "Request Body Too Large",
}


def bare(opened: Opened | str) -> dict[str, str]:
    """The header of the document's requests: a token without a scheme."""
    return {"authorization": opened if isinstance(opened, str) else opened.token}


def is_answer(response: httpx.Response, status: int, content: object) -> bool:
    """Assert the exact answer, including the order of its keys and its type."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert json.dumps(response.json()) == json.dumps(content)
    return True


def is_error(response: httpx.Response, status: int, code: str, *fields: str) -> bool:
    content: dict[str, Any] = {"code": code, "message": MESSAGES[code]}
    return is_answer(response, status, content | ({"fields": list(fields)} if fields else {}))
