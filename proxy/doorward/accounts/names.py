"""Which texts can be names, addresses or groups, and the form in which each is compared.

Values with several spellings, of which code compares only one, are a common vulnerability
(CVE-2026-33525, GHSA-hjj4-hfjm-fmrj), so names are compared only through this module. Knows
refusals; `doorward.text` checks characters, after it has checked the length.
"""

from __future__ import annotations

from doorward.accounts.refusals import InvalidEmail, InvalidGroup, InvalidName
from doorward.text import CHARACTERS as NAME_CHARACTERS
from doorward.text import UnfitText, fold_address, fold_name, is_clean, strip_input
from doorward.text import clip as clip
from doorward.text import display as display


def normalise(name: str) -> str:
    """The form in which user names are compared (NFKC, casefold). Raises InvalidName."""
    try:
        return fold_name(name)
    except UnfitText:
        raise InvalidName from None


def normalise_address(address: str) -> str:
    """The form in which e-mail addresses are compared. Raises InvalidEmail."""
    try:
        return fold_address(address)
    except UnfitText:
        raise InvalidEmail from None


def parse_handle(name: str) -> str | None:
    """The normalised form of a name or address that a user typed; None if it cannot be either.

    Keyboards add white space around it, which is not part of the name."""
    text = strip_input(name)
    for key in (fold_name, fold_address):
        try:
            return key(text)
        except UnfitText:
            continue
    return None


def check_display_name(name: str) -> str:
    """The unchanged name. Raises InvalidName."""
    if not is_clean(name):
        raise InvalidName(
            f"A display name has 1 to {NAME_CHARACTERS} characters, no control characters and no"
            " space at either end."
        )
    return name


def check_group(group: str, delimiters: str = ",") -> str:
    """The unchanged group or role. Raises InvalidGroup, also if it contains a character that
    separates groups in an application's header."""
    if not is_clean(group) or "," in group:
        raise InvalidGroup
    if inside := next((one for one in delimiters if one in group), None):
        raise InvalidGroup(
            f"The group or role {display(group)} contains {inside!r},"
            " which separates names in an application's headers."
        )
    return group
