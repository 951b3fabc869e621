"""A request keeps its id, its start time and its failed upstreams, whichever way it continues."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import Carrier, Start
from tests.support.origin import OK, Origin, Script, answering
from tests.support.wire import Wire, get, values_of


def answers_once_then_leaves(wire: Wire) -> None:
    """Keeps its connection after one answer, and closes it at the next request."""
    wire.head()
    wire.send(OK)
    wire.head()


def never_answers(wire: Wire) -> None:
    while wire.head():
        pass


@pytest.fixture
def public(carrier: Carrier) -> dict[str, Any]:
    return {"access": {"default": "public"}, **carrier}


def ids(*origins: Origin) -> set[bytes]:
    return {values_of(head, b"x-request-id")[0] for origin in origins for head in origin.heads[-1:]}


def test_a_retried_request_keeps_its_id(deploy: Start, public: dict[str, Any]) -> None:
    with Origin((answers_once_then_leaves, answering(OK))) as origin:
        live = deploy(origin.url, **public)
        assert live.get("/").status == 200
        assert live.get("/again").status == 200
        again = [head for head in origin.heads if head.startswith(b"GET /again ")]
        assert len(again) == 2
        assert again[0] == again[1]


def test_a_request_that_goes_to_another_upstream_keeps_its_id_and_its_start(
    deploy: Start, public: dict[str, Any]
) -> None:
    """The time of the first attempt is part of the request's duration."""
    waited_ms = 500
    with ExitStack() as stack:
        scripts: list[Script] = [never_answers, answering(OK)]
        silent, well = (stack.enter_context(Origin((script,))) for script in scripts)
        live = deploy(
            "",
            routes=[
                {"upstream": [silent.url, well.url], "timeouts": {"response": f"{waited_ms}ms"}}
            ],
            log={"access": True, "format": "json"},
            **public,
        )
        for _ in range(2):  # whichever comes first
            assert live.get("/").status == 200
        assert len(silent.heads) == 1
        id = values_of(silent.heads[0], b"x-request-id")[0]
        assert id in {values_of(head, b"x-request-id")[0] for head in well.heads}
        live.until_it_says(id.decode())  # a moment after the answer
        told = (json.loads(line) for line in live.lines() if line.startswith("{"))
        (line,) = [line for line in told if line.get("request_id") == id.decode()]
        assert line["duration_ms"] >= waited_ms
        assert (line["status"], line["cut"]) == (200, False)


def test_no_upstream_is_tried_twice(deploy: Start, public: dict[str, Any]) -> None:
    """Each failing upstream is tried once, over a new connection."""
    with ExitStack() as stack:
        leaving = [stack.enter_context(Origin((lambda wire: wire.head() and None,))) for _ in "abc"]
        live = deploy(
            "",
            routes=[{"upstream": [origin.url for origin in leaving]}],
            **public,
        )
        assert live.get("/").status == 502
        assert [len(origin.heads) for origin in leaving] == [1, 1, 1]
        assert len(ids(*leaving)) == 1


def test_an_unsafe_request_is_sent_once(deploy: Start, public: dict[str, Any]) -> None:
    with Origin((answers_once_then_leaves, answering(OK))) as origin:
        live = deploy(origin.url, **public)
        assert live.get("/").status == 200
        request = get("/", "Content-Length: 0", host=live.host).replace(b"GET", b"POST", 1)
        with live.client() as client:
            assert client.ask(request).status == 502
        assert len([head for head in origin.heads if head.startswith(b"POST ")]) == 1
