"""Messages and the small paths under /.doorward/: one page for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from doorward.gate.accept import Client
from doorward.gate.client_kind import ClientKind
from doorward.gate.decision import Refuse
from doorward.pages import Pages
from doorward.pages.message import WORDS, Messages
from doorward.pages.rendering import GUARDS, PageRenderer
from doorward.settings.pages import PagesSettings
from doorward.wiring.endpoints import build_pages, build_session_service
from starlette.applications import Starlette
from starlette.responses import Response

from tests.support.house import House, text_of

message = Messages(PageRenderer(PagesSettings())).message
CLIENT = Client("192.0.2.1", "http", "wiki.test", "req-42", "test")


def render(
    status: int,
    code: str = "",
    text: str = "",
    *,
    client_kind: ClientKind = ClientKind.NAVIGATION,
    **more: Any,
) -> Response:
    return message(
        Refuse(status, code, text, **more), CLIENT, client_kind=client_kind, languages=""
    )


def text(response: Response) -> str:
    return bytes(response.body).decode()


@pytest.mark.parametrize("status", WORDS)
def test_every_status_has_a_page_with_its_request_id(status: int) -> None:
    page = render(status)
    assert page.status_code == status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert WORDS[status].title in text(page) and "req-42" in text(page)
    assert all(page.headers[name] == value for name, value in GUARDS.items())


@pytest.mark.parametrize("status", WORDS)
def test_every_status_has_a_json_object_for_programs(status: int) -> None:
    answer = render(status, client_kind=ClientKind.PROGRAM)
    assert answer.status_code == status and answer.headers["content-type"] == "application/json"
    said = json.loads(text(answer))
    assert set(said) == {"error", "message", "request_id"}
    assert said["request_id"] == "req-42" and said["error"] == WORDS[status].code
    assert answer.headers["cache-control"] == "no-store"


def test_the_caller_may_add_a_code_fields_and_headers() -> None:
    login = "/.doorward/login?rd=/a"
    lines = [(b"www-authenticate", b"Bearer"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    answer = render(
        401, client_kind=ClientKind.PROGRAM, code="expired", headers=tuple(lines), login=login
    )
    assert json.loads(text(answer))["error"] == "expired"
    assert json.loads(text(answer))["login"] == login
    assert answer.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_503_has_retry_after() -> None:
    assert render(503).headers["retry-after"] == "5"


def test_a_hostile_message_is_harmless() -> None:
    hostile = "<script>alert(1)</script>" + "😀" * 200
    page = text(render(400, hostile, hostile))
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_status_without_a_message_gets_a_page() -> None:
    assert render(418).status_code == 418


async def test_the_health_endpoint_answers_without_the_gate(home: House) -> None:
    routes = _bare(home).routes()
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://whatever") as bare:
        answer = await bare.get("/.doorward/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"
        assert (await bare.head("/.doorward/healthz")).status_code == 200
        assert (await bare.post("/.doorward/healthz")).status_code == 405


def _bare(home: House) -> Pages:
    service = build_session_service(
        home.settings,
        home.accounts,
        None,  # type: ignore[arg-type]
        home.cookies,
        home.clock,
    )
    return build_pages(home.settings, home.accounts, service, None)  # type: ignore[arg-type]


UNKNOWN = [
    "account/",
    "accounts",
    "",
    "x/y",
    "login/",
    "LOGIN",
    "verify",
    "jwks.json",
    "static/",
    "%2e%2e/x",
]


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND"])
async def test_unknown_internal_paths_are_404(home: House, name: str, method: str) -> None:
    async with home.browser() as browser, home.program() as program:
        page = await browser.request(method, f"/.doorward/{name}")
        assert page.status_code == 404 and "There is nothing here" in text_of(page)
        answer = await program.request(method, f"/.doorward/{name}")
        assert answer.status_code == 404 and answer.json()["error"] == "not_found"


@pytest.mark.parametrize("path", ["login", "logout", "healthz"])
async def test_other_methods_are_405_with_the_allowed_ones(home: House, path: str) -> None:
    async with home.program() as program:
        answer = await program.delete(f"/.doorward/{path}")
        assert answer.status_code == 405 and "GET" in answer.headers["allow"]
        assert answer.json()["error"] == "method_not_allowed"
        options = await program.options(f"/.doorward/{path}")
        assert options.status_code == 204 and "GET" in options.headers["allow"]
