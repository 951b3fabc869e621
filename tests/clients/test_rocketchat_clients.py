"""Third-party clients of the `rocketchat` dialect, with a running Doorward."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts.factors import totp
from rocketchat_API.APIExceptions.RocketExceptions import (  # type: ignore[import-untyped]
    RocketApiException,
    RocketAuthenticationException,
    RocketBadStatusCodeException,
)
from rocketchat_API.rocketchat import RocketChat  # type: ignore[import-untyped]

from tests.conftest import Start
from tests.support.live import PASSWORD, Live

HERE = Path(__file__).parent
INSTALLED = HERE / "node_modules" / "@rocket.chat" / "api-client"
with_node = pytest.mark.skipif(
    not INSTALLED.exists(),
    reason="the client is not installed: npm is missing, or `make test` could not install it",
)


@pytest.fixture(scope="module")
def live(deploy: Start) -> Live:
    live = deploy("http://127.0.0.1:9", dialects={"rocketchat": {"rate_limit": "off"}})
    live.add_user("alice")
    live.add_user("bob")
    live.add_user("root", "--role", "admin")
    return live


@pytest.fixture
def base(live: Live) -> str:
    return f"http://{live.host}"


def client(base: str, name: str) -> RocketChat:
    return RocketChat(name, PASSWORD, server_url=base)


@pytest.fixture
def alice(base: str) -> Iterator[RocketChat]:
    """Another user's session."""
    other = client(base, "alice")
    with other.session:
        yield other


def session_id(of: RocketChat) -> str:
    (current,) = (s for s in of.call_api_get("sessions/list")["sessions"] if s["current"])
    found: str = current["sessionId"]
    return found


def test_the_python_client_logs_in_ends_a_session_and_logs_out(
    base: str, alice: RocketChat
) -> None:
    with pytest.raises(RocketAuthenticationException):
        RocketChat("root", "wrong", server_url=base)
    root = client(base, "root")
    with root.session:
        root.session.cookies.clear()  # only the headers carry it
        assert root.me()["roles"] == ["user", "admin"] and root.me()["success"]
        victim = session_id(alice)
        with pytest.raises(RocketApiException) as refused:
            root.call_api_post("sessions/logout", sessionId=victim)
        assert refused.value.error_type == "totp-required"
        root.headers["X-2fa-Code"] = hashlib.sha256(PASSWORD.encode()).hexdigest()
        root.headers["X-2fa-Method"] = "password"
        ended = root.call_api_post("sessions/logout", sessionId=victim)
        assert ended == {"sessionId": victim, "success": True}
        with pytest.raises(RocketApiException) as unknown:
            root.call_api_post("sessions/logout", sessionId="tTouumJMrHMjnedWf")
        assert (unknown.value.status_code, unknown.value.error) == (404, "Session not found")
        alice.session.cookies.clear()
        with pytest.raises(RocketBadStatusCodeException) as over:
            alice.me()
        assert over.value.status_code == 401
        assert root.logout()["status"] == "success"
        with pytest.raises(RocketBadStatusCodeException):
            root.me()


def test_the_python_client_may_not_end_sessions_of_others_without_the_permission(
    base: str, alice: RocketChat
) -> None:
    bob = client(base, "bob")
    with bob.session, pytest.raises(RocketApiException) as refused:
        bob.call_api_post("sessions/logout", sessionId=session_id(alice))
    assert refused.value.status_code == 403 and refused.value.error_type is None


def turn_on_totp(of: RocketChat) -> str:
    """Turn on TOTP. Returns the secret; the code of the previous time step is used up."""
    secret: str = of.call_api_post("users.totp.enable")["secret"]
    code = totp.code_at(secret, totp.step_at(time.time()) - 1)
    assert of.call_api_post("users.totp.validate", code=code)["codes"]
    return secret


def told_by_node(script: str, **environment: str) -> Any:
    command = ["node", str(HERE / script)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@with_node
def test_the_official_client_answers_a_challenge_wrong_then_right(
    base: str, alice: RocketChat
) -> None:
    root = client(base, "root")
    with root.session:
        secret = turn_on_totp(root)
        mine, victim = session_id(root), session_id(alice)
    step = totp.step_at(time.time())
    told = told_by_node(
        "rocketchat.js",
        BASE=base,
        USER="root",
        PASSWORD=PASSWORD,
        LOGIN_CODE=totp.code_at(secret, step),
        NEXT_CODE=totp.code_at(secret, step + 1),
        VICTIM=victim,
    )
    assert told["without"]["status"] == 401
    assert told["without"]["body"]["error"] == "totp-required"
    assert told["login"]["status"] == "success" and len(told["login"]["data"]["userId"]) == 17
    assert told["me"]["username"] == "root" and told["me"]["services"]["totp"]["enabled"]
    listed = {each["sessionId"]: each["current"] for each in told["list"]["sessions"]}
    assert listed[mine] is False and sum(listed.values()) == 1
    assert told["ended"] == told["again"] == {"sessionId": victim, "success": True}
    assert told["unknown"]["status"] == 404
    assert [each["invalidAttempt"] for each in told["challenges"]] == [False, True], (
        "asked once, and trusted from then on"
    )
    assert {each["method"] for each in told["challenges"]} == {"totp"}
    assert told["logout"]["data"] == {"message": "You've been logged out!"}
    assert told["after"] == {
        "status": 401,
        "body": {"status": "error", "message": "You must be logged in to do this."},
    }
    alice.session.cookies.clear()
    with pytest.raises(RocketBadStatusCodeException):
        alice.me()
