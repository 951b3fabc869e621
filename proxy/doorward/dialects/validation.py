"""Checks fields of a body as the original DatePoll does, with its messages.

Knows values and rules; must not know endpoints, or what a field is for.
"""

from collections.abc import Mapping

from doorward.dialects.context import Malformed
from doorward.dialects.fields import is_storable


class Validation:
    """Each method returns the value of a field. Errors are collected until `check` raises them."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._faults: dict[str, list[str]] = {}

    def _wrong(self, name: str, sentence: str) -> str:
        self._faults.setdefault(name, []).append(sentence.format(name.replace("_", " ")))
        return ""

    def check(self) -> None:
        """Raises Malformed with all errors, by field."""
        if self._faults:
            raise Malformed(fields=tuple(self._faults), sentences=self._faults)

    def required(self, name: str, *, least: int = 1, most: int | None = None) -> str:
        """A required text that is not only white space. `least` and `most` are numbers of
        characters."""
        return self._text(name, least, most) or self._missing(name)

    def _missing(self, name: str) -> str:
        return "" if name in self._faults else self._wrong(name, "The {} field is required.")

    def optional(self, name: str, *, most: int | None = None) -> str:
        """An optional text."""
        return self._text(name, 1, most)

    def _text(self, name: str, least: int, most: int | None) -> str:
        value = self._values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or not is_storable(value):
            return self._wrong(name, "The {} must be a string.")
        if not value.strip():
            return ""
        if len(value) < least:
            return self._wrong(name, f"The {{}} must be at least {least} characters.")
        if most is not None and len(value) > most:
            return self._wrong(name, f"The {{}} may not be greater than {most} characters.")
        return value

    def flag(self, name: str) -> bool:
        """True, false, 1, 0, and "1" and "0" as texts; false if it is absent."""
        value = self._values.get(name)
        if value is None or value == "":
            return False
        if isinstance(value, bool | int | str) and value in (True, False, "0", "1"):
            return value in (True, "1")
        self._wrong(name, "The {} field must be true or false.")
        return False
