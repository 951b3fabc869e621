"""Look for banned constructions in everything that a person reads: part of `make check`.

Knows banned words and phrases with their replacements, and how to find prose in each kind of file.
`python -m tools.prose [FILE…]` prints what it finds.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What not to write, and what to write instead.
RULES: dict[str, str] = {
    # "Who" and "what" clauses in place of a noun.
    r"whoever": "name it: the client, the user, an administrator",
    r"(?<=[.:;] )who (?:is|has|had|came|comes|gets|lacks|goes|leaves)(?! [^.?]*\?)": "users who …",
    r"(?:him|her)self": "their own …, themselves",
    r"(?:as|is|be) nobody": "not logged in",
    # Personification and coinage.
    r"(?:is|are|was|were|be|been) told(?! (?:apart|to))": "gets, is sent, is logged, shows",
    r"vouch(?:es|ed|ing)? for": "sign, trust",
    r"believe[sd]?(?! it has)": "trust",
    r"put right|puts right": "correct, rewrite",
    r"(?:take|taken|takes|took) away|taken off|takes? off": "remove",
    r"(?:what|would) becomes? of": "what happens to",
    r"speaks? for (?:itself|themselves)": "say what it does",
    r"hangs? on (?:it|him|them)": "belongs to",
    r"(?-i:goes|go) on(?! to| one core)|going on": "continue",
    r"parted by": "separated by",
    r"(?:and|or) (?:its|their) kin": "and similar ones",
    r"in force": "current, in effect",
    r"anew": "again",
    r"beneath": "below",
    r"beside": "besides, next to, with",
    r"at present": "now, currently",
    r"(?:is|are|be) demanded": "is required",
    r"stands? (?:under|elsewhere|before|in (?:the|a|an|its|it))": "is under, in, in front of",
    r"go(?:es)? before(?! \w+ing)": "takes precedence over, overrides",
    r"puts? before": "prepend, put in front of",
    r"(?:look|looks|looked|see|sees) whether": "check whether",
    r"(?:is|are|was|be) (?:wanted|meant)(?! (?:for|to|by))": "is required, is intended",
    r"judged?": "check, decide",
    r"(?:code|cookie|session|token|it) dies": "expires, is refused",
    r"for good(?! reason)": "permanently",
    r"bearable": "name the limit",
    r"an? (?:line|sentence) each": "one line per …",
    r"(?:nothing|something) of(?! the)": "nothing about; must not know",
    r"likewise": "in the same way",
    r"the news": "the feed, what is new",
    r"left out(?=[:;])": "If unset, …",
    r"good (?:once|for (?:an hour|half|thirty|this))": "valid …",
    r"who asks": "the user, the client, the caller",
    # Negation where a plain statement says it.
    r"(?:logs?|checks?) nobody": "users stay logged in; does not check logins",
    r"(?:nothing|none|nobody|never|no other|no one) but|no \w+ but": "only",
    r"not un\w+": "say it positively",
    # Filler.
    r"in order to": "to",
    r"simply|please note|note that|it should be noted": "leave it out",
    r"utili[sz]e[sd]?|leverage[sd]?": "use",
    r"e\.g\.|i\.e\.|etc\.": "for example, that is, and so on",
    # One term for one thing.
    r"sign(?:ed|ing)?[ -]in|log-?on|logging on": "log in",
    r"emails?(?= address| codes)|(?:by|an|the|per) email": "e-mail",
    r"(?-i:2FA|MFA)": "second factor",
    r"backend|back-end": "upstream, application",
    r"whitelist|blacklist": "allow list, deny list",
    r"lockout": "lock-out",
    r"back ?pressure": "back-pressure",
    r"super[- ]admins?": "super administrator",
    r"handbook": "documentation",
    r"in the clear": "unencrypted",
    r"for ever": "forever",
    r"of ours|ours alone": "Doorward's",
    r"of yours": "your …",
}
_BANNED = re.compile("|".join(rf"(?P<r{at}>\b(?:{rule})\b)" for at, rule in enumerate(RULES)), re.I)
_INSTEAD = list(RULES.values())

# A line number and the prose on that line.
Prose = Iterator[tuple[int, str]]


def main(arguments: list[str]) -> int:
    """Print what is found, one line each. Returns the exit status."""
    files = [Path(name).resolve() for name in arguments] or list(list_files())
    found = [fault for file in files for fault in find_faults(file)]
    print("\n".join(found) or f"The prose of {len(files)} files is clean.")
    return bool(found)


def list_files() -> Iterator[Path]:
    """Everything that people read: handbook, settings, commands, pages, docstrings."""
    for name in (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CODE_OF_CONDUCT.md",
    ):
        yield ROOT / name
    for pattern in ("docs/**/*.md", "examples/**/*.md", "config/*.yaml", "examples/**/*.yaml"):
        yield from sorted(ROOT.glob(pattern))
    for pattern in ("pages/templates/*", "pages/locale/*.po", "**/*.py"):
        yield from sorted((ROOT / "proxy" / "doorward").glob(pattern))


def find_faults(file: Path) -> Iterator[str]:
    """The banned phrases in a file, each with its place and a replacement."""
    text = file.read_text()
    for line, prose in READERS[file.suffix](text if file.name != "CHANGELOG.md" else _newest(text)):
        for found in _BANNED.finditer(prose):
            instead = _INSTEAD[int(str(found.lastgroup)[1:])]
            place = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
            yield f"{place}:{line}: “{found[0]}”: {instead}"


def _newest(changelog: str) -> str:
    """The changelog up to the newest version: older entries stay as published."""
    return re.split(r"^## \[0\.1", changelog, flags=re.M)[0]


def _markdown(text: str) -> Prose:
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>", "`", line)


def _comments(text: str) -> Prose:
    for number, line in enumerate(text.splitlines(), 1):
        if comment := re.search(r"(?:^|\s)# (.*)", line):
            yield number, re.sub(r"`[^`]*`", "`", comment[1])


def _template(text: str) -> Prose:
    """The text in `_(…)` and trans blocks."""
    for found in re.finditer(r"_\(\s*\"([^\"]*)\"|{% trans[^%]*%}(.*?){% endtrans %}", text, re.S):
        yield text.count("\n", 0, found.start()) + 1, found[1] or found[2]


def _catalogue(text: str) -> Prose:
    """The English of each message: sentences in the code that pages show are among them."""
    for found in re.finditer(r'^msgid(?:_plural)? ((?:"[^\n]*"\n)+)', text, re.M):
        message = "".join(re.findall(r'"([^\n]*)"\n', found[1]))
        yield text.count("\n", 0, found.start()) + 1, message


def _python(text: str) -> Prose:
    """Docstrings, comments and help texts. In the code "ours" is what Doorward itself set."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r"`[^`]*`|\bof ours\b", "`", token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if docstring := ast.get_docstring(node):
                yield node.body[0].lineno, re.sub(r"`[^`]*`|\bof ours\b", "`", docstring)
        elif isinstance(node, ast.keyword) and node.arg == "help":
            if isinstance(node.value, ast.Constant):
                yield node.value.lineno, str(node.value.value)


READERS: dict[str, Callable[[str], Prose]] = {
    ".md": _markdown,
    ".yaml": _comments,
    ".html": _template,
    ".txt": _template,
    ".po": _catalogue,
    ".py": _python,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
