"""Checks every answer of a test's client against the API description of the same server."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

Json = dict[str, Any]
# The keys in which dialects state an error's code; the first existing one counts.
CODES = ("errorType", "error_code", "code", "error")


class Description:
    def __init__(self, told: Json) -> None:
        self._told = json.loads(json.dumps(told))  # in the form that a client reads
        self._validators: dict[str, Any] = {}

    def operation(self, method: str, path: str) -> Json | None:
        """The described operation. None for pages, HEAD, OPTIONS and methods that are not
        supported."""
        paths: Json = self._told["paths"]
        named = path if path in paths else next((p for p in paths if _fits(p, path)), None)
        found: Json | None = paths.get(named or "", {}).get(method.lower())
        return found

    async def check(self, response: httpx.Response) -> None:
        """Assert that the operation's description contains this answer. An httpx hook."""
        request = response.request
        operation = self.operation(request.method, request.url.path)
        if operation is None:
            return
        content = await response.aread()
        what = f"{request.method} {request.url.path} {response.status_code} {content!r}"
        said = operation["responses"].get(str(response.status_code))
        assert said is not None, f"not described: {what}"
        if "content" not in said:
            assert not content, what
            return
        schema = said["content"]["application/json"]["schema"]
        value = json.loads(content)
        faults = [fault.message for fault in self._validator(schema).iter_errors(value)]
        assert not faults, f"{what}: {faults}"
        if response.status_code >= 400 and (code := _code(value)) is not None:
            assert code in said["description"].split(", "), f"code not described: {what}"

    def _validator(self, schema: Json) -> Any:
        from openapi_schema_validator import OAS31Validator  # takes seconds to import

        key = json.dumps(schema)
        if key not in self._validators:
            whole = {**schema, "components": self._told["components"]}
            self._validators[key] = OAS31Validator(whole)
        return self._validators[key]


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path) is not None


def _code(value: Json) -> str | None:
    """The code of an error. A code has no spaces; if the error is a sentence, the code is its
    type."""
    found = next((value[key] for key in CODES if key in value), None)
    return found if isinstance(found, str) and " " not in found else None
