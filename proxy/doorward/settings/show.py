"""Knows how settings are printed as YAML and which values are hidden. It must not change them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from doorward.settings.credentials import FormFields
from doorward.settings.fields import Section, Unless
from doorward.settings.models import Settings
from doorward.settings.names import mask_password
from doorward.settings.values import format_duration, format_size

COVER = "********"


def plain(settings: Settings) -> dict[str, Any]:
    """The settings in effect as plain data, with defaults, and with secrets hidden."""
    shown = _section(settings)
    shown["storage"] = mask_password(settings.storage)
    if settings.email:
        shown["email"]["smtp"] = mask_password(settings.email.smtp.get_secret_value())
    return shown


def yaml_text(settings: Settings) -> str:
    """The same as the text of a configuration file."""
    import yaml

    text = yaml.safe_dump(plain(settings), sort_keys=False, allow_unicode=True, width=100)
    return str(text)


def _section(section: Section) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if value is None and (word := _word(field)) is None:
            continue
        shown[field.alias or name] = word if value is None else _value(value, name)
    return shown


def _word(field: FieldInfo) -> str | None:
    """The word for "none" in this field; None if the key has to be omitted instead."""
    marks = [mark for mark in field.metadata if isinstance(mark, Unless)]
    return next((mark.word for mark in marks if mark.empty is ...), None)


def _value(value: Any, name: str) -> Any:
    if isinstance(value, Section):
        return _section(value)
    if isinstance(value, FormFields):
        return dict(value)
    if isinstance(value, tuple):
        return [_value(item, name) for item in value]
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, SecretStr):
        return COVER
    if isinstance(value, int) and not isinstance(value, bool):
        return format_size(value) if name.endswith("_bytes") else value
    return value if isinstance(value, bool) else str(value)
