"""Knows where settings come from and in which order: file, then environment, then every check. It
must not know single settings; models.py and checks.py do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from doorward.settings import checks
from doorward.settings.document import Node, Unreadable, read_document
from doorward.settings.environment import CONFIG, LARGEST_BYTES, PREFIX, Overrides, read_environment
from doorward.settings.faults import Fault, InvalidSettings, KeyPath, Wrong, format_path
from doorward.settings.known import advise
from doorward.settings.models import Settings
from doorward.settings.sieve import Sieve

# The upstream of an application in this process: a name that never resolves (RFC 6761 6.4).
_IN_PROCESS_KEY = "in_process"
_IN_PROCESS = "http://in-process.invalid"
_PLACES = ("./doorward.yaml", "/etc/doorward/doorward.yaml")
# The system's configuration. Data that changes at run time belongs elsewhere (FHS 3.0, 3.7).
_SYSTEM = Path("/etc")
_SYSTEM_DATA = Path("/var/lib/doorward")


def find_config_file(environ: Mapping[str, str]) -> Path | None:
    """The file that DOORWARD_CONFIG names, else the first of the usual places that exists, else
    None."""
    if named := environ.get(CONFIG):
        return Path(named)
    return next((Path(place) for place in _PLACES if os.path.lexists(place)), None)


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings from a file, overridden by the environment.

    Without a path, the usual places are searched; without any file, only the environment counts.
    Raises InvalidSettings with every error.
    """
    file = path or find_config_file(environ)
    overrides = read_environment(environ)
    if file is None and not overrides.gives("routes"):
        wrong = [fault for fault in overrides.faults if fault.key.startswith("routes")]
        raise InvalidSettings(wrong or [_no_file()])
    root, faults = _read(file) if file else (Node({}, None, ""), [])
    return _loaded(root, faults, overrides, file)


def load_settings_in_process(path: Path, environ: Mapping[str, str]) -> Settings:
    """As `load_settings`, for an application in this process: routes have no upstream, and if there
    are none, there is one for every path. Raises InvalidSettings."""
    root, faults = _read(path)
    _top(root)[_IN_PROCESS_KEY] = Node(True, None, "")
    return _loaded(root, faults, read_environment(environ), path)


def _loaded(root: Node, faults: list[Fault], overrides: Overrides, file: Path | None) -> Settings:
    directory = file.absolute().parent if file else Path.cwd()
    settings = _settings(root, faults, overrides, directory)
    settings._file = file
    settings._environment = overrides.names
    return settings


def settings_from(values: Mapping[str, Any], directory: Path | None = None) -> Settings:
    """The settings from plain data, as read from YAML; file and environment are not read. Raises
    InvalidSettings."""
    root = _node(dict(values))
    return _settings(root, [], Overrides(), directory or Path.cwd())


def settings_in_process(values: Mapping[str, Any], directory: Path | None = None) -> Settings:
    """As `settings_from`, for an application in this process; see `load_settings_in_process`."""
    return settings_from({**values, _IN_PROCESS_KEY: True}, directory)


def _top(root: Node) -> dict[str, Node]:
    assert isinstance(root.value, dict)
    return root.value


def _lead_in_process(root: Node) -> list[Fault]:
    """With `in_process`, give each route an upstream to which nothing connects, and report routes
    that name one."""
    top = _top(root)
    if _IN_PROCESS_KEY not in top or top[_IN_PROCESS_KEY].value is not True:
        return []
    routes = top.setdefault("routes", Node([Node({}, None, "")], None, ""))
    faults = []
    for number, route in enumerate(routes.value if isinstance(routes.value, list) else ()):
        if not isinstance(route.value, dict):
            continue
        if "upstream" in route.value:
            hint = "remove it, or use `doorward serve` in front of that upstream"
            wrong = Wrong("has no effect, because the application is in this process", hint)
            faults.append(_fault(root, ("routes", number, "upstream"), wrong))
        route.value["upstream"] = Node(_IN_PROCESS, route.line, route.source)
    return faults


def _add_verified_route(root: Node) -> None:
    """With `forward_auth` and no routes there is one route: front proxies ask about all of their
    hosts."""
    top = _top(root)
    asked = top.get("forward_auth")
    if asked is not None and isinstance(asked.value, dict):
        top.setdefault("routes", Node([Node({}, None, "")], None, ""))


def _no_file() -> Fault:
    message = f"No configuration file found (looked in {', '.join(_PLACES)})"
    return Fault("", None, message, "create one or pass -c FILE")


def _node(value: Any) -> Node:
    if isinstance(value, dict):
        value = {str(key): _node(inner) for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        value = [_node(inner) for inner in value]
    return Node(value, None, "")


def _read(file: Path) -> tuple[Node, list[Fault]]:
    root, faults = _document(_text(file), str(file))
    if root.value is None:
        hint = "config/minimal.yaml shows the smallest file that works"
        raise InvalidSettings([Fault("", None, "is empty", hint, str(file))])
    if not isinstance(root.value, dict):
        message = "is not a mapping of settings"
        raise InvalidSettings([Fault("", root.line, message, "write key: value", str(file))])
    return root, faults


def _document(text: str, source: str) -> tuple[Node, list[Fault]]:
    try:
        return read_document(text, source)
    except Unreadable as error:
        raise InvalidSettings([error.fault]) from None


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InvalidSettings([_unopened(file, error)]) from None
    if len(data) > LARGEST_BYTES:
        raise InvalidSettings([Fault("", None, "is larger than 1 MiB", None, str(file))])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        hint = "save it as UTF-8"
        raise InvalidSettings([Fault("", line, "is not UTF-8", hint, str(file))]) from None


def _unopened(file: Path, error: OSError) -> Fault:
    if isinstance(error, FileNotFoundError):
        hint = "name another with -c or DOORWARD_CONFIG"
        return Fault("", None, "there is no such file", hint, str(file))
    if isinstance(error, IsADirectoryError):
        return Fault("", None, "is a directory", "name the file in it", str(file))
    hint = "let the user that Doorward runs as read it"
    return Fault("", None, f"cannot be read: {error.strerror}", hint, str(file))


def _settings(root: Node, faults: list[Fault], overrides: Overrides, directory: Path) -> Settings:
    overrides.onto(root)
    faults = [*faults, *overrides.faults]
    faults += _lead_in_process(root)
    _add_verified_route(root)
    settings = _judged(root, faults, directory)
    if faults or settings is None:
        raise InvalidSettings(sorted(faults, key=_order))
    settings._root = root
    settings._warnings = (*overrides.warnings, *checks.warnings(settings))
    return settings


def _order(fault: Fault) -> tuple[bool, bool, int]:
    """The file's errors from top to bottom, then those without a line, then those of the
    environment."""
    return fault.source.startswith(PREFIX), fault.line is None, fault.line or 0


def _judged(root: Node, faults: list[Fault], directory: Path) -> Settings | None:
    """Adds every error to the list. Invalid values are removed and the rest is checked again, so
    that one error does not hide another."""
    sieve = Sieve(root.plain())
    told: set[str] = set()
    while True:
        try:
            settings = Settings.model_validate(sieve.data, context={"directory": directory})
            break
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
            found = [(sieve.original(_place(d)), _wrong(d)) for d in details]
            for fault in [_fault(root, path, wrong) for path, wrong in found]:
                if fault.key not in told and not _has_items(fault.key, told):
                    faults.append(fault)
                    told.add(fault.key)
            if not sieve.take_out([(_place(d), _is_missing(d)) for d in details]):
                return None
    settings = _with_data_dir(_with_public_url(settings), directory)
    if wrong := _data_left_behind(settings, directory):
        faults.append(_fault(root, ("data_dir",), wrong))
    for path, wrong in checks.run(settings, frozenset(fault.key for fault in faults)):
        faults.append(_fault(root, sieve.original(path), wrong))
    return settings


def _has_items(key: str, told: set[str]) -> bool:
    """Whether invalid items of this list were reported. It may be empty only without them."""
    return any(other.startswith(f"{key}[") for other in told)


def _with_public_url(settings: Settings) -> Settings:
    if settings.public_url:
        return settings
    listen, scheme = settings.listen, "https" if settings.tls else "http"
    here = "localhost" if listen.is_unnamed else ""
    found = settings.model_copy(update={"public_url": f"{scheme}://{here or listen}"})
    found.model_fields_set.discard("public_url")  # it was not given
    return found


def _with_data_dir(settings: Settings, directory: Path) -> Settings:
    if "data_dir" in settings.model_fields_set or not directory.is_relative_to(_SYSTEM):
        return settings
    found = settings.model_copy(update={"data_dir": _SYSTEM_DATA})
    found.model_fields_set.discard("data_dir")  # it was not given
    return found


def _data_left_behind(settings: Settings, directory: Path) -> Wrong | None:
    """Refuse a start with a new, empty database if the old one is next to the file under /etc, the
    default until 0.1: it would lock out every user."""
    before = directory / "data"
    if "data_dir" in settings.model_fields_set or settings.data_dir != _SYSTEM_DATA:
        return None
    if _holds_data(_SYSTEM_DATA) or not _holds_data(before):
        return None
    message = f"defaults to {_SYSTEM_DATA} for a file under {_SYSTEM}, but {before} holds data"
    return Wrong(message, f"move that folder there, or write data_dir: {before}")


def _holds_data(directory: Path) -> bool:
    return any(os.path.exists(directory / name) for name in ("doorward.db", "doorward.key"))


def _is_missing(error: ErrorDetails) -> bool:
    return error["type"] == "missing"


def _place(error: ErrorDetails) -> KeyPath:
    wrong = error.get("ctx", {}).get("error")
    inner = (wrong.key,) if isinstance(wrong, Wrong) and wrong.key else ()
    return (*error["loc"], *inner)


def _wrong(error: ErrorDetails) -> Wrong:
    """The error in Doorward's words. pydantic itself only reports missing and unknown keys;
    Doorward's own parsers read all values."""
    wrong = error.get("ctx", {}).get("error")
    if isinstance(wrong, Wrong):
        return wrong
    if error["type"] == "extra_forbidden":
        return Wrong("unknown key", advise(error["loc"]))
    assert error["type"] == "missing", error["type"]
    return Wrong("is required")


def _fault(root: Node, path: KeyPath, wrong: Wrong) -> Fault:
    node, steps = root.nearest(path)
    # A single value in place of a list has no position.
    shown = path[:steps] if isinstance(path[steps] if steps < len(path) else "", int) else path
    line = node.line if steps else None  # a missing top-level key has no line
    return Fault(format_path(shown), line, wrong.message, wrong.hint, node.source)
