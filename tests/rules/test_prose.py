"""The prose linter finds banned constructions, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import prose


def check(text: str, name: str, folder: Path) -> list[str]:
    file = folder / name
    file.write_text(text)
    return list(prose.find_faults(file))


@pytest.mark.parametrize("rule", prose.RULES)
def test_a_rule_says_what_to_write_instead(rule: str) -> None:
    assert prose.RULES[rule]


@pytest.mark.parametrize(
    "sentence",
    [
        "Whoever reaches it directly can send the same headers.",
        "A wrong change leaves all as it was and is told in the log.",
        "What becomes of guessed passwords.",
        "Certificate of listen; left out: http.",
        "An upstream certificate that nobody vouches for is refused.",
        "Headers of a trusted proxy are believed.",
        "The pool holds nothing but connections.",
        "Users sign in with their email address by email.",
        "A clock that was ahead is put right.",
        "A restart logs nobody out, and nginx checks nobody.",
        "Only super admins may do that.",
        "The route's rules go before the others.",
        "The handbook says who asks.",
        "Sessions are kept for ever, and a password travels in the clear.",
        "An attempt is counted before it is judged.",
    ],
)
def test_a_banned_sentence_is_found_in_every_kind_of_file(sentence: str, tmp_path: Path) -> None:
    assert check(f"# Title\n\n{sentence}\n", "page.md", tmp_path)
    assert check(f"# {sentence}\nlisten: x\n", "doorward.yaml", tmp_path)
    assert check(f'"""Summary.\n\n{sentence}\n"""\n', "module.py", tmp_path)
    assert check(f"x = 1  # {sentence}\n", "code.py", tmp_path)
    assert check(f'option(help="{sentence}")\n', "command.py", tmp_path)
    assert check("{% trans %}" + sentence + "{% endtrans %}\n", "page.html", tmp_path)
    assert check(f'msgid "{sentence}"\nmsgstr "…"\n', "de.po", tmp_path)


def test_code_is_not_prose(tmp_path: Path) -> None:
    text = "# Title\n\n```sh\nwhoever\n```\n\nSet `email` and [read on](whoever.md).\n"
    assert not check(text, "page.md", tmp_path)
    assert not check("email: x\n", "doorward.yaml", tmp_path)
    assert not check("believed = told = 'whoever'\n", "module.py", tmp_path)


def test_comments_may_use_ours_for_doorwards_own_parts(tmp_path: Path) -> None:
    assert not check("x = 1  # a token of ours\n", "module.py", tmp_path)


@pytest.mark.parametrize(
    "sentence",
    [
        "Run this before going to the next step.",
        "The name is meant for people, and no path is needed.",
        "Close it for good reasons only.",
        "Nothing of the head is kept.",
    ],
)
def test_a_plain_sentence_is_left_alone(sentence: str, tmp_path: Path) -> None:
    assert not check(f"{sentence}\n", "page.md", tmp_path)


def test_a_fault_says_where_it_is_and_what_to_write(tmp_path: Path) -> None:
    (fault,) = check("# Title\n\nIt stands beside the file.\n", "page.md", tmp_path)
    assert fault.endswith("page.md:3: “beside”: besides, next to, with")


def test_older_entries_of_the_changelog_stay_as_they_are(tmp_path: Path) -> None:
    text = "## [Unreleased]\n\n- Fine.\n\n## [0.1.0] - 2026-01-01\n\n- Whoever came.\n"
    assert not check(text, "CHANGELOG.md", tmp_path)
