"""config/doorward.yaml, config/minimal.yaml and the schema agree with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from doorward.settings import Settings, load_settings
from doorward.settings.document import read_document
from doorward.settings.known import every_key, field_at
from doorward.settings.schema import schema, schema_text
from doorward.settings.show import plain, yaml_text

CONFIG = Path(__file__).parents[2] / "config"
FULL = CONFIG / "doorward.yaml"
# A comment with a sentence has one space after the #; one with a setting has none, or its
# indentation.
SETTING = re.compile(r"^( *)#(?=[^ \n]|  )", re.MULTILINE)


def uncommented() -> str:
    """Returns the file with every example uncommented."""
    return SETTING.sub(r"\1", FULL.read_text(encoding="utf-8"))


def shown(text: str, directory: Path) -> dict[str, Any]:
    file = directory / "doorward.yaml"
    file.write_text(text, encoding="utf-8")
    return plain(load_settings(file, {}))


def keys_in(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, list):
        return set().union(*(keys_in(item, path) for item in value))
    if not isinstance(value, dict):
        return set()
    inner = (keys_in(item, (*path, key)) for key, item in value.items())
    return {(*path, key) for key in value}.union(*inner)


def test_the_full_file_states_the_defaults() -> None:
    full, minimal = (load_settings(CONFIG / f"{n}.yaml", {}) for n in ("doorward", "minimal"))
    assert plain(full) == plain(minimal)


def test_the_full_file_has_every_key() -> None:
    root, faults = read_document(uncommented(), "doorward.yaml")
    assert not faults
    # Off by default; its keys are those of rate_limit, and are in its description.
    limit = ("dialects", "alekeagle", "login_limit")
    inner: set[tuple[str, ...]] = {(*limit, "requests"), (*limit, "per")}
    rules = ("routes", "rules")  # like those of access
    inner |= {key for key in every_key() if key[:2] == rules and key != rules}
    fields = ("routes", "credentials", "form", "fields")  # their names depend on the application
    found = {key for key in keys_in(root.plain()) if key[:-1] != fields}
    assert found == set(every_key()) - inner


def test_the_full_files_examples_are_valid_and_state_the_defaults(tmp_path: Path) -> None:
    full = shown(uncommented(), tmp_path)
    named = {name: None for name in full["dialects"]}
    minimal = shown(f"dialects: {json.dumps(named)}\nroutes: [{{upstream: 'http://a'}}]", tmp_path)
    assert len(named) == 4
    assert full["dialects"] == minimal["dialects"]


@pytest.mark.parametrize("path", every_key(), ids=".".join)
def test_the_full_file_explains_the_key_as_the_code_does(path: tuple[str, ...]) -> None:
    field = field_at(path)
    assert field is not None and field.description is not None
    assert field.description.endswith(".")
    assert f"# {field.description}\n" in FULL.read_text(encoding="utf-8")


def test_the_minimal_file_is_minimal() -> None:
    root, _ = read_document((CONFIG / "minimal.yaml").read_text(), "minimal.yaml")
    assert keys_in(root.plain()) == {("routes",), ("routes", "upstream")}


def test_the_schema_is_the_one_the_code_makes() -> None:
    written = (CONFIG / "doorward.schema.json").read_text(encoding="utf-8")
    assert written == schema_text(), "run doorward config schema > config/doorward.schema.json"


def is_valid(value: Any, rule: Any) -> bool:
    """Checks the keywords of JSON Schema that the schema uses; fails for others."""
    if reference := rule.get("$ref"):
        return is_valid(value, schema()["$defs"][reference.rpartition("/")[2]])
    return all(KEYWORDS[word](value, rule[word], rule) for word in rule)


def has_type(value: Any, name: Any) -> bool:
    if isinstance(name, list):
        return any(has_type(value, one) for one in name)
    kinds: dict[str, type] = {
        "object": dict,
        "array": list,
        "string": str,
        "null": type(None),
        "boolean": bool,
    }
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kinds[name])


KEYWORDS: dict[str, Any] = {
    "type": lambda value, name, rule: has_type(value, name),
    "enum": lambda value, words, rule: any(value == w and type(value) is type(w) for w in words),
    "anyOf": lambda value, rules, rule: any(is_valid(value, one) for one in rules),
    "minimum": lambda value, least, rule: not isinstance(value, int) or value >= least,
    "maximum": lambda value, most, rule: not isinstance(value, int) or value <= most,
    "minLength": lambda value, least, rule: len(value) >= least,
    "minItems": lambda value, least, rule: not isinstance(value, list) or len(value) >= least,
    "pattern": lambda value, form, rule: not isinstance(value, str) or bool(re.search(form, value)),
    "required": lambda value, keys, rule: value is None or set(keys) <= set(value),
    "items": lambda value, one, rule: (
        not isinstance(value, list) or all(is_valid(item, one) for item in value)
    ),
    "properties": lambda value, known, rule: (
        value is None or all(is_valid(value[key], known[key]) for key in value if key in known)
    ),
    "additionalProperties": lambda value, no, rule: (
        value is None or set(value) <= set(rule["properties"])
    ),
} | dict.fromkeys(
    ("description", "default", "title", "writeOnly", "$schema", "$defs"), lambda *_: True
)


@pytest.mark.parametrize("text", [uncommented(), (CONFIG / "minimal.yaml").read_text()])
def test_the_schema_accepts_the_files(text: str) -> None:
    root, _ = read_document(text, "")
    assert is_valid(root.plain(), schema())


@pytest.mark.parametrize(
    "text",
    [
        "nonsense: 1",
        "workers: 0",
        "routes: [{paths: /}]",
        "limits: {header_bytes: 64KB}",
        "fast_lane: 5",
    ],
)
def test_the_schema_refuses_invalid_settings(text: str) -> None:
    assert not is_valid(yaml.safe_load(text), schema())


def test_formatted_values_parse_to_the_same_value(tmp_path: Path) -> None:
    settings = load_settings(FULL, {})
    again = tmp_path / "again.yaml"
    again.write_text(yaml_text(settings), encoding="utf-8")
    assert plain(load_settings(again, {})) == plain(settings)


def test_shown_settings_contain_no_secrets(tmp_path: Path) -> None:
    text = uncommented().replace("storage: sqlite", "storage: postgresql://u:s3cret@h/db")
    found = shown(text.replace("smtp://127", "smtp://u:s3cret@127"), tmp_path)
    assert found["users"][0]["password_hash"] == "********"
    assert found["storage"] == "postgresql://u:********@h/db"
    assert found["email"] == {
        "smtp": "smtp://u:********@127.0.0.1:2525",
        "from": "doorward@example.com",
    }


def test_every_key_is_an_attribute_of_the_same_name() -> None:
    for path in every_key():
        field = field_at(path)
        assert field is not None and (field.alias or path[-1]) == path[-1]
    assert isinstance(Settings.model_fields["listen"].description, str)
