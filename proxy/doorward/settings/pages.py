"""Knows the settings for the look of the pages: name, logo, colour, language and the operator's own
sentences. It must not read the files that are named here; rendering does."""

from __future__ import annotations

import re
from typing import Annotated

from doorward.settings.faults import Wrong
from doorward.settings.fields import Parsed, Place, Section, Switch, Text, Unless, key
from doorward.settings.values import quote, text

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_LANGUAGE = re.compile(r"auto|[a-z]{2,3}(_[A-Z]{2})?")


def _colour(value: object) -> str:
    if not _COLOUR.fullmatch(found := text(value)):
        raise Wrong(f"{quote(found)} is not a colour", 'write it as "#3450d4", in quotes')
    return found.lower()


def _language(value: object) -> str:
    if not _LANGUAGE.fullmatch(found := text(value)):
        raise Wrong(
            f"{quote(found)} is not a language",
            "write auto or a language code such as en, de or pt_BR",
        )
    return found


Colour = Annotated[str, Parsed(_colour, {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"})]
Language = Annotated[
    str, Parsed(_language, {"type": "string", "pattern": f"^({_LANGUAGE.pattern})$"})
]


class PagesSettings(Section):
    name: Annotated[Text | None, Unless("none")] = key(
        "none", "Name of the site, or none for the host name."
    )
    logo: Annotated[Place | None, Unless("none")] = key(
        "none", "Image file (SVG, PNG, JPEG or WebP) to show instead of Doorward's logo, or none."
    )
    accent: Annotated[Colour | None, Unless("none")] = key(
        "none", "Colour of buttons and links, or none for blue."
    )
    language: Language = key(
        "auto", "Language of the pages: auto (the browser's), en, de or another catalogue's."
    )
    translations: Annotated[Place | None, Unless("none")] = key(
        "none", "Directory with catalogues of more languages, such as fr.po, or none."
    )
    welcome: Annotated[Text | None, Unless("none")] = key(
        "none", "Sentence on the login page, or none."
    )
    help: Annotated[Text | None, Unless("none")] = key(
        "none", "Sentence at the foot of every page, such as whom to ask for help, or none."
    )
    clear_site_data: Switch = key(
        False, "Whether a logout also deletes the application's cookies and data in the browser."
    )
