"""Rules about the code of proxy/: imports, one place for each library, and shape.

All of it is read from the syntax trees; nothing is imported or run.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOT = ROOT / "proxy"
PACKAGE = SOURCE_ROOT / "doorward"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A module imports from its own part and from the rows after it, never from a part beside it.
# docs/decisions/001-import-order.md
ROWS = (
    ("cli", "middleware"),
    ("start",),
    ("app",),
    ("doctor",),
    ("wiring",),
    ("server",),
    ("dialects", "pages"),
    ("relay",),
    ("web",),
    ("rewrite",),
    ("gate",),
    ("upstream",),
    ("http1",),
    ("observe",),
    ("storage",),
    ("directories",),
    ("mail",),
    ("accounts.*",),  # tasks that need several of the following: logins, administration
    ("accounts.tokens",),
    ("accounts.factors",),
    ("accounts.sessions",),
    ("accounts.users",),
    ("accounts.passwords",),
    ("accounts.audit",),
    ("accounts",),  # plain values, and what they need
    ("settings",),
    ("header_names",),
    ("path_readings",),
    ("paths", "text", "policy"),
    ("bounds",),
)
# Modules of accounts/ above its six parts.
ERRANDS = (
    "logins",
    "basic",
    "administration",
    "addresses",
    "forgotten",
    "key_uses",
    "application_credentials",
)
ROW_OF = {part: row for row, parts in enumerate(ROWS) for part in parts}

# Library → the places that may import it; a name with a slash at its end is a folder.
DOORS = {
    "sqlalchemy": ("storage/",),
    "alembic": ("storage/",),
    "aiosqlite": ("storage/",),
    "asyncpg": ("storage/",),
    "itsdangerous": ("accounts/sessions/tokens.py",),
    "argon2": ("accounts/passwords/hashing.py",),
    "jwt": ("accounts/sessions/access_tokens.py", "accounts/sessions/assertions.py"),
    "pyotp": ("accounts/factors/totp.py",),
    "aiosmtplib": ("mail/smtp.py",),
    "passlib": ("accounts/passwords/imported.py",),
    "bcrypt": ("accounts/passwords/imported.py",),
    "ua_parser": ("accounts/devices.py",),
    "httptools": ("upstream/", "server/"),
    "wsproto": ("relay/websocket_tunnel.py",),
    "uvicorn": (),  # one of the servers that Doorward runs under
    "jinja2": ("pages/",),
    "babel": ("pages/languages.py",),
    "segno": ("pages/qr.py",),
    "re2": ("settings/patterns.py",),
    "zxcvbn": ("accounts/passwords/strength.py",),
    "typer": ("cli/",),
    # Normalising takes quadratic time: these two bound the length first.
    "unicodedata": ("text.py", "accounts/passwords/hashing.py"),
    # Randomness comes from one place, except for keys, which `settings` creates: it may not import
    # any other part.
    "secrets": ("accounts/randomness.py", "settings/keys.py"),
    "random": (),
}

# Parts that must not import a library that all others may import.
STRANGERS = {
    "starlette": ("accounts/", "storage/", "settings/", "upstream/", "observe/", "directories/"),
}

LINES_WITHOUT_WARNING = 500


def place(source: Path) -> str:
    return source.relative_to(PACKAGE).as_posix()


def module_name(source: Path) -> str:
    parts = source.relative_to(SOURCE_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(source): source for source in SOURCES}


@cache
def tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


def imported(source: Path) -> Iterator[str]:
    """The full names of what a file imports, inside functions and for type checkers included."""
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from from_import(source, node)


def from_import(source: Path, node: ast.ImportFrom) -> Iterator[str]:
    origin = node.module or ""
    if node.level:
        package = module_name(source).split(".")
        package = package if source.name == "__init__.py" else package[:-1]
        package = package[: len(package) - node.level + 1]
        origin = ".".join([*package, *filter(None, [origin])])
    for alias in node.names:
        submodule = f"{origin}.{alias.name}"
        yield submodule if submodule in MODULES else origin


def part(module: str) -> str | None:
    """The part that a module belongs to. All parts may import the package itself (its version)."""
    names = module.split(".")
    if names[0] != "doorward" or len(names) == 1:
        return None
    if names[1] == "accounts" and len(names) > 2:
        inner = "*" if names[2] in ERRANDS else names[2]
        return f"accounts.{inner}" if f"accounts.{inner}" in ROW_OF else "accounts"
    return "cli" if names[1] == "__main__" else names[1]


def inside(source: Path, places: tuple[str, ...]) -> bool:
    where = place(source)
    return any(where == p or (p.endswith("/") and where.startswith(p)) for p in places)


every_source = pytest.mark.parametrize("source", SOURCES, ids=place)


@every_source
def test_a_module_imports_from_its_own_part_and_the_rows_after_it(source: Path) -> None:
    mine = part(module_name(source))
    others = {name: part(name) for name in imported(source)}
    assert mine is None or not {
        name
        for name, other in others.items()
        if other is not None and other != mine and ROW_OF[other] <= ROW_OF[mine]
    }


@every_source
def test_a_library_is_imported_only_in_its_place(source: Path) -> None:
    libraries = {name.split(".")[0] for name in imported(source)}
    assert not {lib for lib in libraries & DOORS.keys() if not inside(source, DOORS[lib])}
    assert not {lib for lib in libraries & STRANGERS.keys() if inside(source, STRANGERS[lib])}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in imported(source) if name in MODULES and name != module}
        for module, source in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@every_source
def test_text_is_folded_at_one_door(source: Path) -> None:
    """Other code could forget the bound, or compare another form than the rest."""
    calls = {
        node.attr
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Attribute) and node.attr in ("casefold", "normalize")
    }
    assert not calls or inside(source, DOORS["unicodedata"])


@every_source
def test_cookies_are_read_at_one_door(source: Path) -> None:
    """Starlette decodes escapes in quadratic time (CVE-2024-7592), and picks one of two cookies."""
    read = {
        ast.unparse(node)
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Attribute) and node.attr == "cookies"
    }
    assert not {text for text in read if text.partition(".")[0] in ("request", "connection")}
    assert not {name for name in imported(source) if name.startswith("http.cookies")}


# Ends of sessions that the user did not ask for.
NO_LOGOUT = {"dialects/alekeagle/login.py": ("_give_up",)}
ENDS = re.compile(r"\b(sessions|service)\.(end|end_own|end_all|revoke|revoke_all)\(")


@every_source
def test_endpoints_that_end_own_sessions_complete_the_logout(source: Path) -> None:
    """If the caller's own session ends, the applications behind Doorward have to be informed. The
    administration API has no session, and `leave` belongs to the page."""
    if part(module_name(source)) not in ("pages", "dialects") or inside(source, ("dialects/api/",)):
        return
    functions = [n for n in ast.walk(tree(source)) if isinstance(n, ast.AsyncFunctionDef)]
    missing = {
        function.name
        for function in functions
        if ENDS.search(text := ast.unparse(function))
        and not re.search(r"\b(complete_logout|_leave)\(", text)
    }
    assert missing == set(NO_LOGOUT.get(place(source), ()))


@every_source
def test_many_rows_are_written_in_chunks(source: Path) -> None:
    """All parameters of a call are prepared at once, which blocks the event loop.

    `storage/connection.py` only passes them on."""
    calls = {
        ast.unparse(node)
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(".execute")
        and len(node.args) > 1
        and not isinstance(node.args[1], ast.Dict | ast.Tuple)
    }
    assert not calls or inside(source, ("storage/many_rows.py", "storage/connection.py"))


@every_source
def test_a_module_starts_with_a_docstring(source: Path) -> None:
    assert ast.get_docstring(tree(source))


@every_source
@pytest.mark.filterwarnings("default::UserWarning")
def test_a_long_file_is_a_warning(source: Path) -> None:
    """Only a warning: a class split in two to satisfy a limit is worse than a long file."""
    lines = len(source.read_text().splitlines())
    if lines > LINES_WITHOUT_WARNING:
        warnings.warn(f"{place(source)} has {lines} lines", stacklevel=1)


def test_one_class_is_in_one_file() -> None:
    """A base class that is never instantiated, and only used by one class in another file, is a
    part of that class."""
    heirs: dict[str, list[Path]] = {}
    called = set()
    for source in SOURCES:
        for node in ast.walk(tree(source)):
            if isinstance(node, ast.Call):
                called.add(ast.unparse(node.func).rpartition(".")[2])
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    heirs.setdefault(ast.unparse(base).partition("[")[0], []).append(source)
    cut = {
        f"{place(source)}: {node.name}"
        for source in SOURCES
        for node in ast.walk(tree(source))
        if isinstance(node, ast.ClassDef)
        for only in [heirs.get(node.name, [])]
        if "Protocol" not in map(ast.unparse, node.bases)  # interfaces that other classes implement
        if len(only) == 1 and only[0] != source and node.name not in called
        if module_name(source) in set(imported(only[0]))
    }
    assert not cut


@every_source
def test_a_file_is_mapped_for_reading_only(source: Path) -> None:
    """Writing to a mapped file when the disk is full kills the process (SIGBUS); a failed `write`
    is an error that can be handled."""
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("mmap.mmap", "mmap"):
            asked = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert asked.get("access") == "mmap.ACCESS_READ", ast.unparse(node)


@every_source
def test_only_the_wiring_and_the_commands_hold_the_whole_core(source: Path) -> None:
    """A page or a dialect with the whole core could do anything, and would not show what it
    needs."""
    named = {node.id for node in ast.walk(tree(source)) if isinstance(node, ast.Name)}
    assert "Accounts" not in named or inside(source, ("wiring/", "cli/", "app.py"))


@every_source
def test_levels_are_compared_by_identity(source: Path) -> None:
    """A string that is equal to a level is not a level. Columns (`c.level`) contain strings."""
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Compare):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            if any(side.endswith(".level") and not side.startswith("c.") for side in sides):
                by_column = any(side.startswith("c.") for side in sides)
                by_identity = all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
                assert by_column or by_identity, ast.unparse(node)


# Counts that are never one, each with its reason.
NEVER_ONE = {
    "begins the ids of {len(found)} keys": "one key is the one that was meant",
    "Keys({len(self._secrets)} secrets)": "for those who debug",
}
PLURAL = re.compile(r" (?:[a-z]+ )?[a-z]+s\b")
COUNT = re.compile(r"\blen\(|\b(count|number|many|total)\b")


@every_source
def test_a_count_agrees_with_its_noun(source: Path) -> None:
    """`text.format_count` writes `1 session` and `2 sessions`."""
    for node in ast.walk(tree(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                is_count = COUNT.search(ast.unparse(value.value))
                if is_count and PLURAL.match(str(after.value)):
                    text = ast.unparse(node)
                    assert any(known in text for known in NEVER_ONE), text


ONCE = {
    "Bearer realm=": ("web/refusal_headers.py", "gate/decision.py"),
    "; HttpOnly": ("web/session_cookie.py", "gate/cookies.py"),
}


@every_source
@pytest.mark.parametrize("text", ONCE)
def test_shared_texts_are_defined_in_one_place(source: Path, text: str) -> None:
    written = [
        node.value
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not any(text in value for value in written) or inside(source, ONCE[text])


# Names that state what is done to the argument, or only where the result comes from, instead of
# what the function does.
COINED = re.compile(
    r"_?(told|drawn|summed|cleared|described|logged|folded|quoted|asked|shown|carried)|.*_of(_s)?"
)


@every_source
def test_a_function_name_is_no_coined_noun(source: Path) -> None:
    named = {
        node.name
        for node in ast.walk(tree(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name for name in named if COINED.fullmatch(name)}


def test_class_names_are_unique() -> None:
    names = [
        node.name
        for source in SOURCES
        for node in tree(source).body
        if isinstance(node, ast.ClassDef)
    ]
    assert not {name for name in names if names.count(name) > 1}


MOST_PARAMETERS = 8
ROOMS_OF_FEW = ("accounts/", "pages/", "dialects/", "web/", "storage/", "upstream/", "wiring/")
OF_MANY = {"accounts/users/users.py add"}  # the attributes of a new user


@every_source
def test_a_function_takes_a_value_rather_than_many_parameters(source: Path) -> None:
    for node in ast.walk(tree(source)) if inside(source, ROOMS_OF_FEW) else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            count = len([one for one in given if one.arg not in ("self", "cls")])
            assert count <= MOST_PARAMETERS or f"{place(source)} {node.name}" in OF_MANY, node.name


def test_the_drawing_of_the_architecture_shows_the_import_order() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawing = text.partition("```text\n")[2].partition("```")[0]
    drawn = tuple(line[:20].split("  ")[0].rstrip() for line in drawing.splitlines())
    names = {part for row in ROWS for part in row}
    found = [tuple(word for word in row.split() if word in names) for row in drawn]
    assert found == list(ROWS)


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)+\.py)`", text))
    assert len(named) > 30
    assert not {name for name in named if not ((PACKAGE / name).exists() or (ROOT / name).exists())}
