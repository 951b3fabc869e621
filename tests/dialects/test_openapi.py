"""The API description: valid, complete, and only for enabled dialects."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward import __version__, paths
from doorward.app import Application
from doorward.dialects import openapi
from doorward.dialects.operations import DIALECTS
from doorward.dialects.shapes import Shape
from doorward.settings import settings_from
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.asgi import ask, scope
from tests.support.description import Description
from tests.support.wire import Answer

ALL: dict[str, Any] = {"xhr": {}, "alekeagle": {}, "datepoll": {}, "rocketchat": {}}


async def read(folder: Path, **values: Any) -> tuple[Answer, Any]:
    given = {"data_dir": str(folder), "routes": [{"upstream": "http://127.0.0.1:9"}]} | values
    async with Application(settings_from(given, folder)) as app:
        answer = await ask(app, scope(paths.OPENAPI))
    return answer, json.loads(answer.body)


@pytest.mark.parametrize("dialects", [{}, ALL, *({name: {}} for name in ALL)], ids=str)
async def test_the_description_is_valid_and_lists_enabled_dialects(
    tmp_path: Path, dialects: dict[str, Any]
) -> None:
    answer, told = await read(tmp_path, dialects=dialects)
    assert answer.status == 200 and answer.values(b"content-type") == [b"application/json"]
    OpenAPIV31SpecValidator(told).validate()
    assert told["info"]["version"] == __version__
    assert {tag["name"] for tag in told["tags"]} == set(dialects)
    tags = {operation["tags"][0] for path in told["paths"].values() for operation in path.values()}
    assert tags == set(dialects)


async def test_every_endpoint_has_a_description_and_every_description_an_endpoint(
    tmp_path: Path,
) -> None:
    _, told = await read(tmp_path, dialects=ALL, api={"enabled": True})
    summaries: dict[str, set[str]] = {name: set() for name in (*ALL, "api")}
    for operations in told["paths"].values():
        for operation in operations.values():
            summaries[operation["tags"][0]].add(operation["summary"])
    for name, dialect in DIALECTS.items():
        assert summaries[name] == {row.summary for row in dialect.rows.values()}
    ids = [o["operationId"] for path in told["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids))


async def test_the_description_is_built_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builders: list[threading.Thread] = []

    def note(*about: Any) -> Any:
        builders.append(threading.current_thread())
        return describe(*about)

    describe = openapi.describe
    monkeypatch.setattr(openapi, "describe", note)
    assert (await read(tmp_path))[0].status == 200
    assert len(builders) == 1 and threading.main_thread() not in builders


async def test_the_description_uses_the_configured_prefix(tmp_path: Path) -> None:
    chosen = {"alekeagle": {"prefix": "/accounts", "sample_paths": False}}
    _, told = await read(tmp_path, dialects=chosen)
    assert "/accounts/user/session/{id}" in told["paths"]
    assert all(path.startswith("/accounts/user/") for path in told["paths"])


async def test_the_documented_endpoint_is_described_completely(tmp_path: Path) -> None:
    _, told = await read(tmp_path, dialects={"rocketchat": {}}, public_url="https://wiki.test")
    operation = told["paths"]["/api/v1/sessions/logout"]["post"]
    assert operation["requestBody"]["required"] is True
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert resolved(told, schema)["required"] == ["sessionId"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert resolved(told, answer)["properties"].keys() == {"sessionId", "success"}
    assert {each["name"] for each in operation["parameters"]} == {"x-2fa-code", "x-2fa-method"}
    assert operation["security"][0] == {"userId": [], "authToken": []}
    assert {"200", "400", "401", "403", "404", "429", "503"} <= set(operation["responses"])
    assert "totp-required" in operation["responses"]["400"]["description"]
    assert told["servers"] == [{"url": "https://wiki.test"}]
    assert told["components"]["securitySchemes"]["cookie"]["name"] == "__Host-doorward"
    assert told["paths"]["/api/v1/login"]["post"]["security"] == []


def resolved(told: Any, schema: Any) -> Any:
    return told["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def schemas_in(value: Any) -> Iterator[Any]:
    """Every nested schema object with a type."""
    if isinstance(value, dict):
        if "type" in value and isinstance(value["type"], str):
            yield value
        for inner in value.values():
            yield from schemas_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas_in(inner)


async def test_every_schema_is_complete(tmp_path: Path) -> None:
    """Arrays have items, objects properties, success and refusal a schema, forms their types."""
    _, told = await read(tmp_path, dialects=ALL, api={"enabled": True})
    for schema in schemas_in(told["components"]["schemas"]):
        assert schema["type"] != "array" or "items" in schema
        assert schema["type"] != "object" or "additionalProperties" in schema
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                assert ("content" in answer) == (status != "204"), (path, method, status)
            assert {"500"} < operation["responses"].keys() and "405" not in operation["responses"]
            body = operation.get("requestBody")
            forms = operation["tags"][0] in ("alekeagle", "datepoll")
            assert body is None or len(body["content"]) == (3 if forms else 1)


async def test_an_operation_lists_only_the_refusals_it_can_give(tmp_path: Path) -> None:
    _, told = await read(tmp_path, dialects=ALL)
    session = told["paths"]["/xhr/session"]["get"]["responses"]
    assert {status: answer["description"] for status, answer in session.items()} == {
        "200": "Done.",
        "401": "unauthenticated",
        "500": "internal_error",
        "503": "storage_unavailable",
    }
    ldap = told["paths"]["/xhr/login/ldap"]["post"]
    assert (
        "200" not in ldap["responses"] and "unavailable" in ldap["responses"]["401"]["description"]
    )
    assert "Refused" in ldap["summary"]


async def test_an_answer_that_is_not_described_is_noticed(tmp_path: Path) -> None:
    """The check that every client of these tests performs."""
    _, told = await read(tmp_path, dialects={"xhr": {}})
    check = Description(told).check

    def answer(status: int, content: Any, path: str = "/xhr/session") -> httpx.Response:
        request = httpx.Request("GET", f"http://app.test{path}")
        return httpx.Response(status, json=content, request=request)

    life = {"maxAge": 1, "totp": False}
    user = {"username": "alice", "superAdmin": False}
    await check(answer(200, {"user": user, "session": life}))
    await check(answer(401, {"error": "unauthenticated", "message": "x"}))
    await check(answer(200, {}, "/a/page"))
    for status, content in (
        (200, {"user": user}),
        (200, {"user": user, "session": life, "more": 1}),
        (200, {"user": user, "session": life | {"maxAge": "1"}}),
        (201, {"user": user, "session": life}),
        (401, {"error": "weak_password", "message": "x"}),
        (418, {"error": "unauthenticated", "message": "x"}),
    ):
        with pytest.raises(AssertionError):
            await check(answer(status, content))


async def test_the_description_can_only_be_read(tmp_path: Path) -> None:
    given = {"data_dir": str(tmp_path), "routes": [{"upstream": "http://127.0.0.1:9"}]}
    async with Application(settings_from(given, tmp_path)) as app:
        assert (await ask(app, scope(paths.OPENAPI, method="POST"))).status == 405
        assert (await ask(app, scope(paths.OPENAPI, method="HEAD"))).status == 200


BODIES = sorted(
    {body for dialect in DIALECTS.values() for row in dialect.rows.values() for body in row.body},
    key=lambda body: body.__name__,
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_every_body_has_a_valid_example(body: type[Shape]) -> None:
    shown = body.model_json_schema().get("examples", [])
    assert shown or not body.model_fields, "state one with `examples`"
    for value in shown:
        assert body.model_validate(value)
