"""Metrics and logs of requests under any ASGI server, which provides less information than
Doorward's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from doorward.observe.logs import output

from tests.support.asgi import scope
from tests.support.front import HOST, Build, Front
from tests.support.origin import Origin, silent


async def counted(front: Front) -> set[tuple[str, str, int]]:
    assert front.app.metrics is not None
    totals = front.app.metrics.counters.totals()
    return {(key[1], key[2], key[4]) for key in totals if key[0] == "requests"}  # type: ignore[misc]


async def test_each_request_is_counted_with_its_outcome(front: Front) -> None:
    for target, status in [("/public/a", 200), ("/a", 401), ("/.doorward/login", 200)]:
        assert (await front.get(target)).status == status
    assert await counted(front) == {
        ("forwarded", "", 200),
        ("refused", "unauthenticated", 401),
        ("ours", "", 200),
    }


async def test_an_application_that_raises_is_counted_as_500(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*parts: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(front.app.gateway, "_internal_app", broken)
    with pytest.raises(RuntimeError):
        await front.get("/.doorward/login")
    assert await counted(front) == {("ours", "", 500)}


async def test_a_client_that_leaves_is_counted(fronts: Build) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError("nobody is there")

    with Origin((silent,)) as origin:
        front = await fronts(routes=[{"upstream": origin.url}], access={"default": "public"})
        await front.app(scope("/a", HOST), receive, send)
    assert await counted(front) == {("forwarded", "client_gone", 499)}


async def test_each_request_is_in_the_access_log(
    fronts: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    output.cache_clear()  # a copy of the original standard error
    front = await fronts(
        access={"default": "authenticated"}, log={"access": True, "format": "json"}
    )
    opened = await front.opened()
    await front.get("/a?b", front.cookie(opened))
    await front.get("/.doorward/login", front.cookie(opened))
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["target"], line["decision"], line["bytes"] > 0) for line in lines] == [
        ("/a?b", "forwarded", True),
        ("/.doorward/login", "ours", lines[1]["bytes"] > 0),
    ]
    assert {line["session"] for line in lines} == {opened.session.id}
    assert all(opened.token not in json.dumps(line) for line in lines)
