"""Short text of people and programs: bounded first, cleaned, and compared in one form.

The only door to Unicode's tables. It knows characters and must not know what a text is for.
Normal forms take quadratic time over combining marks and can be eighteen times as long as what
was typed, so nothing here looks further than it measured.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

CHARACTERS = 190  # what fits an index of every database, and the documented APIs' own limit
CODE_CHARACTERS = 128  # of a code that somebody types; nothing longer is worth a look
# Controls, invisible format characters (two names that look the same), halves of surrogate pairs,
# line and paragraph separators.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_BETWEEN = HIDDEN | {"Pd"}
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
# Exactly one @ (CVE-2026-40574), and nothing that means something in a header line.
_ADDRESS = re.compile(r"""[^\s@<>(),;:"\\\[\]]+@[^\s@<>(),;:"\\\[\]]+""")


class UnfitText(ValueError):
    """The text is too long or holds what a name cannot hold."""


def format_count(number: int, noun: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def fold(text: str) -> str:
    """The form in which names are compared: NFKC and casefold, repeated until it stays, as one can
    undo the other for a few letters. Raises Unfit when the text or its form is too long."""
    if len(text) > CHARACTERS:
        raise UnfitText
    while (form := unicodedata.normalize("NFKC", text).casefold()) != text:
        text = form
    if len(text) > CHARACTERS:
        raise UnfitText
    return text


def has_hidden(text: str) -> bool:
    """Whether a line break, another control or invisible character, or half of a surrogate pair
    is in it."""
    return any(unicodedata.category(character) in HIDDEN for character in text)


def is_clean(text: str) -> bool:
    """Whether this is one line of 1 to 190 visible characters without white space at either end."""
    return 0 < len(text) <= CHARACTERS and text == text.strip() and not has_hidden(text)


def is_address(text: str) -> bool:
    """Whether this could be one e-mail address."""
    return is_clean(text) and _ADDRESS.fullmatch(text) is not None


def fold_name(name: str) -> str:
    """The form in which user names are compared. Raises Unfit for what cannot be a name."""
    return _key(name, is_clean)


def fold_address(address: str) -> str:
    """The form in which e-mail addresses are compared. Raises Unfit for what cannot be one."""
    return _key(address, is_address)


def _key(text: str, is_fit: Callable[[str], bool]) -> str:
    if not is_fit(text) or not is_fit(form := fold(text)):
        raise UnfitText
    return form


def strip_input(text: str) -> str:
    """What somebody typed into a field of one line: white space around it is the keyboard's."""
    return text.strip()


def code(text: str) -> str:
    """A code as people type and paste it, in ASCII where it has such a reading: full-width and
    other decimal digits are digits; white space, dashes and invisible characters are left out.
    Empty for text that is too long to be one."""
    if len(text) > CODE_CHARACTERS:
        return ""
    return "".join(map(_read_digit, unicodedata.normalize("NFKC", text)))


def _read_digit(character: str) -> str:
    if character.isspace() or unicodedata.category(character) in _BETWEEN:
        return ""
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def clip(text: str, most: int = CHARACTERS) -> str:
    """The beginning of what a client says, as every database can keep it: no halves of surrogate
    pairs, no NUL."""
    return _UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", text[:most])


def display(text: str) -> str:
    """What somebody typed, fit for a message: short, and it cannot move a terminal's cursor."""
    shortened = text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}..."
    return shortened if shortened.isprintable() else ascii(shortened)
