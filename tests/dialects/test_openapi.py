"""The API description: valid, of what is switched on and nothing else, and whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from doorward import __version__
from doorward.app import Doorward
from doorward.dialects import openapi
from doorward.settings import settings_from
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.fakes import Answer, ask, scope

ALL: dict[str, Any] = {"xhr": {}, "alekeagle": {}, "datepoll": {}, "rocketchat": {}}


async def read(folder: Path, **values: Any) -> tuple[Answer, Any]:
    given = {"data_dir": str(folder), "routes": [{"upstream": "http://127.0.0.1:9"}]} | values
    async with Doorward(settings_from(given, folder)) as app:
        answer = await ask(app, scope(openapi.PATH))
    return answer, json.loads(answer.body)


@pytest.mark.parametrize("dialects", [{}, ALL, *({name: {}} for name in ALL)], ids=str)
async def test_it_is_valid_and_tells_of_the_dialects_that_are_on(
    tmp_path: Path, dialects: dict[str, Any]
) -> None:
    answer, told = await read(tmp_path, dialects=dialects)
    assert answer.status == 200 and answer.values(b"content-type") == [b"application/json"]
    OpenAPIV31SpecValidator(told).validate()
    assert told["info"]["version"] == __version__
    assert {tag["name"] for tag in told["tags"]} == set(dialects)
    tags = {operation["tags"][0] for path in told["paths"].values() for operation in path.values()}
    assert tags == set(dialects)


async def test_every_endpoint_is_told_of_in_words_and_every_word_is_of_an_endpoint(
    tmp_path: Path,
) -> None:
    _, told = await read(tmp_path, dialects=ALL)
    summaries: dict[str, set[str]] = {name: set() for name in ALL}
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"] != f"{method.upper()} {path}", "without a row"
            summaries[operation["tags"][0]].add(operation["summary"])
    for name, rows in openapi.ROWS.items():
        assert summaries[name] == {row.summary for row in rows.values()}
    ids = [o["operationId"] for path in told["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids))


async def test_a_prefix_of_ones_own_is_followed(tmp_path: Path) -> None:
    chosen = {"alekeagle": {"prefix": "/accounts", "sample_paths": False}}
    _, told = await read(tmp_path, dialects=chosen)
    assert "/accounts/user/session/{id}" in told["paths"]
    assert all(path.startswith("/accounts/user/") for path in told["paths"])


async def test_the_documented_endpoint_is_drawn_whole(tmp_path: Path) -> None:
    _, told = await read(tmp_path, dialects={"rocketchat": {}}, public_url="https://wiki.test")
    operation = told["paths"]["/api/v1/sessions/logout"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["sessionId"]
    assert {each["name"] for each in operation["parameters"]} == {"x-2fa-code", "x-2fa-method"}
    assert operation["security"][0] == {"userId": [], "authToken": []}
    assert {"200", "400", "401", "403", "404", "429", "503"} <= set(operation["responses"])
    assert "totp-required" in operation["responses"]["400"]["description"]
    assert told["servers"] == [{"url": "https://wiki.test"}]
    assert told["components"]["securitySchemes"]["cookie"]["name"] == "__Host-doorward"
    assert told["paths"]["/api/v1/login"]["post"]["security"] == []


async def test_it_is_read_and_nothing_else(tmp_path: Path) -> None:
    given = {"data_dir": str(tmp_path), "routes": [{"upstream": "http://127.0.0.1:9"}]}
    async with Doorward(settings_from(given, tmp_path)) as app:
        assert (await ask(app, scope(openapi.PATH, method="POST"))).status == 405
        assert (await ask(app, scope(openapi.PATH, method="HEAD"))).status == 200
