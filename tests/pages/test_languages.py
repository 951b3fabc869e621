"""Every sentence of the pages is in every catalogue, and browsers get the language that they
prefer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from babel import Locale
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from doorward.accounts.refusals import Refusal
from doorward.gate import decision
from doorward.gate.decision import Refuse
from doorward.pages.languages import LOCALE, Languages, LocalePhrases, UnusableCatalogue
from doorward.pages.rendering import PageRenderer
from doorward.pages.time_phrases import SHIPPED
from doorward.settings import InvalidSettings
from doorward.settings.pages import PagesSettings
from doorward.upstream.failures import UpstreamFailure

from tests.support.house import House, house, text_of

PAGES = Path(__file__).parents[2] / "proxy" / "doorward" / "pages"
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2.ext:babel_extract")]
OPTIONS = {"**/templates/**.html": {"trimmed": "true", "newstyle_gettext": "true"}}
# Refusals that no page shows, only dialects and commands.
ELSEWHERE = {
    "This is not allowed.",
    "This user is banned.",
    "This user's password does not have to be changed.",
    "This user does not have permission to do this.",
    "There is no such user.",
    "This is not an authenticator secret: base32 of at least 112 bits.",
    "Doorward cannot verify this kind of password hash.",
    "No authenticator app is set up.",
    "There is no such session.",
    "A second factor is required.",
    "The password is too short.",
}
AMBIGUOUS = decision.bad_request("reason").message  # the reason is a term of HTTP, in English


def refusals(root: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    yield root
    for one in root.__subclasses__():
        if one.__module__ == Refusal.__module__:
            yield from refusals(one)


def failures(root: type[UpstreamFailure] = UpstreamFailure) -> Iterator[type[UpstreamFailure]]:
    yield root
    for one in root.__subclasses__():
        if one.__module__.startswith("doorward."):
            yield from failures(one)


def decisions() -> Iterator[Refuse]:
    """A refusal of each kind that the gate knows."""
    values = {bytes: b"/", bool: False, int: 1, str: "reason"}
    for make in vars(decision).values():
        if inspect.isfunction(make) and get_type_hints(make).get("return") is Refuse:
            hints, given = get_type_hints(make), inspect.signature(make).parameters.values()
            needed = [one.name for one in given if one.default is one.empty]
            yield make(*(values[hints[name]] for name in needed))


def refused() -> set[str]:
    """What pages say about requests that are not forwarded or not answered."""
    gate = {one.message for one in decisions() if one.message != AMBIGUOUS}
    return gate | {one.message for one in failures()}


def sentences() -> set[str]:
    """All sentences of the pages, in English."""
    found = extract_from_dir(
        PAGES,
        METHODS,
        OPTIONS,
        keywords={"N_": None, "_": None, "gettext": None, "ngettext": (1, 2)},
    )
    said = {id if isinstance(id, str) else id[0] for _, _, id, _, _ in found}
    return said | refused() | ({refusal.message for refusal in refusals()} - ELSEWHERE)


def test_a_time_in_a_shipped_language_is_worded_as_in_the_cldr() -> None:
    assert set(SHIPPED) == {"en", *(path.stem for path in LOCALE.glob("*.po"))}
    moments = {unit * n / 20 for unit in (1, 60, 3600, 86400, 604800, 2592000) for n in range(1250)}
    for code, phrases in SHIPPED.items():
        judge = LocalePhrases(locale := Locale.parse(code))
        assert locale.text_direction == "ltr"
        for seconds in sorted(one for one in moments if one >= 1):
            assert phrases.span(seconds) == judge.span(seconds)
            assert phrases.in_future(seconds) == judge.in_future(seconds)
            assert phrases.in_past(seconds) == judge.in_past(seconds)


def test_the_sentences_are_found() -> None:
    found = sentences()
    assert {"Log in", "Try again", "The code is not right."} <= found
    assert "to continue to %(host)s" in found
    assert "This is closed to everyone." in found
    assert "The application behind this address cannot be reached." in found
    assert "Doorward could not log you in to the application behind this address." in found


@pytest.mark.parametrize("path", sorted(LOCALE.glob("*.po")), ids=lambda path: path.stem)
def test_every_shipped_catalogue_is_complete(path: Path) -> None:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.stem, abort_invalid=True)
    messages = {m.id if isinstance(m.id, str) else m.id[0]: m for m in catalogue if m.id}
    assert sentences() - messages.keys() == set(), "not translated"
    assert messages.keys() - sentences() == set(), "nobody says this"
    for sentence, message in messages.items():
        forms = [message.string] if isinstance(message.string, str) else message.string
        assert forms and all(forms) and not message.fuzzy, sentence
        named = set(re.findall(r"%\(\w+\)s", sentence))
        assert all(set(re.findall(r"%\(\w+\)s", form)) == named for form in forms), sentence


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr, de;q=0.5, en;q=0.4", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("DE", "de"),
        ("de;q=0, en", "en"),
        ("fr", "en"),
        ("*", "en"),
        ("", "en"),
        (None, "en"),
        ("de;q=x", "en"),
        (",;=-,,", "en"),
        ("../../etc/passwd", "en"),
        ("fr," * 5000 + "de", "en"),
    ],
)
def test_a_browser_gets_the_language_it_asks_for(asked: str | None, given: str) -> None:
    assert Languages().of(asked).code == given


def test_a_configured_language_applies_to_every_browser() -> None:
    assert Languages("de").of("en").code == "de"


def test_a_catalogue_can_be_added_or_overridden(tmp_path: Path) -> None:
    head = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
    (tmp_path / "fr.po").write_text(head + 'msgid "Log in"\nmsgstr "Connexion"\n')
    (tmp_path / "de.po").write_text(head + 'msgid "Log in"\nmsgstr "Servus"\n')
    languages = Languages(folder=tmp_path)
    assert languages.of("fr-CA").say("Log in") == "Connexion"
    assert languages.of("fr").say("Password") == "Password"
    assert languages.of("de").say("Log in") == "Servus"
    assert languages.of("de").say("Password") == "Passwort"
    assert Languages("fr", tmp_path).of("de").code == "fr"


def test_an_unusable_catalogue_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnusableCatalogue, match=r"fr\.po"):
        Languages("fr")
    with pytest.raises(InvalidSettings, match=r"pages\.language"):
        PageRenderer(PagesSettings(language="xx"))
    with pytest.raises(UnusableCatalogue, match="not a folder"):
        Languages(folder=tmp_path / "nowhere")
    (tmp_path / "nonsense.po").write_text("")
    with pytest.raises(UnusableCatalogue, match="nonsense"):
        Languages(folder=tmp_path)
    (tmp_path / "nonsense.po").rename(tmp_path / "fr.po")
    (tmp_path / "fr.po").write_text('msgid "half\n')
    with pytest.raises(UnusableCatalogue, match=r"fr\.po"):
        Languages(folder=tmp_path)


async def test_pages_speak_german_and_programs_english(home: House) -> None:
    async with home.browser(accept_language="de-DE,de;q=0.9") as browser:
        page = await browser.get("/.doorward/login")
        assert '<html lang="de" dir="ltr">' in page.text and "angemeldet bleiben" in text_of(page)
        wrong = await browser.post("/.doorward/login", data={"username": "a", "password": "b"})
        assert "Der Name oder das Passwort stimmt nicht." in text_of(wrong)
        assert "Hier ist nichts" in text_of(await browser.get("/.doorward/nothing"))
    async with home.program(accept_language="de") as program:
        answer = await program.get("/.doorward/nothing")
        assert answer.json()["message"] == "Check the address for typing errors."


async def test_name_logo_and_accent_of_the_pages_can_be_set(tmp_path: Path) -> None:
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    look = {
        "name": "Wiki of <Ada>",
        "logo": str(logo),
        "accent": "#ffee00",
        "language": "de",
        "welcome": "Willkommen & <b>hallo</b>",
        "help": "Fragen? Zimmer 12.",
    }
    async with house(tmp_path / "data", pages=look) as home, home.browser() as browser:
        page = await browser.get("/.doorward/login")
        assert "Wiki of &lt;Ada&gt;" in page.text and "<b>hallo" not in page.text
        assert "Willkommen &amp; &lt;b&gt;hallo" in page.text and "Fragen? Zimmer 12." in page.text
        found = re.search(r'src="(/\.doorward/static/logo\.\w+\.svg)"', page.text)
        assert found is not None
        image = await browser.get(found[1])
        assert image.headers["content-type"] == "image/svg+xml"
        assert "sandbox" in image.headers["content-security-policy"]
        sheet = re.search(r'href="(/\.doorward/static/doorward\.\w+\.css)"', page.text)
        assert sheet is not None
        assert "--accent:" in (await browser.get(sheet[1])).text.partition("forced-colors")[2]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"GIF89a", "not one of"), (b"<" * 70_000, "larger"), (None, "read")]
)
def test_an_unusable_logo_is_reported(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "logo"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidSettings, match=reason):
        PageRenderer(PagesSettings(logo=str(path)))  # type: ignore[arg-type]
