"""Build the documentation site in build/site: `make docs`.

Knows how to build a site from pages, and must not know their content. `tools/reference.py`
generates parts from the code (settings, commands, endpoints) for each line `<!-- generated: NAME
-->` in a page, so they are always up to date.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools import reference

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Read by zensical.toml.
SOURCE = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
# The place in the site for repository files that pages link to.
FILES = "repository"

GENERATED = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.M)
# A link's target, up to its fragment. Code spans and blocks contain no links of this form.
LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")


def main() -> None:
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(DOCS, SOURCE)
    for page in sorted(DOCS.rglob("*.md")):
        write_page(page, page.read_text())
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    built = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours
    if built.returncode or "Warning" in built.stderr:
        sys.exit(built.stderr.partition("Traceback")[0])
    if faults := list(find_faults(SITE)):
        sys.exit("\n".join(faults))


def write_page(page: Path, text: str) -> None:
    """Write a Markdown file of the repository to its place in the site's source."""
    filled = GENERATED.sub(lambda found: reference.write(found[1]), text)
    place = place_of(page)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(LINK.sub(lambda found: _relink(found, page, place), filled))


def place_of(file: Path) -> Path:
    """The place of a repository's file in the site's source."""
    if file.is_relative_to(DOCS):
        return SOURCE / file.relative_to(DOCS)
    return SOURCE / FILES / file.relative_to(ROOT)


def _relink(found: re.Match[str], page: Path, place: Path) -> str:
    """Change a link to a file outside docs/ into one to its copy in the site."""
    before, target, after = found.groups()
    if urlsplit(target).scheme:
        return found[0]
    file = (page.parent / target).resolve()
    if file.is_dir():
        file /= "README.md"
    if not file.is_relative_to(DOCS):
        _bring(file)
    return before + _relative(place_of(file), place.parent) + after


def _bring(file: Path) -> None:
    place = place_of(file)
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()  # already written, which ends cycles of links
    if file.suffix == ".md":
        write_page(file, file.read_text())
    else:
        place.write_bytes(file.read_bytes())


def _relative(file: Path, folder: Path) -> str:
    up = [".."] * len(folder.relative_to(SOURCE).parts)
    return Path(*up, file.relative_to(SOURCE)).as_posix()


class _Page(HTMLParser):
    """A page's links, assets and anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(values.get("href", ""))
        self.loaded += [values[name] for name in ("src", "poster", "data") if name in values]


def find_faults(site: Path) -> Iterator[str]:
    """Broken links of the built site, and assets from other sites."""
    pages = {file: _Page(file.read_text()) for file in site.rglob("*.html")}
    for file, page in pages.items():
        for target in page.loaded + page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loaded and parts.scheme != "data":
                    yield f"{file.relative_to(site)} loads {target} from elsewhere"
                continue
            found = _target(site, file, unquote(parts.path))
            if not found.is_file():
                yield f"{file.relative_to(site)} links to {target}, which is not there"
            elif parts.fragment and found in pages and parts.fragment not in pages[found].anchors:
                yield f"{file.relative_to(site)} links to {target}, which has no such anchor"


def _target(site: Path, file: Path, path: str) -> Path:
    start = site if path.startswith("/") else file.parent
    found = (start / path.lstrip("/")).resolve() if path else file
    return found / "index.html" if found.is_dir() else found


if __name__ == "__main__":
    main()
