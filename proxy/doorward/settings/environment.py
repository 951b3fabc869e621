"""Knows the `DOORWARD_…` variables: the setting of each, and how its text is read. It must not
check the values; they are checked as if they were in the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic.fields import FieldInfo

from doorward.settings.document import Node, Unreadable, read_document, scalar
from doorward.settings.faults import Fault, format_path
from doorward.settings.known import every_key, field_at, is_list, section_in
from doorward.settings.values import is_off

PREFIX = "DOORWARD_"
CONFIG = "DOORWARD_CONFIG"
# Variables that are not settings either: they are read before settings are (see `http1/heads.py`,
# setup.py).
_OF_CODE = frozenset(("DOORWARD_PURE_PYTHON", "DOORWARD_EXTENSION"))
LARGEST_BYTES = 1024 * 1024

# Kubernetes sets these in every container if there is a service called `doorward`.
_KUBERNETES = re.compile(
    r"DOORWARD_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)

Path_ = tuple[str, ...]


@dataclass(slots=True)
class Overrides:
    """The settings from the environment, outermost keys first, with the errors and warnings about
    them."""

    values: list[tuple[Path_, Node]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that set something."""
        return tuple(node.source for _, node in self.values)

    def gives(self, key: str) -> bool:
        return any(path[0] == key for path, _ in self.values)

    def onto(self, root: Node) -> None:
        """Put the values into the document's tree, where they override the file."""
        for path, node in self.values:
            _put(root, path, node)


def read_environment(environ: Mapping[str, str]) -> Overrides:
    """The settings from the environment. An empty variable counts as unset."""
    found = Overrides()
    ours = (name for name in environ if name.startswith(PREFIX) and environ[name])
    for name in sorted(ours, key=lambda name: (name.count("__"), name)):
        if name != CONFIG and name not in _OF_CODE and not _KUBERNETES.fullmatch(name):
            _take(name, environ, found)
    return found


def _take(name: str, environ: Mapping[str, str], found: Overrides) -> None:
    path = _path(name)
    if whole := _list_above(path):
        hint = f"set {PREFIX}{'__'.join(whole).upper()} to the complete list"
        found.warnings.append(f"{name} is not a setting and is ignored; {hint}")
        return
    if setting := field_at(path):
        _add(found, path, name, environ[name], setting)
        return
    plain = name.removesuffix("_FILE")
    setting = field_at(_path(plain)) if plain != name else None
    if setting is None:
        found.warnings.append(_unknown(name))
    elif environ.get(plain):
        message = f"{plain} and {name} both set it"
        found.faults.append(Fault(format_path(_path(plain)), None, message, "unset one", name))
    elif (text := _file_text(environ[name], name, _path(plain), found)) is not None:
        _add(found, _path(plain), name, text, setting)


def _list_above(path: Path_) -> Path_ | None:
    """The list that a variable of this name would be in."""
    for end in range(1, len(path)):
        setting = field_at(path[:end])
        if setting is not None and is_list(setting.annotation):
            return path[:end]
    return None


def _path(name: str) -> Path_:
    return tuple(name[len(PREFIX) :].lower().split("__"))


def _add(found: Overrides, path: Path_, name: str, text: str, setting: FieldInfo) -> None:
    if not (is_list(setting.annotation) or section_in(setting.annotation)):
        # A single value is used as it is: a password may contain characters with a meaning in YAML.
        found.values.append((path, Node(scalar(text), None, name)))
        return
    try:
        node, faults = read_document(text, name)
    except Unreadable as error:
        fault = error.fault
        found.faults.append(Fault(format_path(path), fault.line, fault.message, fault.hint, name))
        return
    found.faults.extend(_beneath(path, fault) for fault in faults)
    found.values.append((path, node))


def _beneath(path: Path_, fault: Fault) -> Fault:
    joined = f"{format_path(path)}{'' if fault.key.startswith('[') else '.'}{fault.key}"
    return Fault(joined, fault.line, fault.message, fault.hint, fault.source)


def _file_text(file: str, name: str, path: Path_, found: Overrides) -> str | None:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise ValueError("is larger than 1 MiB")
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else _reason(error)
        message = f"cannot be read from {file}: {reason}"
        found.faults.append(Fault(format_path(path), None, message, None, name))
        return None
    return text.removesuffix("\n").removesuffix("\r")


def _reason(error: ValueError) -> str:
    return "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _unknown(name: str) -> str:
    names = [PREFIX + "__".join(key).upper() for key in every_key() if not _list_above(key)]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{name} is not a setting and is ignored{hint}"


def _put(root: Node, path: Path_, node: Node) -> None:
    at = root
    for part in path[:-1]:
        if at.value is None or is_off(at.value):
            at.value = {}
        if not isinstance(at.value, dict):
            return  # not a mapping, which is reported separately
        at = at.value.setdefault(part, Node({}, None, node.source))
    if at.value is None or is_off(at.value):
        at.value = {}
    if isinstance(at.value, dict):
        at.value[path[-1]] = node
