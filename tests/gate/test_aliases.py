"""Forward-auth at the endpoints of other programs: they behave like the original endpoints, and
allow what the rules allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from doorward.accounts.user import Email
from doorward.gate.front_proxies import ALIASES
from doorward.settings.forward_auth import ALIASES as WORDS
from doorward.settings.identity import PRESETS
from structlog.testing import capture_logs

from tests.support.asgi import ask, scope
from tests.support.front import Build, Front
from tests.support.verifying import (
    FORWARD_AUTH,
    NAVIGATES,
    PROXY,
    RULES,
    SITE,
    forwarded,
    original,
    verifying,
)
from tests.support.wire import Answer, Header

CLIENT: Header = (b"x-forwarded-for", b"203.0.113.9")
PORTAL = "https://auth.example.com"


def by_host(method: str = "GET", target: str = "/", host: str = SITE) -> list[Header]:
    """The headers of an nginx that is configured as in oauth2-proxy's documentation."""
    uri = target.encode("latin-1")
    return [(b"host", host.encode()), (b"x-real-ip", b"203.0.113.9"), (b"x-forwarded-uri", uri)]


def itself(method: str = "GET", target: str = "/", host: str = SITE) -> list[Header]:
    return [(b"host", host.encode()), (b"x-forwarded-proto", b"https"), CLIENT]


def asked_by(named: Callable[..., list[Header]]) -> Callable[..., list[Header]]:
    return lambda **more: [(b"host", b"login.internal:9091"), CLIENT, *named(**more)]


FORWARDED, ORIGINAL = asked_by(forwarded), asked_by(original)


@dataclass(frozen=True)
class Row:
    """How one endpoint is called, and its answers: if allowed, and without a session to a browser
    window and to a program."""

    path: str
    named: Callable[..., list[Header]]
    allowed: int = 200
    window: int = 401
    program: int = 401
    preset: str = "remote-user"
    login: bytes = b"x-doorward-location"


ROWS = {
    "authelia": (
        Row("/api/authz/forward-auth", FORWARDED, window=302),
        Row("/api/authz/auth-request", ORIGINAL),
        Row("/api/authz/ext-authz/", itself, window=302),
        Row("/api/verify", ORIGINAL),
        Row("/api/verify?auth=basic", FORWARDED),
        Row("/api/verify?rd=https://evil.test/", FORWARDED, window=302),
    ),
    "oauth2-proxy": (Row("/oauth2/auth", by_host, 202, preset="x-auth-request"),),
    "tinyauth": (
        Row("/api/auth/traefik", FORWARDED, window=307, preset="tinyauth"),
        Row("/api/auth/caddy", FORWARDED, window=307, preset="tinyauth"),
        Row("/api/auth/nginx", ORIGINAL, preset="tinyauth", login=b"x-tinyauth-location"),
        Row("/api/auth/nginx", FORWARDED, preset="tinyauth", login=b"x-tinyauth-location"),
        Row("/api/auth/envoy?path=", itself, window=307, preset="tinyauth"),
    ),
    "authentik": (
        Row("/outpost.goauthentik.io/auth/traefik", FORWARDED, 200, 302, 302, "authentik"),
        Row("/outpost.goauthentik.io/auth/caddy", FORWARDED, 200, 302, 302, "authentik"),
        Row("/outpost.goauthentik.io/auth/nginx", ORIGINAL, preset="authentik"),
        Row("/outpost.goauthentik.io/auth/envoy/", itself, 200, 302, 302, "authentik"),
    ),
    "vouch": (
        Row("/validate", ORIGINAL, preset="vouch"),
        Row("/validate", FORWARDED, preset="vouch"),
    ),
}
ALL = [row for rows in ROWS.values() for row in rows]
every_row = pytest.mark.parametrize(
    "row", ALL, ids=[f"{number} {row.path}" for number, row in enumerate(ALL)]
)


async def build(fronts: Build, *aliases: str, **more: Any) -> Front:
    chosen = {**FORWARD_AUTH, "aliases": list(aliases or ROWS)}
    return await verifying(fronts, forward_auth=chosen, **more)


async def asked(front: Front, row: Row, target: str, *headers: Header, **more: Any) -> Answer:
    method, peer = more.pop("method", "GET"), more.pop("peer", PROXY)
    path, sends = row.path, "GET"
    if row.named is itself:
        path, sends = path.removesuffix("/") + target, method
    lines = [*row.named(method=method, target=target, **more), *headers]
    return await ask(front.app, scope(path, lines, peer=peer, method=sends))


@every_row
async def test_every_alias_behaves_like_its_program(fronts: Build, row: Row) -> None:
    front = await build(fronts)
    cookie = front.cookie(await front.opened(groups=("admins",)))
    allowed = await asked(front, row, "/admin/", cookie)
    assert (allowed.status, allowed.body) == (row.allowed, b"")
    name = next(one.header for one in PRESETS[row.preset] if one.value == "username")
    assert allowed.values(name.lower().encode()) == [b"alice"]
    window = await asked(front, row, "/x?y", *NAVIGATES)
    program = await asked(front, row, "/x?y")
    assert (window.status, program.status) == (row.window, row.program)
    for refused in (window, program):
        (login,) = refused.values(row.login)
        assert login == refused.values(b"location")[0]
        rd = quote(f"https://{SITE}", safe="") + "/x%3Fy"
        assert login == f"{PORTAL}/.doorward/login?rd={rd}".encode()
    other = front.cookie(await front.opened("bob"))
    for lines in ((other,), (other, *NAVIGATES)):
        assert (await asked(front, row, "/admin/", *lines)).status == 403


@every_row
async def test_every_alias_applies_the_rules_and_requires_a_trusted_proxy(
    fronts: Build, row: Row
) -> None:
    front = await build(fronts)
    cookie = front.cookie(await front.opened())
    assert (await asked(front, row, "/", cookie, peer="192.0.2.1")).status == 401
    other = await asked(front, row, "/public/", cookie, host="other.test")
    assert other.status in (400, 403)
    nobody = await asked(front, row, "/public/", (b"remote-user", b"root"))
    assert nobody.status == row.allowed
    for header in PRESETS[row.preset]:
        assert nobody.values(header.header.lower().encode()) == [b""]
    for target in ("/public%2f..%2fadmin/x", "/a/../public/"):
        assert (await asked(front, row, target, cookie)).status in (400, 401, 403)


@every_row
@pytest.mark.parametrize("between", ["_", "."])
async def test_a_lookalike_of_an_identity_header_is_refused(
    fronts: Build, row: Row, between: str
) -> None:
    """CVE-2026-52845, CVE-2025-64484: the front proxy would forward it next to the real one."""
    front = await build(fronts)
    name = next(one.header for one in PRESETS[row.preset] if one.value == "username")
    changed = name.replace("-", between).encode()
    with capture_logs() as lines:
        answer = await asked(front, row, "/public/", (changed, b"root"))
    assert answer.status in (400, 403)
    assert [one["setting"] for one in lines if one["event"] == "verification_refused"]
    assert (await asked(front, row, "/public/", (b"x_other", b"root"))).status == row.allowed


async def test_aliases_are_off_by_default_and_never_proxied_if_enabled(
    fronts: Build,
) -> None:
    public = {"access": {"default": "public"}, "trusted_proxies": ["10.0.0.0/8"]}
    front = await fronts(**public)
    paths = [path for rows in ALIASES.values() for path, _ in rows]
    paths += ["/oauth2/sign_in", "/oauth2/userinfo", "/outpost.goauthentik.io/start"]
    for path in paths:
        assert (await front.get(path)).status == 200
    front = await fronts(**public, forward_auth={**FORWARD_AUTH, "aliases": list(ALIASES)})
    sent = len(front.origin.heads)
    for path in paths:
        assert (await front.get(path)).status in (302, 401)
        assert (await front.get("/" + path)).status == 400
    assert (await front.get("/api/authz%2fforward-auth")).status == 400
    assert len(front.origin.heads) == sent
    assert (await front.get("/oauth2/other")).status == 200


@pytest.mark.parametrize("word", ROWS)
async def test_an_alias_serves_only_its_own_endpoints(fronts: Build, word: str) -> None:
    front = await build(fronts, word)
    for other, rows in ROWS.items():
        for row in rows:
            answer = await asked(front, row, "/public/")
            assert (answer.status == row.allowed) == (other == word), row


def test_every_alias_is_tested() -> None:
    """A new alias cannot escape these tests."""
    assert tuple(ALIASES) == tuple(ROWS) == WORDS
    built = {path for rows in ALIASES.values() for path, _ in rows}
    asked_here = {row.path for rows in ROWS.values() for row in rows}
    assert built == {path for path in asked_here if not path.startswith("/api/verify?")}


# oauth2-proxy


async def narrowed(front: Front, query: str, *headers: Header) -> int:
    row = Row(f"/oauth2/auth?{query}", by_host)
    return (await asked(front, row, "/", *headers)).status


async def test_a_query_can_only_narrow_a_verification(fronts: Build) -> None:
    """CVE-2021-21411, CVE-2026-40574, CVE-2021-21291."""
    front = await build(fronts)
    emails = (Email("alice@Example.com", True), Email("root@corp.test", False))
    cookie = front.cookie(await front.opened(groups=("staff", "wiki"), emails=emails))
    for query, status in {
        "allowed_groups=staff": 202,
        "allowed_groups=other,wiki": 202,
        "allowed_groups=other&allowed_groups=staff": 202,
        "allowed_groups=other": 403,
        "allowed_groups=Staff": 403,
        "allowed_groups=": 403,
        "allowed_groups=,": 403,
        "allowed_groups": 403,
        "allowed_groups=staff&allowed_groups=": 202,
        "allowed_emails=ALICE@example.com": 202,
        "allowed_emails=root@corp.test": 403,
        "allowed_emails=bob@example.com": 403,
        "allowed_email_domains=example.com": 202,
        "allowed_email_domains=corp.test": 403,
        "allowed_email_domains=ample.com": 403,
        "allowed_email_domains=.com": 202,
        "allowed_email_domains=*.com": 202,
        "allowed_email_domains=.example.com": 403,
        "allowed_groups=staff&allowed_emails=bob@example.com": 403,
        "allowed_roles=staff": 400,
        "other=1": 202,
    }.items():
        assert await narrowed(front, query, cookie) == status, query
    assert await narrowed(front, "allowed_groups=staff") == 401


async def test_narrowing_does_not_override_the_rules(fronts: Build) -> None:
    front = await build(fronts)
    cookie = front.cookie(await front.opened(groups=("staff",)))
    row = Row("/oauth2/auth?allowed_groups=staff", by_host)
    assert (await asked(front, row, "/admin/", cookie)).status == 403
    assert (await asked(front, row, "/public/", cookie)).status == 202
    assert (await asked(front, row, "/public/")).status == 401


BY_HOST = Row("/oauth2/auth", by_host)


async def test_without_a_method_paths_with_method_rules_are_refused(fronts: Build) -> None:
    front = await build(fronts)
    cookie = front.cookie(await front.opened())
    assert (await asked(front, BY_HOST, "/write/", cookie)).status == 403
    for said in (b"GET", b"HEAD"):
        lines = ((b"x-forwarded-method", said), (b"x-original-method", said))
        assert (await asked(front, BY_HOST, "/write/", cookie, *lines)).status == 403
    assert (await asked(front, BY_HOST, "/other/", cookie)).status == 202
    strict = await build(fronts, routes=[{"same_origin": True}])
    assert (await asked(strict, BY_HOST, "/public/")).status == 403


FORGED: list[tuple[str, list[Header]]] = [
    ("another host", [(b"x-forwarded-host", b"wiki.sister.test")]),
    ("another URL", original(target="/public/")),
    ("another path", [(b"x-forwarded-uri", b"/public/")]),
    ("a whole request", forwarded(target="/public/")),
    ("a whole request of another host", forwarded(target="/", host="wiki.sister.test")),
]


@pytest.mark.parametrize("forged", [lines for _, lines in FORGED], ids=[name for name, _ in FORGED])
async def test_if_host_names_the_request_forged_headers_are_refused(
    fronts: Build, forged: list[Header]
) -> None:
    """CVE-2026-40575: nginx forwards a client's headers in addition to its own."""
    rules = [{"host": "*.sister.test", "require": "public"}, *RULES]
    front = await build(fronts, access={"rules": rules})
    assert (await asked(front, BY_HOST, "/", *forged)).status in (400, 401)
    cookie = front.cookie(await front.opened())
    assert (await asked(front, BY_HOST, "/admin/", cookie, *forged)).status in (400, 403)


@pytest.mark.parametrize("host", ["unlisted.example.com", "auth.sister.test", "10.0.0.7"])
@pytest.mark.parametrize("named", [FORWARDED, ORIGINAL])
async def test_if_host_names_the_request_an_unlisted_host_is_refused(
    fronts: Build, host: str, named: Callable[..., list[Header]]
) -> None:
    """nginx's default server answers under any name, and forwards the client's headers."""
    front = await build(fronts)
    lines = [line for line in named(target="/public/") if line[0] != b"host"]
    lines += [(b"host", host.encode()), (b"x-real-ip", b"203.0.113.9")]
    if not any(name == b"x-forwarded-uri" for name, _ in lines):
        lines.append((b"x-forwarded-uri", b"/public/"))
    answer = await ask(front.app, scope("/oauth2/auth", lines, peer=PROXY))
    assert answer.status in (400, 403)
    assert not answer.values(b"x-auth-request-user")


async def test_if_host_names_the_request_the_client_is_in_x_real_ip(fronts: Build) -> None:
    front = await build(fronts)
    inside = (b"x-forwarded-for", b"192.168.1.1")
    assert (await asked(front, BY_HOST, "/inside/", inside)).status == 401
    lines = [(b"host", SITE.encode()), (b"x-forwarded-uri", b"/public/"), inside]
    assert (await ask(front.app, scope("/oauth2/auth", lines, peer=PROXY))).status == 400
    lines.append((b"x-real-ip", b"unix:"))  # nginx's value for a client over a Unix socket
    assert (await ask(front.app, scope("/oauth2/auth", lines, peer=PROXY))).status == 400


# The pages


async def visit(
    front: Front, path: str, *headers: Header, host: str = SITE, method: str = "GET"
) -> Answer:
    lines = [(b"host", host.encode()), *headers]
    return await ask(front.app, scope(path, lines, method=method, peer=PROXY))


LOGINS = ("/oauth2/sign_in", "/oauth2/start", "/outpost.goauthentik.io/start")
LOGOUTS = ("/oauth2/sign_out", "/outpost.goauthentik.io/sign_out")


@pytest.mark.parametrize("path", [*LOGINS, *LOGOUTS])
async def test_pages_of_other_programs_redirect_to_the_portal(fronts: Build, path: str) -> None:
    front = await build(fronts)
    page = f"{PORTAL}/.doorward/{'login' if path in LOGINS else 'logout'}"
    for rd, leads in {
        "": page,
        "?rd=https://evil.test/": page,
        "?rd=//evil.test": page,
        "?rd=https://wiki.sister.test.evil.test/": page,
        "?rd=/%09/evil.test": page,
    }.items():
        answer = await visit(front, path + rd)
        assert (answer.status, answer.values(b"location")) == (302, [leads.encode()]), rd


async def test_a_return_path_is_on_the_requested_host(fronts: Build) -> None:
    cookie = {"domain": "example.com"}
    front = await build(
        fronts, sessions={"cookie": cookie}, public_url=PORTAL, routes=[{"host": SITE}]
    )
    back = f"{PORTAL}/.doorward/login?rd=https%3A//{SITE}/a%3Fb".encode()
    for path, headers in {
        f"/oauth2/sign_in?rd=https://{SITE}/a?b": (),
        "/oauth2/start?rd=/a?b": (),
        "/oauth2/sign_in": ((b"x-auth-request-redirect", b"/a?b"),),
    }.items():
        answer = await visit(front, path, *headers)
        assert answer.values(b"location") == [back], path
    own = await visit(front, "/oauth2/sign_in", (b"x-auth-request-redirect", b"/oauth2/sign_in"))
    assert own.values(b"location") == [f"{PORTAL}/.doorward/login".encode()]
    posted = await visit(front, "/oauth2/sign_out?rd=/a", method="POST")
    assert posted.status == 303
    assert posted.values(b"location") == [
        f"{PORTAL}/.doorward/logout?rd=https%3A//{SITE}/a".encode()
    ]


async def test_user_information_is_only_for_the_user(fronts: Build) -> None:
    """CVE-2024-39315: it contained tokens."""
    front = await build(fronts)
    emails = (Email("alice@example.com", True),)
    cookie = front.cookie(await front.opened(groups=("a", "b"), emails=emails))
    answer = await visit(front, "/oauth2/userinfo", cookie)
    assert (answer.status, answer.values(b"content-type")) == (200, [b"application/json"])
    assert json.loads(answer.body) == {
        "user": "alice",
        "email": "alice@example.com",
        "groups": ["a", "b"],
        "preferredUsername": "alice",
    }
    assert (await visit(front, "/oauth2/userinfo")).status == 401


async def test_authentik_is_alive(fronts: Build) -> None:
    front = await build(fronts)
    assert (await visit(front, "/outpost.goauthentik.io/ping")).status == 204


async def test_the_vouch_alias_returns_the_reason(fronts: Build) -> None:
    front = await build(fronts)
    answer = await asked(front, ROWS["vouch"][0], "/")
    assert answer.values(b"x-vouch-err") == [b"unauthenticated"]
