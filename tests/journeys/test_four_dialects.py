"""One session, four APIs: opened in one, listed in the next, ended in the third, gone in all."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from doorward.accounts.factors import totp

from tests.conftest import Start
from tests.support.live import PASSWORD, Live
from tests.support.origin import Origin
from tests.support.waiting import PATIENCE_S
from tests.support.wire import values_of

ALL: dict[str, Any] = {"xhr": {}, "alekeagle": {}, "datepoll": {}, "rocketchat": {}}


@pytest.fixture
def live(deploy: Start, origin: Origin) -> Live:
    started = deploy(origin.url, dialects=ALL)
    started.add_user("alice")
    return started


def program(live: Live) -> httpx.Client:
    """A client that only sends the given cookies."""
    return httpx.Client(base_url=f"http://{live.host}", trust_env=False, timeout=PATIENCE_S)


def token_of(client: httpx.Client) -> dict[str, str]:
    """Log in through alekeagle; the token."""
    login = client.post("/api/user/session", json={"user": "alice", "pass": PASSWORD})
    assert login.status_code == 201, login.text
    client.cookies.clear()
    return {"authorization": login.json()["token"]}


def turn_on_totp(client: httpx.Client, carrier: dict[str, str]) -> str:
    """Turn on TOTP through rocketchat, in that session. Returns the secret; the previous time step
    is used up."""
    begun = client.post("/api/v1/users.totp.enable", headers=carrier)
    secret: str = begun.json()["secret"]
    code = totp.code_at(secret, totp.step_at(time.time()) - 1)
    done = client.post("/api/v1/users.totp.validate", json={"code": code}, headers=carrier)
    assert done.status_code == 200, done.text
    return secret


def test_a_session_begun_in_one_dialect_is_listed_and_ended_in_others(
    live: Live, origin: Origin
) -> None:
    with program(live) as elsewhere, program(live) as laptop, program(live) as phone:
        eagle = token_of(elsewhere)
        secret = turn_on_totp(elsewhere, eagle)
        step = totp.step_at(time.time())

        # The laptop logs in by xhr, with a code.
        right = {"username": "alice", "password": PASSWORD}
        assert laptop.post("/xhr/login", json=right).json()["session"]["totp"] is True
        assert laptop.get("/notes").status_code == 401, "half a login is none"
        code = totp.code_at(secret, step)
        assert laptop.post("/xhr/totp", json={"token": code}).status_code == 204
        assert laptop.get("/notes").status_code == 200
        assert values_of(origin.heads[-1], b"remote-user") == [b"alice"]
        assert laptop.get("/api/v1/me").json()["username"] == "alice"

        # The phone signs in by datepoll and lists three sessions, including the laptop's.
        code = totp.code_at(secret, step + 1)
        signin = phone.post("/api/auth/signin", json=right | {"code": code})
        assert signin.status_code == 200, signin.text
        phone.cookies.clear()
        query = {"token": signin.json()["token"]}
        listed = phone.get("/api/v1/user/myself/session", params=query).json()["sessions"]
        assert len(listed) == 3
        page = laptop.get("/api/v1/sessions/list").json()
        assert page["total"] == 3 and sum(each["current"] for each in page["sessions"]) == 1

        # The first session, of alekeagle, ends the laptop's.
        iat = laptop.get("/api/user/session").json()["iat"]
        items = elsewhere.get("/api/user/sessions", headers=eagle).json()["items"]
        assert len(items) == 3 and iat in [each["iat"] for each in items]
        gone = elsewhere.delete(f"/api/user/session/{iat}", headers=eagle)
        assert gone.status_code == 200, gone.text

        # It is invalid in rocketchat, in every other dialect, and at the application.
        over = {"status": "error", "message": "You must be logged in to do this."}
        me = laptop.get("/api/v1/me")
        assert (me.status_code, me.json()) == (401, over)
        seen = len(origin.heads)
        assert laptop.get("/notes").status_code == 401 and len(origin.heads) == seen
        assert laptop.get("/xhr/session").status_code == 401
        assert laptop.get("/api/user/session").status_code == 401
        listed = phone.get("/api/v1/user/myself/session", params=query).json()["sessions"]
        assert len(listed) == 2
        assert elsewhere.get("/api/v1/me", headers=eagle).status_code == 200
