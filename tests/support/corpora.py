"""The attacks in tests/corpora/."""

from __future__ import annotations

from pathlib import Path

CORPORA = Path(__file__).parents[1] / "corpora"


def corpus(name: str) -> list[bytes]:
    """The attacks in a file, one per line. `\\r \\n \\xHH` are bytes, `## ` begins a comment."""
    lines = (CORPORA / name).read_text(encoding="ascii").splitlines()
    attacks = [line for line in lines if line and not line.startswith("## ")]
    return [line.encode().decode("unicode_escape").encode("latin-1") for line in attacks]
