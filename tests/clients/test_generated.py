"""A client generated from the API description, with a running Doorward."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Start
from tests.support.live import PASSWORD, Live
from tests.support.sessions import spoil
from tests.support.waiting import PATIENCE_S

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
DIALECTS = {
    "xhr": {},
    "alekeagle": {"rate_limit": "off"},
    "datepoll": {},
    "rocketchat": {"rate_limit": "off"},
}


@pytest.fixture(scope="module")
def live(deploy: Start) -> Live:
    live = deploy("http://127.0.0.1:9", dialects=DIALECTS, api={"enabled": True})
    live.add_user("alice")
    live.add_user("boss", "--super-admin")
    return live


@pytest.fixture(scope="module")
def generated(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the generated package. The generator must not warn of parts that it skips."""
    folder = tmp_path_factory.mktemp("generated")
    description = folder / "openapi.json"
    url = f"http://{live.host}/.doorward/openapi.json"
    told = httpx.get(url, trust_env=False, timeout=PATIENCE_S).raise_for_status().json()
    description.write_text(json.dumps(with_one_type_a_body(told)))
    options = ("--meta", "none", "--fail-on-warning", "--output-path", folder / "made_client")
    made = subprocess.run(
        [GENERATOR, "generate", "--path", description, *options],
        env=os.environ | {"PATH": f"{GENERATOR.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    yield "made_client"
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == "made_client"]:
        del sys.modules[name]


def with_one_type_a_body(told: Any) -> Any:
    """The generator writes a module that cannot be imported for a body that may be JSON or a form
    (0.29.1 uses `Unset` without importing it)."""
    for operations in told["paths"].values():
        for operation in operations.values():
            if body := operation.get("requestBody"):
                body["content"] = {"application/json": body["content"]["application/json"]}
    return told


class Made:
    """The generated package, with its operations and models by name."""

    def __init__(self, package: str, base: str) -> None:
        self.package = package
        self.base = base
        self.models = importlib.import_module(f"{package}.models")
        self._client = importlib.import_module(f"{package}.client")

    def nobody(self) -> Any:
        return self._client.Client(base_url=self.base)

    def bearer(self, token: str) -> Any:
        return self._client.AuthenticatedClient(base_url=self.base, token=token)

    def call(self, operation: str, client: Any, **arguments: Any) -> Any:
        dialect = operation.partition("_")[0]
        module = importlib.import_module(f"{self.package}.api.{dialect}.{operation}")
        with client as opened:
            return module.sync(client=opened, **arguments)


@pytest.fixture
def made(generated: str, live: Live) -> Made:
    return Made(generated, f"http://{live.host}")


def test_it_logs_in_and_lists_sessions_through_alekeagle(made: Made) -> None:
    body = made.models.AlekeagleCredentials(user="alice", pass_=PASSWORD)
    token = made.call("alekeagle_post_api_user_session", made.nobody(), body=body)
    assert type(token).__name__ == "AlekeagleToken"
    listed = made.call("alekeagle_get_api_user_sessions", made.bearer(token.token))
    assert listed.count == len(listed.items) >= 1
    assert listed.items[-1].exp == token.exp


def test_it_logs_in_and_lists_sessions_through_datepoll(made: Made) -> None:
    body = made.models.DatepollCredentials(
        username="alice", password=PASSWORD, stay_logged_in=True, session_information="a test"
    )
    token = made.call("datepoll_post_api_auth_signin", made.nobody(), body=body)
    refresh = made.models.DatepollRefresh(session_token=token.session_token)
    again = made.call("datepoll_post_api_auth_iam_logged_in", made.nobody(), body=refresh)
    listed = httpx.get(
        f"{made.base}/api/v1/user/myself/session",
        params={"token": again.token},
        trust_env=False,
        timeout=PATIENCE_S,
    )
    found = made.models.DatepollSessions.from_dict(listed.json())
    assert "a test" in [session.information for session in found.sessions]


def test_it_logs_in_and_lists_sessions_through_rocketchat(made: Made) -> None:
    body = made.models.RocketchatCredentials(user="alice", password=PASSWORD)
    login = made.call("rocketchat_post_api_v1_login", made.nobody(), body=body)
    assert login.data.me.username == "alice"
    client = made.bearer(login.data.auth_token)
    listed = made.call("rocketchat_get_api_v1_sessions_list", client, count=5)
    assert listed.sessions[0].current is True and listed.success is True


def test_it_administers_users_with_a_token(made: Made, live: Live) -> None:
    words = ("token", "add", "boss", "--name", "x", "--scope", "admin:write", "--json")
    token = json.loads(live.command(*words).stdout)["token"]
    body = made.models.ApiNewUser(username="carol", groups=["wiki"])
    added = made.call("api_post_doorward_api_v1_users", made.bearer(token), body=body)
    assert added.user.groups == ["wiki"] and len(added.password) >= 16
    found = made.call("api_get_doorward_api_v1_users", made.bearer(token), q="car")
    assert [user.username for user in found.users] == ["carol"] and found.next_ is None
    one = {"id": added.user.id}
    ended = made.call("api_delete_doorward_api_v1_users_id_sessions", made.bearer(token), **one)
    assert ended.ended == 0
    live.login("alice")
    listed = made.call("api_get_doorward_api_v1_sessions", made.bearer(token))
    assert "alice" in {session.user for session in listed.sessions}
    refused = made.call("api_get_doorward_api_v1_sessions", made.bearer(spoil(token)))
    assert type(refused).__name__ == "ApiError" and refused.error == "unauthenticated"


def test_it_parses_a_refusal(made: Made) -> None:
    body = made.models.XhrCredentials(username="alice", password="not it")
    refused = made.call("xhr_post_xhr_login", made.nobody(), body=body)
    assert type(refused).__name__ == "XhrError" and refused.error == "invalid_credentials"
