"""What a check found. Knows words only; must not know any check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` says what to do. A `note` is worth knowing, but nothing is wrong."""

    message: str
    advice: str
    is_note: bool = False


@dataclass(frozen=True, slots=True)
class Checkup:
    """One check and all that it found; `skipped` says why it could not be made."""

    name: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""

    @property
    def is_sound(self) -> bool:
        return all(finding.is_note for finding in self.findings)


def note(message: str, advice: str) -> Finding:
    return Finding(message, advice, is_note=True)
