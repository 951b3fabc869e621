"""The forms of an HTML page: where each leads, its fields, and what its hidden ones contain.

Knows HTML; must not know which form is the one to send. The page may be hostile: the caller limits
its bytes, and reading takes time in proportion to them.
"""

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from encodings.aliases import aliases
from html.parser import HTMLParser

# Reading a tag takes up to 5 µs. A page of 100 KiB has a few thousand.
TAGS_LIMIT = 50_000

DEFAULT_CHARSET = "utf_8"
# The character sets of pages (Encoding Standard 4.2). Python has codecs that are none, and some
# take long for hostile bytes.
CHARSETS = frozenset(
    "utf_8 big5 gbk gb18030 euc_jp euc_kr iso2022_jp shift_jis koi8_r koi8_u cp866 cp874 mac_roman"
    " cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 iso8859_2 iso8859_3 iso8859_4"
    " iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_10 iso8859_13 iso8859_14 iso8859_15".split()
)
# The same standard reads these as the larger ones.
_LARGER = {"ascii": "cp1252", "latin_1": "cp1252", "iso8859_9": "cp1254", "gb2312": "gbk"}
_SIGNS = re.compile(r"[^a-z0-9]+")
# A table of labels: `codecs.lookup` would keep each unknown one in memory.
_LABELS = {
    _SIGNS.sub("_", label): _LARGER.get(name, name)
    for label, name in (*aliases.items(), *((name, name) for name in (*CHARSETS, *_LARGER)))
    if _LARGER.get(name, name) in CHARSETS
}
_MARKS = (
    (codecs.BOM_UTF8, "utf_8_sig"),
    (codecs.BOM_UTF16_LE, "utf_16"),
    (codecs.BOM_UTF16_BE, "utf_16"),
)
# HTML 13.2.3.2: a page names its encoding within so many bytes.
_NAMED_WITHIN_BYTES = 1024
_META = re.compile(
    rb"<meta[\s/][^>]{0,256}?charset\s{0,8}=\s{0,8}[\"']?([\w:.-]{1,40})", re.IGNORECASE
)


class TooManyTags(Exception):
    """A page that would take too long to read."""


@dataclass(slots=True)
class HtmlForm:
    """`action` is None if the form leads to its own page. `hidden` are fields with their values;
    `names` are those of all fields that can be filled in. `charset` is what it says to be sent
    in."""

    action: str | None
    charset: str | None = None
    hidden: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class HtmlPage:
    """The `forms` of a page, in order; `base` is what its URLs are relative to, if it says so."""

    charset: str
    base: str | None
    forms: tuple[HtmlForm, ...]


def read_page(body: bytes, charset: str | None) -> HtmlPage:
    """Read a page; `charset` is the one in its Content-Type. Raises TooManyTags."""
    if body.count(b"<") > TAGS_LIMIT:
        raise TooManyTags
    chosen = _choose_charset(body, charset)
    parser = _FormParser()
    # Once, and never `close`: what is not complete at the end is not looked at. Otherwise each
    # unfinished tag or comment is searched for its end again and again (CVE-2025-6069). The two
    # are raised for malformed declarations, and for references with thousands of digits.
    with suppress(AssertionError, ValueError):
        parser.feed(body.decode(chosen, "replace"))
    sent = chosen if chosen in CHARSETS else DEFAULT_CHARSET
    return HtmlPage(sent, parser.base, tuple(parser.list_forms()))


def find_charset(label: str | None) -> str | None:
    """The name in Python of a character set for pages; None for any other."""
    return _LABELS.get(_SIGNS.sub("_", (label or "").strip().lower()))


def _choose_charset(body: bytes, charset: str | None) -> str:
    """HTML 13.2.3.2: the byte order mark, then what came with the page, then what it says."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return name
    said = _META.search(body, 0, _NAMED_WITHIN_BYTES)
    within = None if said is None else said[1].decode("latin-1")
    return find_charset(charset) or find_charset(within) or DEFAULT_CHARSET


class _FormParser(HTMLParser):
    """Records forms and their fields. A field is in the form around it, unless it names another."""

    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self._forms: list[HtmlForm] = []
        self._by_id: dict[str, HtmlForm] = {}
        self._open: HtmlForm | None = None
        self._others: list[tuple[str, dict[str, str | None]]] = []  # fields that name their form

    def list_forms(self) -> Iterator[HtmlForm]:
        for owner, said in self._others:
            if owner in self._by_id:
                _add_field(self._by_id[owner], said)
        self._others.clear()
        yield from self._forms

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("form", "input", "base"):
            return
        said = dict(reversed(attrs))  # the first of a name counts
        if tag == "base":
            self.base = self.base or said.get("href")
        elif tag == "input":
            self._take_field(said)
        elif self._open is None:  # forms are not nested: the inner tag is ignored
            self._open = form = HtmlForm(said.get("action") or None, said.get("accept-charset"))
            self._forms.append(form)
            self._by_id.setdefault(said.get("id") or "", form)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def _take_field(self, said: dict[str, str | None]) -> None:
        owner = said.get("form")
        if owner:
            self._others.append((owner, said))
        elif self._open is not None:
            _add_field(self._open, said)


def _add_field(form: HtmlForm, said: dict[str, str | None]) -> None:
    name = said.get("name")
    if not name or "disabled" in said:
        return
    if (said.get("type") or "").lower() == "hidden":
        form.hidden.append((name, said.get("value") or ""))
    else:
        form.names.add(name)
