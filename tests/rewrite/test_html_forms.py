"""The forms of HTML pages, read from what applications send and from what nobody should."""

from __future__ import annotations

import codecs
from typing import Any

import pytest
from doorward.rewrite.html_forms import (
    _LABELS,
    TAGS_LIMIT,
    TooManyTags,
    find_charset,
    read_page,
)
from hypothesis import given
from hypothesis import strategies as st


def read(text: str, charset: str | None = None) -> list[tuple[Any, ...]]:
    """Action, hidden fields and other names of each form."""
    page = read_page(text.encode(), charset)
    return [(form.action, form.hidden, sorted(form.names)) for form in page.forms]


@pytest.mark.parametrize(
    ("page", "forms"),
    [
        ("", []),
        ("<input type=hidden name=a value=b>", []),
        ("<form>", [(None, [], [])]),
        ("<form action=''>", [(None, [], [])]),
        ("<FORM ACTION=/a><INPUT TYPE=Hidden NAME=b VALUE=c>", [("/a", [("b", "c")], [])]),
        ("<form action=/a action=/b>", [("/a", [], [])]),
        ("<form><input type=hidden name=a/></form>", [(None, [("a/", "")], [])]),
        ("<form><input type=hidden name='a' /></form>", [(None, [("a", "")], [])]),
        (
            "<form><input type=hidden name=a value='&quot;&#39;&amp;'>",
            [(None, [("a", "\"'&")], [])],
        ),
        ("<form><input type=hidden value=a><input type=hidden name=''>", [(None, [], [])]),
        ("<form><input type=hidden name=a disabled>", [(None, [], [])]),
        ("<form><input name=a><input type=password name=b>", [(None, [], ["a", "b"])]),
        (
            "<form><input type=hidden name=a value=1><input type=hidden name=a value=2>",
            [(None, [("a", "1"), ("a", "2")], [])],
        ),
        (
            "<form action=/a><form action=/b><input name=c></form><input name=d>",
            [("/a", [], ["c"])],
        ),
        (
            "<input type=hidden name=a value=1 form=f><form id=f></form>"
            "<form><input type=hidden name=b value=2 form=f><input name=c form=none></form>",
            [(None, [("a", "1"), ("b", "2")], []), (None, [], [])],
        ),
        ("<!-- <form action=/a> --><form action=/b>", [("/b", [], [])]),
        ("<script>x = '<form action=/a>'</script><form action=/b>", [("/b", [], [])]),
        ("<form action=/a><input name=b", [("/a", [], [])]),
        ("<form action=/a><!-- never closed <input name=b>", [("/a", [], [])]),
        ("<form action=/a><![foo[<input name=b>", [("/a", [], [])]),
    ],
)
def test_forms_are_read_as_browsers_do(page: str, forms: list[Any]) -> None:
    assert read(page) == forms


def test_parsing_stops_at_a_number_with_thousands_of_digits() -> None:
    page = f"<form action=/a><input name=b><input name=c value='&#{'1' * 5000};'>"
    (form,) = read(page)
    assert form[0] == "/a" and form[2][:1] == ["b"]


@pytest.mark.parametrize(
    ("body", "charset", "found", "value"),
    [
        (b"%b\xc3\xa4", None, "utf_8", "ä"),
        (b"%b\xe4", None, "utf_8", "\N{REPLACEMENT CHARACTER}"),
        (b"%b\xe4", "ISO-8859-1", "cp1252", "ä"),
        (b"%b\x80", "latin1", "cp1252", "€"),
        (b"<meta charset=windows-1251>%b\xe4", None, "cp1251", "д"),
        (b"<META http-equiv=x content='text/html; charset=koi8-r'>%b\xe4", None, "koi8_r", "Д"),
        (b"<meta charset=koi8-r>%b\xe4", "windows-1251", "cp1251", "д"),
        (b"\xef\xbb\xbf%b\xc3\xa4", "windows-1251", "utf_8", "ä"),
        (b"%b\xc3\xa4", "rot13", "utf_8", "ä"),
        (b"<meta charset=unicode_escape>%b\\xe4", None, "utf_8", "\\xe4"),
        (b"%b\x82\xa0", "Shift_JIS", "shift_jis", "あ"),
    ],
)
def test_a_page_says_its_character_set(
    body: bytes, charset: str | None, found: str, value: str
) -> None:
    page = read_page(body.replace(b"%b", b"<form><input type=hidden name=a value=") + b">", charset)
    assert (page.charset, page.forms[0].hidden) == (found, [("a", value)])


def test_a_page_in_utf_16_is_answered_in_utf_8() -> None:
    page = read_page("<form><input type=hidden name=a value=ä>".encode("utf-16"), None)
    assert page.charset == "utf_8" and page.forms[0].hidden == [("a", "ä")]


def test_a_label_is_a_character_set_that_python_knows() -> None:
    assert find_charset("ANSI_X3.4-1968") == find_charset("latin-1") == "cp1252"
    for label, name in _LABELS.items():
        assert codecs.lookup(name)._is_text_encoding and find_charset(label) == name
    for other in ("idna", "punycode", "zip", "utf-7", "utf-16", "x" * 10_000, "", None):
        assert find_charset(other) is None


def test_a_page_with_too_many_tags_is_not_read() -> None:
    assert read("<p>" * (TAGS_LIMIT - 1) + "<form>") == [(None, [], [])]
    with pytest.raises(TooManyTags):
        read("<p>" * TAGS_LIMIT + "<form>")


PIECES = (
    *("<form", "<input", "<base", "</form", "<script>", "<!--", "-->", "<![CDATA[", "<!", "<?"),
    *(" name=", " type=hidden", " value=", " form=", " id=", " action=", " href=", " disabled"),
    *("'", '"', ">", "/", "=", "&", "&#", "&#x", "&amp;", "a", "1", " ", "\n", "\0", "ä"),
)


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_any_text_can_be_read(text: str) -> None:
    for action, hidden, names in read(text):
        assert action is None or action
        assert all(name for name, _ in hidden) and all(names)


@given(st.binary(), st.none() | st.text(), st.sampled_from([b"", codecs.BOM_UTF16_LE]))
def test_any_bytes_can_be_read(body: bytes, charset: str | None, mark: bytes) -> None:
    page = read_page(mark + body, charset)
    assert "ä".encode(page.charset, "xmlcharrefreplace")
