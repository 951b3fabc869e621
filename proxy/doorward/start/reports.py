"""How settings are read for a person: warnings and faults are sentences on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doorward.settings import InvalidSettings, Settings


def say(sentence: str) -> None:
    """Print on standard error, if there is one that can be written. The exit status says that
    something is wrong, whether or not this is read."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(sentence, file=sys.stderr, flush=True)


def read_settings(file: Path | None) -> Settings:
    """The settings, with their warnings said. Raises InvalidSettings."""
    # pydantic takes a third of a second, which `--help` does not wait for
    from doorward.settings import load_settings

    settings = load_settings(file, os.environ)
    for warning in settings.warnings:
        say(f"warning: {warning}")
    return settings


def report_faults(error: InvalidSettings) -> None:
    """Say what is wrong with the settings, one fault a line."""
    for fault in error.faults:
        say(str(fault))
