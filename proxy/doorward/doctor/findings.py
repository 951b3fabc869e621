"""The findings of checks. Must not know any check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice`: what to do. A `note` is information, not a problem."""

    message: str
    advice: str
    is_note: bool = False


@dataclass(frozen=True, slots=True)
class Checkup:
    """One check with its findings. `skipped`: the reason why it did not run."""

    name: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""

    @property
    def is_sound(self) -> bool:
        return all(finding.is_note for finding in self.findings)


def note(message: str, advice: str) -> Finding:
    return Finding(message, advice, is_note=True)
