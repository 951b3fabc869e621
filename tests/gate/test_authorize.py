"""Routes and rules as tables: which one applies, what it requires, and the answer."""

from __future__ import annotations

from typing import Any

import pytest
from doorward.accounts.session import FULL
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.authorize import Authorize, Verdict
from doorward.gate.rules import host_matches, pattern_to_regex
from doorward.settings import settings_from

from tests.support.front import Front, accepted

NOW = 1000.0
ALLOWED, NOBODY, FACTOR, FORBIDDEN = (
    Verdict.ALLOWED,
    Verdict.UNAUTHENTICATED,
    Verdict.SECOND_FACTOR_REQUIRED,
    Verdict.FORBIDDEN,
)


def rules(*rules: dict[str, Any], default: str = "authenticated", **values: Any) -> Authorize:
    chosen = {"routes": [{"upstream": "http://127.0.0.1:9"}]} | values
    settings = settings_from(chosen | {"access": {"default": default, "rules": list(rules)}})
    return Authorize(settings.routes, settings.access)


def session(name: str = "alice", factor: float | None = None, **more: Any) -> Session:
    user = User(
        1, "u", "database", name, None, (), more.get("groups", ()), more.get("roles", ()),
        more.get("super_admin", False), True, False, False, 0.0,
    )  # fmt: skip
    return Session(1, "s", user, 0, 0.0, 0.0, None, 1e12, False, "", "", "", "page", FULL, factor)


def verdict(authorize: Authorize, who: Session | None, path: bytes = b"/", **more: Any) -> Verdict:
    request = accepted(path, **more)
    target = authorize.locate(request, path)
    assert target is not None
    return authorize.judge(target, who, request.address, NOW)


@pytest.mark.parametrize(
    ("pattern", "covered", "others"),
    [
        ("/admin/*", "/admin /admin/ /admin/x /admin/x/y", "/ /administrators /Admin/ /x/admin/"),
        ("/*", "/ /a /a/b", ""),
        ("/a", "/a", "/ /a/ /a/b /A"),
        ("/a/", "/a/", "/a /a/b"),
        ("/a/*/c", "/a/b/c", "/a/c /a//c /a/b/b/c /a/b/c/"),
        ("/a/*/*", "/a/b /a/b/ /a/b/c", "/a /a/"),
        ("/a.b", "/a.b", "/axb"),
        ("/a+b/(c)/*", "/a+b/(c)/d", "/aab/c"),
    ],
)
def test_a_pattern_is_anchored_and_literal_except_for_its_stars(
    pattern: str, covered: str, others: str
) -> None:
    """CVE-2024-52289, GHSA-r27r-rr9v-vv37, CVE-2026-41569, CVE-2026-40110: unescaped or unanchored
    patterns."""
    compiled = pattern_to_regex(pattern)
    for path in covered.split():
        assert compiled.fullmatch(path.encode()), path
    for path in others.split():
        assert not compiled.fullmatch(path.encode()), path


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "a.example.com.evil.test", False),
        ("example.com", "a.example.com", False),
    ],
)
def test_a_wildcard_ends_at_a_dot(pattern: str, host: str, matches: bool) -> None:
    """CVE-2021-21291: `.example.com` also matched `badexample.com`."""
    assert host_matches(pattern, host) is matches


def test_the_first_rule_that_applies_decides() -> None:
    """CVE-2021-21411: a restriction that was silently not applied."""
    table = rules({"path": "/a/*", "groups": ["admins"]}, {"path": "/a/*", "require": "public"})
    assert verdict(table, None, b"/a/x") is NOBODY
    assert verdict(table, session(), b"/a/x") is FORBIDDEN
    assert verdict(table, session(groups=("admins",)), b"/a/x") is ALLOWED


@pytest.mark.parametrize(
    ("default", "nobody", "alice", "with_factor"),
    [
        ("public", ALLOWED, ALLOWED, ALLOWED),
        ("authenticated", NOBODY, ALLOWED, ALLOWED),
        ("two_factor", NOBODY, FACTOR, ALLOWED),
        ("deny", FORBIDDEN, FORBIDDEN, FORBIDDEN),
    ],
)
def test_the_default_level_applies_without_a_rule(
    default: str, nobody: Verdict, alice: Verdict, with_factor: Verdict
) -> None:
    table = rules(default=default)
    assert verdict(table, None) is nobody
    assert verdict(table, session()) is alice
    assert verdict(table, session(factor=1.0)) is with_factor


def test_a_list_means_any_of_it_and_several_keys_mean_all() -> None:
    table = rules({"groups": ["a", "b"], "roles": ["r"], "users": ["Alice", "bob"]})
    assert verdict(table, session(groups=("b",), roles=("r",))) is ALLOWED
    assert verdict(table, session(groups=("b",))) is FORBIDDEN
    assert verdict(table, session(roles=("r",))) is FORBIDDEN
    assert verdict(table, session("carol", groups=("b",), roles=("r",))) is FORBIDDEN
    assert verdict(table, session("ALICE", groups=("a",), roles=("r",))) is ALLOWED


def test_a_super_admin_is_subject_to_the_rules() -> None:
    assert verdict(rules({"groups": ["a"]}), session(super_admin=True)) is FORBIDDEN


def test_group_membership_is_checked_before_the_second_factor() -> None:
    table = rules({"groups": ["a"], "require": "two_factor"})
    assert verdict(table, session()) is FORBIDDEN
    assert verdict(table, session(groups=("a",))) is FACTOR


def test_methods_are_case_sensitive() -> None:
    """CVE-2020-14359: the default applied to upper-case methods only."""
    table = rules({"path": "/a", "methods": ["GET"], "require": "public"})
    assert verdict(table, None, b"/a") is ALLOWED
    for method in (b"POST", b"get", b"Get", b"GETT", b"PROPFIND", b"OPTIONS"):
        assert verdict(table, None, b"/a", method=method) is NOBODY


def test_hosts_are_compared_without_case_or_port() -> None:
    """CVE-2026-48794, CVE-2026-77560, CVE-2026-27588, CVE-2018-21246."""
    table = rules({"host": "Admin.test", "require": "deny"}, default="public")
    for host in (b"admin.test", b"ADMIN.TEST", b"Admin.Test:8080", b"admin.test."):
        assert verdict(table, None, headers=[(b"host", host)]) is FORBIDDEN
    assert verdict(table, None, headers=[(b"host", b"x.admin.test")]) is ALLOWED


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("10.1.2.3", ALLOWED),
        ("::ffff:10.1.2.3", ALLOWED),
        ("2001:db8::1", ALLOWED),
        ("11.1.2.3", NOBODY),
        ("2001:db9::1", NOBODY),
        ("", NOBODY),
        ("garbage", NOBODY),
    ],
)
def test_networks_match_ipv4_and_ipv6_clients(peer: str, expected: Verdict) -> None:
    """GHSA-7jmw-8259-q9jx: IPv4-mapped IPv6 bypassed a list of addresses."""
    table = rules({"networks": ["10.0.0.0/8", "2001:db8::/32"], "require": "public"})
    assert verdict(table, None, peer=peer) is expected


ROUTES = [
    {"upstream": "http://127.0.0.1:1"},
    {"path": "/app", "upstream": "http://127.0.0.1:2"},
    {"path": "/app/deep/", "upstream": "http://127.0.0.1:3"},
    {"host": "*.wiki.test", "upstream": "http://127.0.0.1:4"},
    {"host": "a.wiki.test", "path": "/x", "upstream": "http://127.0.0.1:5"},
]


@pytest.mark.parametrize(
    ("host", "path", "port"),
    [
        ("app.test", "/", 1),
        ("app.test", "/apple", 1),
        ("app.test", "/App", 1),
        ("app.test", "/app", 2),
        ("app.test", "/app/", 2),
        ("app.test", "/app/deep", 3),
        ("app.test", "/app/deeper", 2),
        ("app.test", "/app/deep/", 3),
        ("app.test", "/app/deep/er", 3),
        ("wiki.test", "/", 1),
        ("b.wiki.test", "/app", 4),
        ("a.wiki.test", "/x/y", 5),
        ("a.wiki.test", "/y", 4),
    ],
)
def test_the_route_with_the_longest_host_and_then_path_wins(
    host: str, path: str, port: int
) -> None:
    table = rules(routes=ROUTES)
    request = accepted(path.encode(), [(b"host", host.encode())])
    target = table.locate(request, path.encode())
    assert target is not None
    assert table.routes[target.route].upstream[0].port == port


def test_a_host_or_path_without_a_route_is_not_found() -> None:
    table = rules(routes=[{"host": "wiki.test", "path": "/app", "upstream": "http://127.0.0.1:1"}])
    assert table.serves("wiki.test") and not table.serves("other.test")
    request = accepted(b"/other", [(b"host", b"wiki.test")])
    assert table.locate(request, b"/other") is None


# Answers


@pytest.mark.parametrize("method", ["GET", "POST", "PROPFIND"])
async def test_a_client_without_a_session_gets_401_with_the_login(
    front: Front, method: str
) -> None:
    answer = await front.get("/a?b=c&d", method=method)
    assert answer.status == 401
    assert answer.values(b"www-authenticate") == [b'Bearer realm="doorward"']
    assert answer.values(b"cache-control") == [b"no-store"]
    assert b'"login":"/.doorward/login?rd=/a%3Fb%3Dc%26d"' in answer.body.replace(b" ", b"")


async def test_only_browser_navigations_are_redirected_to_the_login(front: Front) -> None:
    browser = [(b"sec-fetch-mode", b"navigate"), (b"accept", b"text/html")]
    answer = await front.get("/a?b=c", *browser)
    assert answer.status == 303
    assert answer.values(b"location") == [b"/.doorward/login?rd=/a%3Fb%3Dc"]
    assert answer.values(b"www-authenticate") == []
    assert (await front.get("/a", *browser, method="POST")).status == 401
    assert (await front.get("/a", (b"sec-fetch-mode", b"cors"), browser[1])).status == 401


async def test_a_user_without_access_gets_a_403(front: Front) -> None:
    session = front.cookie(await front.opened())
    assert (await front.get("/admin/", session)).status == 403
    assert front.origin.heads == []


@pytest.mark.parametrize("agent", [b"kube-probe/1.0", b"GoogleHC/1.0", b"ELB-HealthChecker/2.0"])
async def test_no_user_agent_bypasses_the_rules(front: Front, agent: bytes) -> None:
    """CVE-2026-34457: the User-Agent of a health check was accepted on any path."""
    assert (await front.get("/", (b"user-agent", agent))).status == 401


@pytest.mark.parametrize(
    "name", [b"x-original-uri", b"x-original-url", b"x-rewrite-url", b"x-forwarded-uri"]
)
async def test_no_header_moves_a_request_to_another_path(front: Front, name: bytes) -> None:
    """GHSA-5wcc-hf24-rf5h, CVE-2026-40575: a client's own X-Original-URI or X-Forwarded-Uri."""
    for path in (b"/public/", b"/.doorward/login"):
        assert (await front.get("/private", (name, path))).status == 401
