"""The demonstration application, started as a process: what it trusts, shows and refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.support.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def guestbook() -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "doorward.cli.guestbook", "--port", "0", "--with-parent"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        address = process.stdout.readline().removeprefix("listening on ").strip()
        with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE_S) as client:
            yield client
        process.stdin.close()
        assert process.wait(timeout=PATIENCE_S) == 0, (
            "it ends when its parent's end of the pipe closes"
        )


def test_it_greets_the_user_in_its_header(guestbook: httpx.Client) -> None:
    page = guestbook.get("/", headers={"Remote-User": "alice"})
    assert page.status_code == 200
    assert "Hello, <strong>alice</strong>" in page.text
    assert 'href="/.doorward/logout"' in page.text


def test_it_greets_without_a_name_if_there_is_no_header(guestbook: httpx.Client) -> None:
    assert "No user name came with your request" in guestbook.get("/").text


def test_a_name_beyond_ascii_is_shown_decoded(guestbook: httpx.Client) -> None:
    assert "<strong>Zoë</strong>" in guestbook.get("/", headers={"Remote-User": "Zo%C3%AB"}).text


def test_a_message_is_kept_under_the_name_of_its_writer_and_escaped(
    guestbook: httpx.Client,
) -> None:
    signed = guestbook.post(
        "/", data={"message": "Tea & <b>cake</b>"}, headers={"Remote-User": "<bob>"}
    )
    assert (signed.status_code, signed.headers["location"]) == (303, "/")
    page = guestbook.get("/").text
    assert "&lt;bob&gt;" in page
    assert "Tea &amp; &lt;b&gt;cake&lt;/b&gt;" in page
    assert "<b>cake" not in page


@pytest.mark.parametrize("message", ["", "   ", "x" * 20_000])
def test_an_empty_or_huge_message_is_refused(guestbook: httpx.Client, message: str) -> None:
    assert guestbook.post("/", data={"message": message}).status_code == 400


def test_other_pages_and_methods_are_refused(guestbook: httpx.Client) -> None:
    assert guestbook.get("/nothing").status_code == 404
    refused = guestbook.delete("/")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")


def test_it_shows_the_headers_that_it_received(guestbook: httpx.Client) -> None:
    page = guestbook.get("/", headers={"Remote-Groups": "staff,<admins>"}).text
    assert "<td>Remote-Groups</td><td>staff,&lt;admins&gt;</td>" in page
