"""Forward-auth: which request a front proxy asks about, and the answer."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.users.editing import Edit
from doorward.gate.decision import Forward
from doorward.gate.front_proxies import ANY, ENVOY, FRONT_PROXIES
from doorward.gate.gate import Gate
from doorward.gate.verification import Verifications
from doorward.http1.response_head import ResponseHead
from doorward.observe.logs import output
from doorward.rewrite.verification_head import VerificationHeads
from doorward.settings import settings_from
from structlog.testing import capture_logs

from tests.support.asgi import ask, scope
from tests.support.corpora import corpus
from tests.support.front import Build, Front
from tests.support.verifying import (
    FORWARD_AUTH,
    NAVIGATES,
    PROXY,
    SITE,
    forwarded,
    original,
    verify,
    verifying,
)
from tests.support.wire import Header

# The headers that describe the request, for each endpoint.
ENDPOINTS = ("", *(f"/{front.name}" for front in FRONT_PROXIES), "/envoy")


@pytest.fixture
async def front(fronts: Build) -> Front:
    return await verifying(fronts)


every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)


# Allowed


@every_endpoint
async def test_a_session_is_let_through_with_the_headers_of_its_route(
    front: Front, endpoint: str
) -> None:
    opened = await front.opened(groups=("staff", "admins"))
    answer = await verify(front, endpoint, front.cookie(opened), target="/admin/x?y=1")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.values(b"remote-user") == [b"alice"]
    assert answer.values(b"remote-groups") == [b"staff,admins"]
    assert answer.values(b"remote-name") == answer.values(b"remote-email") == [b""]
    assert answer.values(b"content-length") == [b"0"]
    assert answer.values(b"cache-control") == [b"no-store"]
    assert front.origin.heads == []


@every_endpoint
async def test_a_public_request_without_a_session_has_every_header_empty(
    front: Front, endpoint: str
) -> None:
    """CVE-2026-30851: a front proxy kept the client's header if the answer had none."""
    answer = await verify(front, endpoint, (b"remote-user", b"admin"), target="/public/x")
    assert answer.status == 200
    for name in (b"remote-user", b"remote-groups", b"remote-name", b"remote-email"):
        assert answer.values(name) == [b""]


async def test_a_route_without_an_assertion_sends_an_empty_one(fronts: Build) -> None:
    routes = [{"assertion": {"audience": "wiki"}}, {"path": "/none", "identity": "none"}]
    settings = settings_from({"routes": routes, "forward_auth": FORWARD_AUTH})
    heads = VerificationHeads(settings.routes)
    assert b"\r\nX-Doorward-Assertion: \r\n" in heads.make(Forward(0, None), ANY, 0.0).text


async def test_every_answer_has_the_headers_of_all_routes(
    fronts: Build,
) -> None:
    routes = [
        {"host": "app.example.com"},
        {"host": "*.sister.test", "identity": ["x-forwarded", "x-remote"]},
    ]
    front = await verifying(fronts, routes=routes)
    cookie = front.cookie(await front.opened(groups=("a", "b")))
    here = await verify(front, "", cookie)
    there = await verify(front, "", cookie, host="wiki.sister.test")
    assert here.values(b"remote-user") == there.values(b"x-forwarded-user") == [b"alice"]
    assert here.values(b"x-forwarded-user") == there.values(b"remote-user") == [b""]
    assert there.values(b"x-remote-group") == [b"a", b"b"]
    assert here.values(b"x-remote-group") == [b""]


async def test_identity_headers_are_built_once_per_session_and_route(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    of_lines = ResponseHead.of_lines

    def count(status: int, *args: Any, **more: Any) -> ResponseHead:
        made.append(status)
        return of_lines(status, *args, **more)

    monkeypatch.setattr(ResponseHead, "of_lines", count)
    cookie = front.cookie(await front.opened())
    for number in range(5):
        answer = await verify(front, "", cookie, target=f"/{number}")
        assert answer.values(b"remote-user") == [b"alice"]
    assert made == [200]


async def test_a_change_to_the_user_applies_to_the_next_answer(front: Front) -> None:
    opened = await front.opened()
    assert (await verify(front, "", front.cookie(opened), target="/admin/")).status == 403
    edit = Edit(add_groups=("admins",))
    await front.accounts.users.edit("alice", edit, front.clock(), actor=OWNER)
    answer = await verify(front, "", front.cookie(opened), target="/admin/")
    assert (answer.status, answer.values(b"remote-groups")) == (200, [b"admins"])


# Refused


@every_endpoint
async def test_a_client_without_a_session_gets_the_login_address(
    front: Front, endpoint: str
) -> None:
    answer = await verify(front, endpoint, target="/a?b=c&d=1")
    login = "https://auth.example.com/.doorward/login?rd=" + quote(f"https://{SITE}", safe="")
    login += "/a%3Fb%3Dc%26d%3D1"
    assert answer.status == 401
    assert answer.values(b"x-doorward-location") == [login.encode()]
    assert answer.values(b"location") == [login.encode()]
    assert answer.values(b"www-authenticate") == [b'Bearer realm="doorward"']
    assert json.loads(answer.body)["login"] == login


@every_endpoint
async def test_a_navigation_is_redirected_if_the_front_proxy_supports_it(
    front: Front, endpoint: str
) -> None:
    answer = await verify(front, endpoint, *NAVIGATES)
    redirects = endpoint not in ("", "/nginx")
    assert answer.status == (303 if redirects else 401)
    assert answer.values(b"location")[0].startswith(b"https://auth.example.com/.doorward/login?")
    assert answer.values(b"x-doorward-location") == answer.values(b"location")


async def test_a_form_is_not_redirected(front: Front) -> None:
    """The form would be lost. The page links back to the form's page."""
    came = (b"referer", f"https://{SITE}/page?x".encode())
    answer = await verify(front, "/traefik", *NAVIGATES, came, method="POST", target="/save")
    assert answer.status == 401
    rd = quote(f"https://{SITE}", safe="") + "/page%3Fx"
    assert answer.values(b"location")[0].endswith(f"?rd={rd}".encode())
    assert b"<html" in answer.body


async def test_on_the_portals_host_the_return_address_is_a_path(fronts: Build) -> None:
    front = await verifying(fronts, forward_auth={"hosts": [SITE], "portal": f"https://{SITE}"})
    answer = await verify(front, "", target="/a")
    assert answer.values(b"location") == [f"https://{SITE}/.doorward/login?rd=/a".encode()]


@every_endpoint
async def test_a_user_without_access_gets_a_message(front: Front, endpoint: str) -> None:
    cookie = front.cookie(await front.opened())
    answer = await verify(front, endpoint, cookie, target="/admin/")
    assert answer.status == 403
    assert answer.values(b"remote-user") == answer.values(b"location") == []


async def test_a_second_factor_is_asked_for_at_the_portal(front: Front) -> None:
    cookie = front.cookie(await front.opened())
    answer = await verify(front, "/traefik", cookie, *NAVIGATES, target="/second/")
    assert answer.status == 303
    assert b"https://auth.example.com/.doorward/second-factor?rd=" in answer.values(b"location")[0]


@pytest.mark.parametrize("endpoint", ["", "/nginx"])
@pytest.mark.parametrize(
    "target", ["/a/../public/", "/public%2f..%2fadmin/x", "/%", "/public/\x01"]
)
async def test_an_ambiguous_path_gets_a_status_that_nginx_accepts(
    front: Front, endpoint: str, target: str
) -> None:
    cookie = front.cookie(await front.opened())
    answer = await verify(front, endpoint, cookie, target=target)
    assert answer.status in (400, 401, 403)
    assert answer.values(b"remote-user") == []


async def test_an_error_refuses_the_request_with_503(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2021-32637: an error on the way made the endpoint answer 200."""

    def fail(*anything: object) -> None:
        raise ZeroDivisionError

    cookie = front.cookie(await front.opened())
    for where, step in ((Gate, "_judge"), (Gate, "_locate"), (Verifications, "_read")):
        with monkeypatch.context() as patch:
            patch.setattr(where, step, fail)
            for path in ("/", "/public/"):
                answer = await verify(front, "", cookie, target=path)
                assert answer.status == 503
                assert answer.values(b"remote-user") == []


# The request in question


async def test_rules_see_the_named_method_and_client(front: Front) -> None:
    for endpoint in ENDPOINTS:
        assert (await verify(front, endpoint, target="/write/", method="HEAD")).status == 200
        assert (await verify(front, endpoint, target="/write/", method="POST")).status == 401
        inside = await verify(front, endpoint, target="/inside/", client="192.168.1.1")
        outside = await verify(front, endpoint, target="/inside/", client="192.168.1.1, 192.0.2.1")
        assert (inside.status, outside.status) == (200, 401)


NOT_NAMED: list[list[Header]] = [
    [],
    *([line for line in forwarded() if line[0] != name] for name, _ in forwarded()),
    *([line for line in original() if line[0] != name] for name, _ in original()),
    [(b"x-original-method", b"GET"), (b"x-original-url", b"/public/")],
    [(b"x-original-method", b"GET"), (b"x-original-url", b"ftp://app.example.com/public/")],
    [(b"x-original-method", b"GET"), (b"x-original-url", b"https://app.example.com")],
    [(b"x-original-method", b"GET"), (b"x-original-url", b"https://u@app.example.com/public/")],
    [(b"x-original-method", b"GET"), (b"x-original-url", b"https://app.example.com\\@x/public/")],
    forwarded(target="public/"),
    forwarded(target="https://app.example.com/public/"),
    forwarded(scheme="gopher"),
    forwarded(method="G T"),
    forwarded(host="app.example.com/x"),
]


@pytest.mark.parametrize("named", NOT_NAMED, ids=repr)
async def test_a_verification_that_names_no_request_is_refused(
    front: Front, named: list[Header]
) -> None:
    cookie = front.cookie(await front.opened())
    for endpoint in ("", "/traefik", "/caddy", "/nginx", "/haproxy"):
        lines = [(b"host", SITE.encode()), (b"x-forwarded-for", b"203.0.113.9"), *named, cookie]
        answer = await ask(front.app, scope(f"/.doorward/verify{endpoint}", lines, peer=PROXY))
        assert answer.status == 400, endpoint
        assert answer.values(b"remote-user") == []


TWICE: list[list[Header]] = [
    [*forwarded(), (b"x-forwarded-uri", b"/public/")],
    [*forwarded(), (b"X-Forwarded-Uri", b"/public/")],
    [*forwarded(), (b"x-forwarded-method", b"HEAD")],
    [*forwarded(), (b"x-forwarded-host", b"wiki.sister.test")],
    [*forwarded(), (b"x-forwarded-proto", b"http")],
    [*forwarded(), *original(target="/public/")],
    [*forwarded(), *original(host="wiki.sister.test")],
    [*forwarded(), *original(scheme="http")],
    [*forwarded(), *original(method="POST")],
    [*original(), (b"x-original-url", b"https://app.example.com/public/")],
    [*original(), (b"x-original-method", b"HEAD")],
    [*original(), *forwarded(target="/public/")],
    [*original(), (b"x-forwarded-uri", b"/public/")],
    [*original(), (b"x-forwarded-host", b"wiki.sister.test")],
    [*original(), (b"x-forwarded-method", b"HEAD")],
    [*original(), (b"x-forwarded-proto", b"http")],
]


@pytest.mark.parametrize("named", TWICE, ids=repr)
async def test_a_verification_that_names_two_requests_is_refused(
    front: Front, named: list[Header]
) -> None:
    """GHSA-5wcc-hf24-rf5h, CVE-2026-40575: a client's own header next to the front proxy's."""
    cookie = front.cookie(await front.opened())
    for endpoint in ("", "/traefik", "/caddy", "/nginx", "/haproxy"):
        lines = [(b"host", SITE.encode()), (b"x-forwarded-for", b"203.0.113.9"), *named, cookie]
        answer = await ask(front.app, scope(f"/.doorward/verify{endpoint}", lines, peer=PROXY))
        assert answer.status == 400, endpoint


@every_endpoint
async def test_a_verification_without_a_client_is_refused(front: Front, endpoint: str) -> None:
    """A rule for a network must not be applied to the address of the front proxy."""
    answer = await verify(front, endpoint, target="/public/", client="")
    assert answer.status == 400


@pytest.mark.parametrize("client", [" ", "unknown", "unix:", "203.0.113.9, ", "203.0.113.9, _x"])
@every_endpoint
async def test_a_verification_whose_client_has_no_address_is_refused(
    fronts: Build, endpoint: str, client: str
) -> None:
    """Otherwise the front proxy's own address would be used (CVE-2024-47070)."""
    rules = [{"path": "/*", "networks": [f"{PROXY}/32"], "require": "public"}]
    front = await verifying(fronts, access={"rules": rules})
    answer = await verify(front, endpoint, target="/inside/x", client=client)
    assert answer.status == 400


@every_endpoint
async def test_only_a_trusted_proxy_may_ask(front: Front, endpoint: str) -> None:
    cookie = front.cookie(await front.opened())
    with capture_logs() as lines:
        for target in ("/", "/public/"):
            answer = await verify(front, endpoint, cookie, target=target, peer="192.0.2.66")
            assert answer.status == 401
            assert answer.values(b"remote-user") == []
    (told,) = (line for line in lines if line["event"] == "verification_refused")
    assert (told["peer"], told["setting"]) == ("192.0.2.66", "trusted_proxies")


@pytest.mark.parametrize(
    "host", ["other.test", "sister.test", "badapp.example.com", "x.app.example.com"]
)
async def test_an_unlisted_host_is_refused(front: Front, host: str) -> None:
    """CVE-2021-21291, CVE-2026-77560: unknown hosts were allowed."""
    answer = await verify(front, "", target="/public/", host=host)
    assert answer.status == 403


@pytest.mark.parametrize("host", ["APP.example.com", "app.example.com.", "Wiki.Sister.Test:8443"])
async def test_hosts_are_compared_as_names(front: Front, host: str) -> None:
    """CVE-2026-48794."""
    assert (await verify(front, "", target="/public/", host=host)).status == 200


async def test_a_path_is_verified_as_it_is_proxied(fronts: Build, tmp_path: Path) -> None:
    """CVE-2023-33189: the path was matched again, in a different way."""
    access = {"rules": [{"path": "/public/*", "require": "public"}]}
    front = await verifying(fronts, access=access, routes=[{"upstream": "http://127.0.0.1:9"}])
    paths = [*corpus("paths_refused.txt"), *corpus("paths_with_two_readings.txt")]
    paths += corpus("paths_forwarded.txt")
    for path in paths:
        proxied = await ask(front.app, scope(path))
        lines = [(b"host", b"d"), (b"x-forwarded-for", b"192.0.2.1")]
        lines += [line for line in forwarded() if line[0] != b"x-forwarded-uri"]
        lines.append((b"x-forwarded-uri", path))
        asked = scope("/.doorward/verify/traefik", lines, peer=PROXY)
        verified = await ask(front.app, asked)
        if proxied.status in (502, 503):  # it was allowed
            assert verified.status == 200, path
        else:
            assert verified.status == proxied.status, path


async def test_a_websocket_of_another_sites_page_is_refused(front: Front) -> None:
    """RFC 6455 10.2: browsers send the cookie for any page."""
    cookie = front.cookie(await front.opened())
    key = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
    own = (b"origin", f"https://{SITE}".encode())
    assert (await verify(front, "", cookie, key, own)).status == 200
    assert (await verify(front, "", cookie, key)).status == 200
    foreign = await verify(front, "", cookie, key, (b"origin", b"https://evil.test"))
    assert foreign.status == 403
    assert (await verify(front, "", cookie, (b"origin", b"https://evil.test"))).status == 200


async def test_a_websocket_over_http2_is_recognized(front: Front) -> None:
    """Over HTTP/2 a browser sends no Sec-WebSocket-Key (RFC 8441 5), and a front proxy that asks
    before it translates the request has none to pass on."""
    cookie = front.cookie(await front.opened())
    version = (b"sec-websocket-version", b"13")
    own, foreign = (b"origin", f"https://{SITE}".encode()), (b"origin", b"https://evil.test")
    for front_proxy in ("", "/nginx", "/traefik", "/caddy", "/haproxy"):
        assert (await verify(front, front_proxy, cookie, version, own)).status == 200
        assert (await verify(front, front_proxy, cookie, version, foreign)).status == 403


async def test_a_method_override_is_refused_on_paths_with_method_rules(front: Front) -> None:
    override = (b"x-http-method-override", b"DELETE")
    cookie = front.cookie(await front.opened())
    assert (await verify(front, "/traefik", cookie, override)).status == 200
    answer = await verify(front, "/traefik", cookie, override, target="/write/")
    assert answer.status == 400


# Other requests


async def test_a_host_for_verification_only_is_not_proxied(front: Front) -> None:
    for host in (SITE, "auth.example.com"):
        answer = await ask(front.app, scope("/public/", [(b"host", host.encode())]))
        assert answer.status == 404


async def test_the_portal_serves_its_pages_without_a_route(fronts: Build) -> None:
    front = await verifying(fronts, routes=[{"host": SITE}])
    lines = [(b"host", b"auth.example.com")]
    assert (await ask(front.app, scope("/.doorward/login", lines))).status == 200
    assert (
        await ask(front.app, scope("/.doorward/login", [(b"host", b"other.test")]))
    ).status == 421


@pytest.mark.parametrize("routes", [[{}], [{"host": SITE}]])
async def test_the_start_page_of_the_portal_is_the_account(
    fronts: Build, routes: list[dict[str, Any]]
) -> None:
    """A login without an application leads there."""
    front = await verifying(fronts, routes=routes)
    lines = [(b"host", b"auth.example.com")]
    for method, status in (("GET", 308), ("HEAD", 308), ("POST", 404)):
        answer = await ask(front.app, scope("/", lines, method=method))
        assert answer.status == status
    (to,) = (await ask(front.app, scope("/", lines))).values(b"location")
    assert to == b"/.doorward/account"
    assert (await ask(front.app, scope("/x", lines))).status == 404


async def test_wrong_passwords_by_basic_are_counted_as_for_proxied_requests(
    fronts: Build,
) -> None:
    """CVE-2026-47203: the endpoint bypassed the lock-out."""
    routes = [{"basic": {"passwords": True}}]
    front = await verifying(fronts, routes=routes, regulation={"attempts": 2})
    await front.opened()

    def basic(password: str) -> Header:
        return b"authorization", b"Basic " + base64.b64encode(f"alice:{password}".encode())

    right = await verify(front, "/traefik", basic("correct horse"))
    assert (right.status, right.values(b"remote-user")) == (200, [b"alice"])
    guesses = [basic(f"guess {number}") for number in range(5)]
    told = [(await verify(front, "/traefik", guess)).status for guess in guesses[:4]]
    assert told[0] == 401 and told[-1] == 429
    assert (await verify(front, "/nginx", guesses[4])).status == 403
    elsewhere = await verify(front, "/nginx", basic("correct horse"), client="198.51.100.7")
    assert elsewhere.status == 200


async def test_without_the_setting_the_endpoints_do_not_exist(fronts: Build) -> None:
    front = await fronts(trusted_proxies=["10.0.0.0/8"])
    for endpoint in ENDPOINTS:
        assert (await verify(front, endpoint, target="/")).status in (404, 421)


async def test_metrics_and_log_describe_the_verified_request(
    fronts: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    output.cache_clear()  # a copy of the original standard error
    front = await verifying(fronts, log={"access": True, "format": "json"})
    cookie = front.cookie(await front.opened())
    assert (await verify(front, "/nginx", cookie, method="PUT", target="/a?b")).status == 200
    assert (await verify(front, "/nginx", method="PUT", target="/a?b")).status == 401
    lines = [
        json.loads(line) for line in capfd.readouterr().err.splitlines() if '"request"' in line
    ]
    told = [
        (one["decision"], one["method"], one["target"], one["host"], one["client"], one["user"])
        for one in lines
    ]
    asked = ("PUT", "/a?b", SITE, "203.0.113.9")
    assert told == [("verified", *asked, "alice"), ("refused", *asked, "")]


def test_every_front_proxy_is_tested() -> None:
    """A new front proxy cannot escape these tests."""
    names = {f"/{front.name}" for front in (*FRONT_PROXIES, ENVOY)}
    assert set(ENDPOINTS) == names | {""}
