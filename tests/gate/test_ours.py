"""How paths of ours answer, and that none of them is ever an application's."""

from __future__ import annotations

from typing import Any

import pytest
from doorward.gate.accept import Client
from doorward.gate.ours import (
    BODY_LIMIT_BYTES,
    BodyTooLarge,
    body,
    endpoint,
    navigates,
    ours_of,
    same_origin,
)
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Router

from tests.fakes import Answer, Header, ask, scope
from tests.gate.conftest import Front


async def told(request: Request) -> Response:
    try:
        return PlainTextResponse(str(len(await body(request))))
    except BodyTooLarge:
        return PlainTextResponse("too large", 413)


APP = Router(
    [endpoint("/read", get=told), endpoint("/write", post=told, delete=told)],
    redirect_slashes=False,
)


async def asked(method: str, path: str, *pieces: bytes, headers: Any = ()) -> Answer:
    return await ask(APP, scope(path, [(b"host", b"app.test"), *headers], method), *pieces)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/read", 200, b""),
        ("HEAD", "/read", 200, b""),
        ("OPTIONS", "/read", 204, b"GET, HEAD, OPTIONS"),
        ("POST", "/read", 405, b"GET, HEAD, OPTIONS"),
        ("PROPFIND", "/read", 405, b"GET, HEAD, OPTIONS"),
        ("get", "/read", 405, b"GET, HEAD, OPTIONS"),
        ("GET", "/write", 405, b"POST, DELETE, OPTIONS"),
        ("DELETE", "/write", 200, b""),
        ("GET", "/read/", 404, b""),
        ("GET", "/Read", 404, b""),
    ],
)
async def test_an_endpoint_answers_every_method_itself(
    method: str, path: str, status: int, allow: bytes
) -> None:
    answer = await asked(method, path)
    assert (answer.status, b"".join(answer.values(b"allow"))) == (status, allow)


PATHS = ["/.doorward/login", "/.doorward/nothing", "/.doorward/", "/xhr/login", "/xhr/session"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "TRACE", "PROPFIND", "login"])
async def test_no_path_of_ours_reaches_an_upstream(front: Front, path: str, method: str) -> None:
    """CVE-2024-21500, CVE-2022-46145: a flow that can be walked around by another method."""
    session = front.cookie(await front.opened())
    assert (await front.get(path, session, method=method)).status != 502
    assert front.origin.heads == []


async def test_health_is_told_under_any_host_and_nothing_else_is(fronts: Any, origin: Any) -> None:
    """CVE-2022-24797: other handlers on the public listener."""
    front = await fronts(routes=[{"host": "wiki.test", "upstream": origin.url}])
    for headers in ([], [(b"host", b"10.0.0.1")], [(b"host", b"???")]):
        assert (await ask(front.app, scope("/.doorward/healthz", headers))).status == 200
    assert (await front.get("/")).status == 421
    assert (await front.get("/.doorward/login")).status == 421
    for path in ("/metrics", "/readyz", "/healthz"):
        answer = await ask(front.app, scope(path, [(b"host", b"wiki.test")]))
        assert answer.status == 401


async def test_a_body_is_kept_up_to_its_bound() -> None:
    half = b"x" * (BODY_LIMIT_BYTES // 2)
    assert (await asked("POST", "/write", half, half)).body == b"%d" % BODY_LIMIT_BYTES
    assert (await asked("POST", "/write", half, half, b"x")).status == 413


@pytest.mark.parametrize("length", [b"65537", b"9" * 5000])
async def test_a_body_that_says_it_is_too_large_is_not_read(length: bytes) -> None:
    said = [(b"content-length", length)]
    assert (await asked("POST", "/write", b"", headers=said)).status == 413


@pytest.mark.parametrize("length", [b"-1", b"x", b"\xb2", b"", b"0x5"])
async def test_a_length_that_is_none_is_no_error(length: bytes) -> None:
    said = [(b"content-length", length)]
    assert (await asked("POST", "/write", b"abc", headers=said)).body == b"3"


def request(*headers: Header) -> Request:
    made = scope("/", [(b"host", b"app.test"), *headers])
    client = Client("192.0.2.1", "http", "app.test", "id", "")
    return Request({**made, "state": {"client": client}})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], True),
        ([(b"sec-fetch-site", b"same-origin")], True),
        ([(b"sec-fetch-site", b"none")], True),
        ([(b"sec-fetch-site", b"same-site")], False),
        ([(b"sec-fetch-site", b"cross-site")], False),
        ([(b"sec-fetch-site", b"")], False),
        ([(b"sec-fetch-site", b"cross-site"), (b"origin", b"http://app.test")], False),
        ([(b"origin", b"http://app.test")], True),
        ([(b"origin", b"HTTP://APP.test")], True),
        ([(b"origin", b"https://public.test")], True),
        ([(b"origin", b"https://app.test")], False),
        ([(b"origin", b"http://app.test.evil.test")], False),
        ([(b"origin", b"http://evil-app.test")], False),
        ([(b"origin", b"http://app.test:8080")], False),
        ([(b"origin", b"null")], False),
        ([(b"origin", b"")], False),
        ([(b"origin", b"http://app.test"), (b"origin", b"http://evil.test")], False),
    ],
)
def test_what_another_site_sends_is_known_by_its_origin(
    headers: list[Header], expected: bool
) -> None:
    """CVE-2017-1000069, CVE-2026-27589, CVE-2021-41247: no protection from cross-site posting;
    CVE-2026-40110: an origin matched with an unanchored pattern."""
    assert same_origin(request(*headers), "https://public.test") is expected


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", [(b"accept", b"text/html,*/*")], True),
        ("HEAD", [(b"accept", b"TEXT/HTML")], True),
        ("POST", [(b"accept", b"text/html")], False),
        ("GET", [(b"accept", b"*/*")], False),
        ("GET", [], False),
        ("GET", [(b"sec-fetch-mode", b"navigate")], True),
        ("GET", [(b"accept", b"text/html"), (b"sec-fetch-mode", b"cors")], False),
        ("GET", [(b"accept", b"application/json"), (b"accept", b"text/html")], True),
    ],
)
def test_who_is_a_person_moving_to_a_page(
    method: str, headers: list[Header], expected: bool
) -> None:
    assert navigates(method, headers) is expected


def test_a_raw_path_is_ours_exactly_as_the_router_would_say() -> None:
    routes = [endpoint("/a", get=told), endpoint("/u/{name}/x", get=told)]
    is_ours = ours_of(routes)
    for path in (b"/a", b"/u/alice/x", b"/.doorward/", b"/.doorward/whatever"):
        assert is_ours(path)
    for path in (b"/", b"/a/", b"/A", b"/u/alice", b"/u//x", b"/u/a/b/x", b"/.doorward", b"/x/a"):
        assert not is_ours(path)
