"""The script that applications include to warn users before their session ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from doorward.pages.expiry_script import OVER, SOON, write_script
from doorward.pages.languages import Languages

from tests.support.house import House, house

KIB = 1024


@pytest.mark.parametrize("language", Languages().known.values(), ids=lambda one: one.code)
def test_it_stays_below_a_kibibyte_in_every_language(language: object) -> None:
    text = write_script(language)  # type: ignore[arg-type]
    assert len(text) <= KIB
    assert b"//" not in text and b"SOON" not in text and b"OVER" not in text


async def test_it_is_served_in_the_language_that_the_browser_asks_for(home: House) -> None:
    async with home.browser() as browser:
        for asked, said in (("en", SOON), ("de-AT", "Ihre Sitzung endet bald.")):
            answer = await browser.get("/.doorward/session.js", headers={"accept-language": asked})
            assert answer.status_code == 200 and said in answer.text
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            assert answer.headers["vary"] == "Accept-Language"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in answer.headers
        assert (await browser.post("/.doorward/session.js")).status_code == 405


async def test_a_translation_cannot_break_out_of_its_string(tmp_path: Path) -> None:
    """A translation with quotes or line breaks stays within its string."""
    folder = tmp_path / "words"
    folder.mkdir()
    odd = 'a"\\n;alert(1)//'
    (folder / "en.po").write_text(
        'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        f'msgid "{OVER}"\nmsgstr "{odd.replace(chr(34), chr(92) + chr(34))}"\n'
    )
    async with house(tmp_path, pages={"translations": str(folder)}) as home:
        async with home.browser() as browser:
            text = (await browser.get("/.doorward/session.js")).text
    assert '"a\\"\\n;alert(1)//"' in text
