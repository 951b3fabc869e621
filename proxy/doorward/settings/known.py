"""Knows which keys there are, from the models, and which one was probably meant by an unknown key.
It must not read values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from doorward.settings.faults import KeyPath, format_path
from doorward.settings.fields import Section
from doorward.settings.models import Settings


def section_in(annotation: Any) -> type[Section] | None:
    """The section that a setting's type contains, directly or in options and lists."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inner = (section_in(argument) for argument in get_args(annotation))
    return next((section for section in inner if section), None)


def is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(is_list(inner) for inner in get_args(annotation))


def list_fields(section: type[Section]) -> dict[str, FieldInfo]:
    """The settings of a section, by their keys in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def field_at(path: KeyPath) -> FieldInfo | None:
    """The setting at that place, if there is one."""
    section: type[Section] | None = Settings
    field: FieldInfo | None = None
    for part in path:
        if isinstance(part, int):
            continue
        field = list_fields(section).get(part) if section else None
        section = section_in(field.annotation) if field else None
    return field


@cache
def every_key() -> tuple[tuple[str, ...], ...]:
    """The path of every setting, without list positions, in the order of the file."""
    return tuple(_beneath((), Settings))


def _beneath(path: tuple[str, ...], section: type[Section]) -> Iterator[tuple[str, ...]]:
    for key, field in list_fields(section).items():
        yield (*path, key)
        if inner := section_in(field.annotation):
            yield from _beneath((*path, key), inner)


def advise(path: KeyPath) -> str:
    """A suggestion for an unknown key."""
    parent, wrong = path[:-1], str(path[-1])
    field = field_at(parent) if parent else None
    section = section_in(field.annotation) if field else Settings
    siblings = list(list_fields(section or Settings))
    if near := difflib.get_close_matches(wrong.lower().replace("-", "_"), siblings, n=1):
        return f"did you mean {format_path((*parent, near[0]))}?"
    if elsewhere := [".".join(key) for key in every_key() if key[-1] == wrong]:
        return f"there is {' and '.join(elsewhere[:2])}"
    return f"the keys here are {', '.join(siblings)}"
