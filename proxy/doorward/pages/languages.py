"""The languages of the pages: Babel catalogues, chosen by the browser's Accept-Language.

The only module that uses Babel. Knows sentences and their translations; must not know where they
are used. The source language is English; a catalogue is a file such as `de.po`, here or in the
operator's folder.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.dates import format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po

from doorward.pages.time_phrases import SHIPPED, TimePhrases

LOCALE = Path(__file__).with_name("locale")
ENGLISH = "en"
AUTO = "auto"
HEADER_CHARACTERS = 256  # of Accept-Language that are read; browsers send about 40


class UnusableCatalogue(Exception):
    """A catalogue that cannot be read, or a language without a catalogue."""


def N_(sentence: str) -> str:
    """Mark a sentence for the catalogues; it is translated where it is used."""
    return sentence


class LocalePhrases:
    """How a time is worded in any language that Babel knows."""

    def __init__(self, locale: Locale) -> None:
        self._locale = locale

    def span(self, seconds: float) -> str:
        return format_timedelta(timedelta(seconds=seconds), locale=self._locale)

    def in_future(self, seconds: float) -> str:
        return format_timedelta(timedelta(seconds=seconds), add_direction=True, locale=self._locale)

    def in_past(self, seconds: float) -> str:
        return format_timedelta(
            timedelta(seconds=-seconds), add_direction=True, locale=self._locale
        )


class Language:
    """One language. The operator's catalogues override Doorward's, sentence by sentence."""

    __slots__ = ("_phrases", "code", "direction", "translations")

    def __init__(self, code: str, catalogues: Sequence[Path] = ()) -> None:
        self.code = code
        try:
            locale = Locale.parse(code)
        except (UnknownLocaleError, ValueError) as fault:
            raise UnusableCatalogue(f"{code} is no language") from fault
        shipped = SHIPPED.get(code)
        self._phrases: TimePhrases | LocalePhrases = shipped or LocalePhrases(locale)
        self.direction = "ltr" if shipped else str(locale.text_direction)
        self.translations: gettext.NullTranslations = gettext.NullTranslations()
        for path in catalogues:
            compiled = _compile(path, code)
            compiled.add_fallback(self.translations)
            self.translations = compiled

    @property
    def tag(self) -> str:
        """The language tag for HTML (BCP 47)."""
        return self.code.replace("_", "-")

    def say(self, sentence: str) -> str:
        """The sentence in this language, or unchanged if there is no translation."""
        return self.translations.gettext(sentence) if sentence else ""

    def span(self, seconds: float) -> str:
        """`3 hours`: one unit, rounded."""
        return self._phrases.span(max(1, seconds))

    def within(self, seconds: float) -> str:
        """`in 3 hours`."""
        return self._phrases.in_future(max(1, seconds))

    def ago(self, seconds: float) -> str:
        """`3 hours ago`."""
        return self._phrases.in_past(max(1, seconds))


def _compile(path: Path, code: str) -> gettext.GNUTranslations:
    try:
        with path.open("rb") as file:
            catalogue = read_po(file, locale=code, abort_invalid=True)
    except (OSError, PoFileError, ValueError) as fault:
        raise UnusableCatalogue(f"{path} cannot be read: {fault}") from fault
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


class Languages:
    """All languages; `choice` is the one for every user, or `auto`. Raises UnusableCatalogue."""

    def __init__(self, choice: str = AUTO, folder: Path | None = None) -> None:
        found: dict[str, list[Path]] = {ENGLISH: []}
        if folder is not None and not folder.is_dir():
            raise UnusableCatalogue(f"{folder} is not a folder")
        for place in (LOCALE, *([folder] if folder else [])):
            for path in sorted(place.glob("*.po")):
                found.setdefault(path.stem, []).append(path)
        self._known = {code: Language(code, paths) for code, paths in found.items()}
        self._by_tag = {code.lower().replace("_", "-"): one for code, one in self._known.items()}
        if choice != AUTO and choice not in self._known:
            raise UnusableCatalogue(f"there is no catalogue {choice}.po")
        self._only = None if choice == AUTO else self._known[choice]

    @property
    def known(self) -> Mapping[str, Language]:
        return self._known

    def of(self, accept_language: str | None) -> Language:
        """The best language for this Accept-Language (RFC 9110 12.5.4, RFC 4647 3.4: `de-AT` finds
        `de`)."""
        if self._only is not None:
            return self._only
        for tag in _parse_accepted((accept_language or "")[:HEADER_CHARACTERS]):
            parts = tag.split("-")
            for length in range(len(parts), 0, -1):
                if one := self._by_tag.get("-".join(parts[:length])):
                    return one
        return self._known[ENGLISH]


def _parse_accepted(header: str) -> list[str]:
    """The tags in order of preference, without those that cannot be parsed."""
    wanted = []
    for item in header.lower().split(","):
        tag, _, quality = item.partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            weight = 0.0
        if weight > 0 and tag.strip():
            wanted.append((weight, tag.strip()))
    return [tag for _, tag in sorted(wanted, key=lambda one: -one[0])]
