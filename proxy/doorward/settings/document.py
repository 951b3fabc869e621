"""Knows how to read YAML into a tree that remembers each value's line, and what to refuse in it.
It must not know which settings there are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from doorward.settings.faults import Fault, KeyPath, format_path, make_printable

# Far larger than any real file. A short text whose aliases expand to more is an attack.
_MOST_VALUES = 200_000
_DEEPEST = 40

_SYNTAX_HINT = (
    "text that contains ': ' or ' #', or begins with [ { * & ! % @ or a quote, needs quotes"
)
_INDENTATION_HINT = (
    "indent all keys of a mapping, and all dashes of a list, by the same number of spaces"
)
# A block that is indented unlike the one that it belongs to.
_MISPLACED = re.compile("expected (<block end>|'<document start>'), but found '<block ")
# Only a key before the colon: if there is a value, it is the text that needs quotes.
_ONE_KEY = re.compile(r"\s*(?:- +)*[^\s:]+")
# Only these of YAML's interpretations of bare words: no octal, no base 60 (1:30), no dates, no
# `no`.
_CONSTANTS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_BOOLEANS = {w: w.lower() == "true" for w in ("true", "True", "TRUE", "false", "False", "FALSE")}
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")

# libyaml is ten times as fast, but it is not always available, and it refuses `{xhr:}`.
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Node:
    """A value with its line in the file. `size` counts it and everything below, with aliases
    expanded."""

    value: bool | int | str | list[Node] | dict[str, Node] | None
    line: int | None
    source: str
    size: int = 1

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def nearest(self, path: KeyPath) -> tuple[Node, int]:
        """The deepest existing value on the path, and how many steps of the path lead to it."""
        node: Node = self
        for steps, part in enumerate(path):
            inner = node._inner(part)
            if inner is None:
                return node, steps
            node = inner
        return node, len(path)

    def _inner(self, part: str | int) -> Node | None:
        if isinstance(self.value, dict) and isinstance(part, str):
            return self.value.get(part)
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None


class Unreadable(Exception):
    """The text is not a single document of plain YAML, so nothing in it can be checked."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def scalar(text: str) -> bool | int | str | None:
    """The meaning of a bare word: nothing, true, false, a whole number, or the word itself."""
    if text in _CONSTANTS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return int(text) if _WHOLE.fullmatch(text) else text


def read_document(text: str, source: str) -> tuple[Node, list[Fault]]:
    """The tree of a YAML text and the keys that occur twice. Raises Unreadable."""
    try:
        return _Reader(text, source, _FAST).read()
    except yaml.YAMLError:
        pass
    try:
        return _Reader(text, source, yaml.SafeLoader).read()
    except yaml.YAMLError as error:
        raise Unreadable(_syntax_fault(error, text, source)) from None


def _syntax_fault(error: yaml.YAMLError, text: str, source: str) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else None
    if isinstance(error, yaml.reader.ReaderError):
        line = text[: error.position].count("\n") + 1
        return Fault("", line, "contains a character that YAML does not allow", None, source)
    problem = str(getattr(error, "problem", None) or "cannot be read")
    if mark is not None and (found := _layout_fault(problem, text.splitlines(), mark)):
        return Fault("", line, *found, source)
    return Fault("", line, f"is not valid YAML: {make_printable(problem)}", _SYNTAX_HINT, source)


def _layout_fault(problem: str, lines: list[str], mark: Any) -> tuple[str, str] | None:
    """The fault in the white space of the line, with a hint; None if there is no such fault."""
    written = lines[mark.line][: mark.column] if mark.line < len(lines) else ""
    if problem.startswith("found character '\\t'") and not written.strip():
        hint = "YAML only allows spaces; have your editor replace tabs with spaces"
        return "is indented with a tab", hint
    is_stepped = problem == "mapping values are not allowed here" and _ONE_KEY.fullmatch(written)
    if is_stepped or _MISPLACED.match(problem):
        return "is not indented like the lines it belongs to", _INDENTATION_HINT
    return None


class _Reader:
    def __init__(self, text: str, source: str, loader: Any) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=loader)
        self._source = source
        self._anchors: dict[str, Node] = {}
        self._faults: list[Fault] = []

    def read(self) -> tuple[Node, list[Fault]]:
        return self._document(), self._faults

    def _document(self) -> Node:
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Node(None, None, self._source)
        root = self._node(next(self._events), ())
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._unreadable("contains more than one document", after)
        return root

    def _node(self, event: Any, path: KeyPath) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if len(path) > _DEEPEST:
            raise self._unreadable("is nested too deeply", event)
        node = self._built(event, path)
        if node.size > _MOST_VALUES:
            raise self._unreadable("expands to too many values", event)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _built(self, event: Any, path: KeyPath) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if event.tag not in (None, "!"):
            raise self._unreadable("holds a tag, and tags are not taken", event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, path)
        return self._mapping(event, path)

    def _scalar(self, event: Any) -> Node:
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            raise self._unreadable("holds a tag, and tags are not taken", event)
        bare = event.tag is None and event.style in (None, "")
        value = scalar(event.value) if bare else event.value
        return Node(value, self._line(event), self._source)

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._unreadable("refers to an anchor that is not defined above", event)
        return node

    def _sequence(self, start: Any, path: KeyPath) -> Node:
        items: list[Node] = []
        size = 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = self._node(event, (*path, len(items)))
            items.append(dataclasses.replace(item, line=self._line(event)))
            size += item.size
        return Node(items, self._line(start), self._source, size)

    def _mapping(self, start: Any, path: KeyPath) -> Node:
        entries: dict[str, Node] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key, line = self._key(event), self._line(event)
            node = self._node(next(self._events), (*path, key))
            size += node.size
            if key in entries:
                self._twice((*path, key), line, entries[key].line)
            entries.setdefault(key, dataclasses.replace(node, line=line))
        return Node(entries, self._line(start), self._source, size)

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._unreadable("has a key that is not plain text", event)
        if event.value == "<<":
            raise self._unreadable("merges mappings with <<, which is not supported", event)
        return str(event.value)

    def _twice(self, path: KeyPath, line: int, first: int | None) -> None:
        message = f"is given twice, first in line {first}"
        self._faults.append(
            Fault(format_path(path), line, message, "remove one of them", self._source)
        )

    def _unreadable(self, message: str, event: Any) -> Unreadable:
        return Unreadable(Fault("", self._line(event), message, None, self._source))

    @staticmethod
    def _line(event: Any) -> int:
        return int(event.start_mark.line) + 1
