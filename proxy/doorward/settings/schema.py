"""Knows the JSON Schema of the configuration file, for editors. Settings must not be checked with
it; it is less strict than the parsers."""

from __future__ import annotations

import json
from typing import Any

from doorward.settings.models import Settings


def schema() -> dict[str, Any]:
    """Returns the schema (JSON Schema 2020-12), sections in the order of the file."""
    found = _untitled(Settings.model_json_schema(by_alias=True))
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Doorward configuration",
        "type": "object",
    }
    return {**head, "properties": found.pop("properties"), **(found | head)}


def schema_text() -> str:
    """Returns the text of config/doorward.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _untitled(value: Any) -> Any:
    """The schema without pydantic's titles and without empty defaults."""
    if isinstance(value, list):
        return [_untitled(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _untitled(inner) for key, inner in value.items() if not _is_noise(key, inner, value)
    }


def _is_noise(key: str, inner: Any, holder: dict[str, Any]) -> bool:
    if key == "default":
        return inner in (None, "")
    if key not in {"title", "description"} or not isinstance(inner, str):
        return False
    # Class docstrings are for developers; the descriptions of keys are kept.
    return key == "title" or holder.get("additionalProperties") is False
