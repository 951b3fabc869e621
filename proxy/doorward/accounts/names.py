"""What may be a name, an address or a group, and the one spelling that each is compared in.

One value with several spellings, compared in one of them, is the field's commonest hole
(CVE-2026-33525, GHSA-hjj4-hfjm-fmrj): nothing compares names but through here. It knows refusals;
characters are the business of `doorward.text`, which bounds before it looks.
"""

from __future__ import annotations

from doorward.accounts.refusals import InvalidEmail, InvalidGroup, InvalidName
from doorward.text import CHARACTERS as NAME_CHARACTERS
from doorward.text import UnfitText, is_clean, key_of_address, key_of_name, typed
from doorward.text import kept as kept
from doorward.text import shown as shown


def normalise(name: str) -> str:
    """The form in which user names are compared (NFKC, casefold). Raises InvalidName."""
    try:
        return key_of_name(name)
    except UnfitText:
        raise InvalidName from None


def normalise_address(address: str) -> str:
    """The form in which e-mail addresses are compared. Raises InvalidEmail."""
    try:
        return key_of_address(address)
    except UnfitText:
        raise InvalidEmail from None


def parse_handle(name: str) -> str | None:
    """The normalised name or address that somebody typed, None for what can be neither.

    White space around it is of the keyboard that put it there, not of the name."""
    text = typed(name)
    for key in (key_of_name, key_of_address):
        try:
            return key(text)
        except UnfitText:
            continue
    return None


def check_display_name(name: str) -> str:
    """The name as it is. Raises InvalidName."""
    if not is_clean(name):
        raise InvalidName(
            f"A display name has 1 to {NAME_CHARACTERS} characters, no control characters and no"
            " space at its edges."
        )
    return name


def check_group(group: str) -> str:
    """The group or role as it is. Raises InvalidGroup."""
    if not is_clean(group) or "," in group:
        raise InvalidGroup
    return group
