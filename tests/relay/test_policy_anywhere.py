"""A decision in Python, under Doorward's own server and under any other ASGI server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import Start
from tests.support.live import Live
from tests.support.servers import EVERY
from tests.support.waiting import PATIENCE_S
from tests.support.websocket import Application, serving

CODE = """
from doorward.policy import Allow, Deny

async def decide(request, identity):
    if request.is_websocket and request.path == "/no":
        return Deny("no WebSockets here")
    return Allow() if request.path == "/yes" else None
"""


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with serving() as application:
        yield application


@pytest.fixture(scope="module", params=EVERY)
def live(
    deploy: Start,
    application: Application,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Live]:
    folder: Path = tmp_path_factory.mktemp("policy")
    (folder / "policy_of_a_deployment.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.fspath(folder))
        patch.syspath_prepend(os.fspath(folder))
        access = {"decide": "policy_of_a_deployment:decide", "decide_timeout": "1h"}
        yield deploy(application.url, server=request.param, access=access)


def test_a_websocket_is_decided_on(live: Live, application: Application) -> None:
    live.add_user("alice")
    cookie = live.login("alice").partition(": ")[2]
    options = {"proxy": None, "open_timeout": PATIENCE_S}
    for path, headers, status in (
        ("/no", {"Cookie": cookie}, 403),
        ("/other", {}, 401),
        ("/other", {"Cookie": cookie}, 101),
        ("/yes", {}, 101),
    ):
        url = f"ws://{live.host}{path}"
        try:
            with connect(url, additional_headers=headers, **options) as socket:  # type: ignore[arg-type]
                socket.send("x")
                assert socket.recv(PATIENCE_S) == "x" and status == 101
        except InvalidStatus as refused:
            assert refused.response.status_code == status
    assert application.paths[-2:] == ["/other", "/yes"]
    live.until_it_says("no WebSockets here")
