"""The pages of the documentation and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
)
# `<!-- not run: REASON -->` precedes a block that tests cannot run.
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A fenced block. `reason`: why it is not tested; empty if it is."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def list_blocks(*pages: Path) -> Iterator[Block]:
    for page in pages or PAGES:
        text = page.read_text()
        for found in _BLOCK.finditer(text):
            line = text.count("\n", 0, found.start("language")) + 1
            inner = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.M)
            yield Block(page, line, found["language"], inner, found["reason"] or "")


def read_page(name: str) -> str:
    """The text of a page, by its path below docs/."""
    return (DOCS / name).read_text()
