"""Return addresses after a login or logout: only paths on this host, in any browser's reading."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest
from doorward.web.return_address import safe_return
from hypothesis import given
from hypothesis import strategies as st

from tests.support.house import ORIGIN, PASSWORD, House

CORPUS = Path(__file__).parents[1] / "corpora" / "open_redirects.txt"
_ESCAPE = re.compile(r"\\(u[0-9a-f]{4}|[tnr])")
_SHORT = {"t": "\t", "n": "\n", "r": "\r"}


def unescaped(line: str) -> str:
    """Decode \\t \\n \\r \\uXXXX, the control bytes of the corpus; other backslashes stay."""
    return _ESCAPE.sub(lambda m: _SHORT.get(m[1]) or chr(int(m[1][1:], 16)), line)


ATTACKS = [unescaped(line) for line in CORPUS.read_text().split("\n") if line]


@pytest.mark.parametrize("attack", ATTACKS, ids=ascii)
def test_an_attack_leads_to_the_start_page(attack: str) -> None:
    """CVE-2017-1000070, CVE-2020-5233, CVE-2020-11053, CVE-2020-4037, CVE-2025-64481,
    CVE-2024-21497, CVE-2024-21637 (`javascript:`), CVE-2021-29651, CVE-2020-26232, CVE-2020-26275,
    CVE-2023-39968: open redirects after login."""
    assert safe_return(attack) == "/"


async def test_no_attack_shows_in_a_page_or_a_location(home: House) -> None:
    """CVE-2021-29456, CVE-2026-33709: on the login page, and after a logout."""
    async with home.browser() as browser:
        for attack in ATTACKS:
            query = f"?rd={quote(attack, safe='')}"
            page = await browser.get(f"/.doorward/login{query}")
            assert 'action="/.doorward/login"' in page.text, attack
            out = await browser.post(f"/.doorward/logout{query}")
            assert out.headers["location"] == "/.doorward/login", attack


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/wiki/Start?action=edit&x=%2F%2Fhost#section",
        "/a//b",
        "/a%2Fb",
        "/%C3%BC",
        "/a?next=https://example.com/",
        "/a?b=..",
        "/.well-known/x",
        "/a.b/..c/...",
        "/search?q=a%20b",
        "/a;b=1",
    ],
)
async def test_a_path_of_this_host_is_kept_byte_for_byte(home: House, target: str) -> None:
    await home.add()
    async with home.browser() as browser:
        there = f"/.doorward/login?rd={quote(target, safe='')}"
        action = "/.doorward/login" if target == "/" else f"/.doorward/login?rd={quote(target)}"
        assert f'action="{action}"' in (await browser.get(there)).text
        done = await browser.post(there, data={"username": "alice", "password": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, target)


def as_browsers_read(location: str) -> str:
    """WHATWG URL 4.4: tabs and line ends vanish, backslashes are slashes, edges are trimmed."""
    trimmed = location.strip("".join(map(chr, range(0x21))))
    return re.sub(r"[\t\r\n]", "", trimmed).replace("\\", "/")


PIECES = [
    "/",
    "\\",
    "//",
    ".",
    "..",
    "%2f",
    "%5c",
    "%09",
    "%2e",
    "\t",
    "\r\n",
    " ",
    "evil.test",
    "@",
    ":",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)).map(lambda t: "/" + t))
def test_whatever_comes_out_stays_on_this_host(rd: str) -> None:
    target = safe_return(rd)
    assert target.isascii() and target.isprintable() and " " not in target
    joined = urljoin(ORIGIN, as_browsers_read(target))
    assert urlsplit(joined)._replace(path="", query="", fragment="").geturl() == ORIGIN
