"""The links on pages with a refusal, none of which may lead to another refusal."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from tests.support.front import Build, Front
from tests.support.wire import Answer, Header

BROWSER: list[Header] = [
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-dest", b"document"),
    (b"sec-fetch-site", b"same-origin"),
]
SWITCH = "/.doorward/login?another=1&rd=/admin/%3Fa%3D1"


def links(answer: Answer) -> dict[str, str]:
    """The text and target of each link on a page."""
    found = re.findall(r'<a class="[^"]*" href="([^"]*)"[^>]*>([^<]*)</a>', answer.body.decode())
    return {unescape(words): unescape(target) for target, words in found}


async def refused(front: Front, target: str, *headers: Header, **more: Any) -> Answer:
    return await front.get(target, *BROWSER, *headers, **more)


async def test_a_user_without_access_can_log_in_as_another_user(front: Front) -> None:
    cookie = front.cookie(await front.opened())
    answer = await refused(front, "/admin/?a=1", cookie)
    assert answer.status == 403
    assert links(answer) == {"Go to the start page": "/", "Log in as someone else": SWITCH}
    page = await refused(front, SWITCH, cookie)
    assert page.status == 200 and b"or log in as someone else" in page.body
    assert b'action="/.doorward/login?rd=/admin/%3Fa%3D1"' in page.body
    program = json.loads((await front.get("/admin/?a=1", cookie)).body)
    assert set(program) == {"error", "message", "request_id"}


async def test_a_page_closed_to_everyone_does_not_offer_another_login(fronts: Build) -> None:
    front = await fronts(access={"rules": [{"path": "/never", "require": "deny"}]})
    cookie = front.cookie(await front.opened())
    for answer in (await refused(front, "/never"), await refused(front, "/never", cookie)):
        assert answer.status == 403 and b"This is closed to everyone." in answer.body
        assert links(answer) == {"Go to the start page": "/"}


RULES = {
    "all of it": [{"path": "/*", "groups": ["admins"]}],
    "the start page": [{"path": "/", "groups": ["admins"]}, {"path": "/a", "groups": ["admins"]}],
    "the rest": [{"path": "/", "require": "public"}, {"path": "/*", "groups": ["admins"]}],
    "everything, for everybody": [{"path": "/*", "require": "deny"}],
    "a factor at the start": [
        {"path": "/", "require": "two_factor"},
        {"path": "/a", "groups": ["admins"]},
    ],
    "reading": [
        {"path": "/*", "methods": ["POST"], "groups": ["admins"]},
        {"path": "/a", "groups": ["admins"]},
    ],
    "by address": [
        {"path": "/", "networks": ["127.0.0.0/8"], "groups": ["admins"]},
        {"path": "/a", "groups": ["admins"]},
    ],
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("where", ["/", "/wiki"])
async def test_no_link_on_a_refusal_page_leads_to_another_refusal(
    fronts: Build, rules: list[dict[str, Any]], where: str
) -> None:
    """403 and 404 of the gate and of Doorward's own pages, with and without a session."""
    routes = [{"path": where, "upstream": "http://127.0.0.1:9"}]
    front = await fronts(access={"rules": rules}, routes=routes)
    cookie = front.cookie(await front.opened())
    for who in ([], [cookie]):
        for target in ("/a", "/wiki/a", "/", "/.doorward/admin", "/.doorward/nothing"):
            answer = await refused(front, target, *who)
            if answer.status not in (403, 404):
                continue
            for words, way in links(answer).items():
                onward = await refused(front, way, *who)
                assert onward.status not in (403, 404), (target, words)
