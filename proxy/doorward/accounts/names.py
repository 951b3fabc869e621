"""Names and addresses in the one spelling they are compared in, and what may be one at all.

One value with several spellings, compared in one of them, is the field's commonest hole
(CVE-2026-33525, GHSA-hjj4-hfjm-fmrj): nothing compares names but through here.
"""

from __future__ import annotations

import re
import unicodedata

from doorward.accounts.refusals import InvalidEmail, InvalidGroup, InvalidName

NAME_CHARACTERS = 190  # what fits an index of every database, and the documented APIs' own limit
ADDRESS_CHARACTERS = 254  # RFC 5321 4.5.3.1.3, less the angle brackets
# Controls, invisible format characters (two names that look the same), halves of surrogate pairs,
# line and paragraph separators.
FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Exactly one @ (CVE-2026-40574), and nothing that means something in a header line.
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
ADDRESS = re.compile(r"""[^\s@<>(),;:"\\\[\]]+@[^\s@<>(),;:"\\\[\]]+""")


def _folded(text: str) -> str:
    """NFKC and casefold, repeated until it stays: one can undo the other for a few letters."""
    while (folded := unicodedata.normalize("NFKC", text).casefold()) != text:
        text = folded
    return text


def _is_clean(text: str) -> bool:
    return (
        0 < len(text) <= NAME_CHARACTERS
        and text == text.strip()
        and not any(unicodedata.category(character) in FORBIDDEN for character in text)
    )


def normalise(name: str) -> str:
    """The form in which user names are compared (NFKC, casefold). Raises InvalidName."""
    if not _is_clean(name):
        raise InvalidName
    folded = _folded(name)
    if not _is_clean(folded):
        raise InvalidName
    return folded


def normalise_address(address: str) -> str:
    """The form in which e-mail addresses are compared. Raises InvalidEmail."""
    folded = _folded(address)
    if not (_is_address(address) and _is_address(folded)):
        raise InvalidEmail
    return folded


def handle_of(text: str) -> str | None:
    """The normalised name or address, None for what can be neither."""
    for form in (normalise, normalise_address):
        try:
            return form(text)
        except (InvalidName, InvalidEmail):
            continue
    return None


def _is_address(text: str) -> bool:
    return (
        len(text) <= ADDRESS_CHARACTERS and ADDRESS.fullmatch(text) is not None and _is_clean(text)
    )


def shown(text: str) -> str:
    """What somebody typed, fit for a message: it cannot move a terminal's cursor."""
    return text if text.isprintable() else ascii(text)


def kept(text: str) -> str:
    """What a client says, as every database can keep it: no halves of surrogate pairs, no NUL."""
    return _UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def check_display_name(name: str) -> str:
    """The name as it is. Raises InvalidName."""
    if not _is_clean(name):
        raise InvalidName(
            "A display name has 1 to 190 characters, no control characters and no space at its"
            " edges."
        )
    return name


def check_group(group: str) -> str:
    """The group or role as it is. Raises InvalidGroup."""
    if not _is_clean(group) or "," in group:
        raise InvalidGroup
    return group
