"""The answers of Doorward's own paths, which are never forwarded to an application."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from doorward.web.endpoint import (
    BODY_LIMIT_BYTES,
    BodyTooLarge,
    Endpoint,
    body,
    endpoint,
    internal_paths,
)
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Router
from structlog.testing import capture_logs

from tests.support.asgi import ask, leave, scope
from tests.support.front import Front
from tests.support.house import house
from tests.support.wire import Answer


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
async def test_internal_paths_never_reach_an_upstream(front: Front, path: str, method: str) -> None:
    """CVE-2024-21500, CVE-2022-46145: another method bypassed a flow."""
    session = front.cookie(await front.opened())
    assert (await front.get(path, session, method=method)).status != 502
    assert front.origin.heads == []


async def test_only_health_is_served_under_any_host(fronts: Any, origin: Any) -> None:
    """CVE-2022-24797: other handlers were on the public listener."""
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


OFF = {"rate_limit": "off"}
EVERYTHING = {
    "dialects": {"xhr": {}, "alekeagle": OFF, "datepoll": {}, "rocketchat": OFF},
    "api": {"enabled": True},
}
BODY_KINDS = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]


@pytest.mark.parametrize("kind", BODY_KINDS)
@pytest.mark.parametrize("is_known", [False, True], ids=["stranger", "administrator"])
async def test_a_client_that_leaves_during_its_body_is_no_error(
    tmp_path: Path, kind: str, is_known: bool
) -> None:
    """Strangers could fill the log with tracebacks, one for each connection that they cut."""
    async with house(tmp_path, **EVERYTHING) as home:
        await home.add("alice", super_admin=True)
        lines = [(b"host", b"wiki.test"), (b"sec-fetch-site", b"same-origin")]
        lines += [(b"content-type", kind.encode()), (b"content-length", b"100")]
        if is_known:
            lines.append((b"cookie", home.cookie(await home.opened()).encode()))
        statuses = {}
        with capture_logs() as logged:
            for route in (route for route in home.routes if isinstance(route, Endpoint)):
                target = re.sub(r"{[^}]*}", "1", route.path)
                for method in set(route.answered) - {"GET", "HEAD"}:
                    asked = scope(target, lines, method)
                    statuses[target, method] = (await leave(home.app, asked, b"{")).status
        assert [line for line in logged if line["log_level"] == "error"] == []
        assert 500 not in statuses.values()
        assert statuses["/xhr/login", "POST"] == 408 or kind != "application/json"


@pytest.mark.parametrize("length", [b"-1", b"x", b"\xb2", b"", b"0x5"])
async def test_an_invalid_content_length_is_ignored(length: bytes) -> None:
    said = [(b"content-length", length)]
    assert (await asked("POST", "/write", b"abc", headers=said)).body == b"3"


def test_internal_paths_agree_with_the_router() -> None:
    routes = [endpoint("/a", get=told), endpoint("/u/{name}/x", get=told)]
    is_internal = internal_paths(routes)
    for path in (b"/a", b"/u/alice/x", b"/.doorward/", b"/.doorward/whatever"):
        assert is_internal(path)
    for path in (b"/", b"/a/", b"/A", b"/u/alice", b"/u//x", b"/u/a/b/x", b"/.doorward", b"/x/a"):
        assert not is_internal(path)
