"""Other parts of rules: presets, expressions, alternatives, ages, activity."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import pytest
from doorward.accounts.sessions.sessions import Opened
from doorward.gate.accept import Accept
from doorward.gate.authorize import Authorize, Verdict
from doorward.gate.cookies import Cookies
from doorward.gate.decision import Refuse
from doorward.gate.gate import Gate, RequestFacts
from doorward.gate.identify import Identify
from doorward.gate.targets import LastHop, Unfit
from doorward.http1.headers import BadHeaders
from doorward.settings import InvalidSettings, settings_from

from tests.gate.test_authorize import ALLOWED, FACTOR, FORBIDDEN, NOBODY, NOW, rules, session
from tests.gate.test_authorize import verdict as verdict_of
from tests.gate.test_two_factor import BROWSER, enrolled
from tests.support.corpora import corpus
from tests.support.front import Build, Front, accepted, arrival
from tests.support.origin import Origin

# Expressions


def test_an_expression_matches_the_whole_path() -> None:
    """GHSA-r27r-rr9v-vv37, CVE-2024-52289: unanchored patterns matched other paths."""
    for pattern in ("^/u/[0-9]+$", "/u/[0-9]+", "^/u/[0-9]+", "/u/[0-9]+$"):
        table = rules({"path_regex": pattern, "require": "public"})
        assert verdict_of(table, None, b"/u/12") is ALLOWED
        for path in (b"/u/", b"/u/1/", b"/u/1/admin", b"/x/u/1", b"/u/1a", b"/U/1"):
            assert verdict_of(table, None, path) is NOBODY, (pattern, path)


def test_an_expression_takes_linear_time() -> None:
    """Python's own engine would take years for this one."""
    table = rules({"path_regex": "^/(a+)+$", "require": "public"})
    began = time.perf_counter()
    assert verdict_of(table, None, b"/" + b"a" * 15_000 + b"!") is NOBODY
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "missing )"),
        (r"(a)\1", "invalid escape sequence"),
        ("(?=a)", "invalid perl operator"),
        ("a{1001}", "invalid repetition size"),
        ("é", "must be ASCII"),
        ("a" * 1025, "at most 1024 characters"),
    ],
)
def test_an_expression_that_cannot_be_kept_linear_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        rules({"path_regex": pattern})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"path": "/a", "path_regex": "/a"}, "path_regex: cannot be combined with path"),
        ({"preset": "public-assets", "path": "/a"}, "preset: cannot be combined with path"),
        (
            {"preset": "public-assets", "methods": ["GET"]},
            "methods: cannot be combined with preset",
        ),
        ({"preset": "public-assets", "groups": ["a"]}, "groups: cannot be combined with preset"),
        ({"preset": "public"}, "did you mean public-assets?"),
        ({"any": []}, "any: must not be empty"),
        ({"any": [{}], "groups": ["a"]}, "groups: cannot be combined with any"),
        ({"any": [{}], "require": "public"}, "require: cannot be combined with any"),
        ({"any": [{"require": "public"}]}, "'public' is not one of authenticated, two_factor"),
        ({"any": [{"max_age": "5m"}]}, "max_age: has no effect without require: two_factor"),
        ({"max_age": "5m"}, "max_age: has no effect without require: two_factor"),
        ({"require": "two_factor", "max_age": "29s"}, "at least 30"),
        ({"require": "two_factor", "max_age": "31500ms"}, "whole seconds"),
    ],
)
def test_a_contradictory_rule_is_refused(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        rules(rule)
    assert said in str(caught.value)


# Public assets

ASSETS = (
    b"/favicon.ico /favicon.svg /favicon-32x32.png /apple-touch-icon.png"
    b" /apple-touch-icon-precomposed.png /android-chrome-512x512.png /manifest.json"
    b" /site.webmanifest /manifest.webmanifest /robots.txt /sw.js /service-worker.js"
    b" /browserconfig.xml /.well-known/acme-challenge/a_B-9"
).split()
PROTECTED = (
    b"/ /favicon.ico/ /favicon.ico/x /x/favicon.ico /favicon.icon /favicon.php /manifest.json5"
    b" /.well-known/ /.well-known/acme-challenge/ /.well-known/acme-challenge/a/b"
    b" /.well-known/openid-configuration /app.js /sw.js.map /SW.js /favicon-a/b.png"
).split()


@pytest.mark.parametrize("prefix", [b"", b"/wiki"])
def test_public_assets_are_readable_by_everyone_on_each_route(prefix: bytes) -> None:
    routes = [{"path": prefix.decode() or "/", "upstream": "http://127.0.0.1:9"}]
    table = rules({"preset": "public-assets"}, routes=routes)
    for path in ASSETS:
        for method in (b"GET", b"HEAD"):
            assert verdict_of(table, None, prefix + path, method=method) is ALLOWED, path
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"get"):
            assert verdict_of(table, None, prefix + path, method=method) is NOBODY, path
    for path in PROTECTED:
        assert verdict_of(table, None, prefix + path) is NOBODY, path


def test_public_assets_can_be_limited_to_one_host() -> None:
    table = rules({"preset": "public-assets", "host": "app.test"})
    assert verdict_of(table, None, b"/robots.txt") is ALLOWED
    assert verdict_of(table, None, b"/robots.txt", headers=[(b"host", b"b.test")]) is NOBODY


# Rules of one route


def test_a_routes_own_rules_come_first_and_apply_only_there() -> None:
    routes = [
        {"upstream": "http://127.0.0.1:1"},
        {
            "path": "/wiki",
            "upstream": "http://127.0.0.1:2",
            "rules": [
                {"path": "/wiki/open/*", "require": "public"},
                {"methods": ["PUT"], "require": "deny"},
            ],
        },
    ]
    table = rules({"path": "/wiki/*", "groups": ["staff"]}, default="public", routes=routes)
    assert verdict_of(table, None, b"/wiki/open/x") is ALLOWED
    assert verdict_of(table, None, b"/wiki/x") is NOBODY
    assert verdict_of(table, session(groups=("staff",)), b"/wiki/x") is ALLOWED
    assert verdict_of(table, session(groups=("staff",)), b"/wiki/x", method=b"PUT") is FORBIDDEN
    assert verdict_of(table, None, b"/x", method=b"PUT") is ALLOWED


# Alternatives

ANY = {
    "path": "/admin/*",
    "any": [
        {"groups": ["admins"], "require": "two_factor"},
        {"users": ["ops"], "networks": ["10.0.0.0/8"]},
        {"roles": ["auditor"]},
    ],
}
INSIDE, OUTSIDE = "10.1.2.3", "192.0.2.1"


@pytest.mark.parametrize(
    ("who", "peer", "expected"),
    [
        (None, INSIDE, NOBODY),
        (None, OUTSIDE, NOBODY),
        (session(), INSIDE, FORBIDDEN),
        (session("ops"), INSIDE, ALLOWED),
        (session("OPS"), INSIDE, ALLOWED),
        (session("ops"), OUTSIDE, FORBIDDEN),
        (session("ops"), "", FORBIDDEN),
        (session(groups=("admins",)), OUTSIDE, FACTOR),
        (session(groups=("admins",), factor=1.0), OUTSIDE, ALLOWED),
        (session("ops", groups=("admins",)), INSIDE, ALLOWED),
        (session("ops", groups=("admins",)), OUTSIDE, FACTOR),
        (session(roles=("auditor",)), OUTSIDE, ALLOWED),
        (session(roles=("auditor",), groups=("admins",)), OUTSIDE, ALLOWED),
        (session(factor=1.0), OUTSIDE, FORBIDDEN),
    ],
)
def test_one_met_alternative_is_enough(who: Any, peer: str, expected: Verdict) -> None:
    table = rules(ANY, default="public")
    assert verdict_of(table, who, b"/admin/x", peer=peer) is expected


def test_alternatives_that_are_not_met_fall_through_to_no_weaker_rule() -> None:
    table = rules(ANY, {"require": "public"}, default="public")
    assert verdict_of(table, session(), b"/admin/x") is FORBIDDEN


async def test_a_network_in_an_alternative_is_checked_at_each_request(fronts: Build) -> None:
    """The result cached for a path must not include the user's permission."""
    front = await fronts(access={"rules": [ANY]})
    cookie = front.cookie(await front.opened("ops"))
    for peer, status in ((INSIDE, 200), (OUTSIDE, 403), (INSIDE, 200)):
        assert (await front.get("/admin/x", cookie, peer=peer)).status == status


# The age of a second factor

AGED = {"path": "/admin/*", "require": "two_factor", "max_age": "10m"}


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(0.0, ALLOWED), (599.0, ALLOWED), (600.0, FACTOR), (1e6, FACTOR), (-1.0, FACTOR)],
)
def test_a_factor_counts_for_the_time_set_in_the_rule(age_s: float, expected: Verdict) -> None:
    """A time in the future was recorded by a clock that was wrong."""
    assert verdict_of(rules(AGED), session(factor=NOW - age_s), b"/admin/x") is expected


async def with_factor(front: Front) -> tuple[Opened, Any]:
    opened, app = await enrolled(front)
    code = app.at(int(front.clock()))
    factors, client = front.accounts.second_factors, SimpleNamespace(address="", user_agent="")
    risen = await factors.complete(
        opened.session, code, None, client=cast(Any, client), now=front.clock()
    )
    return risen, app


async def test_a_factor_that_is_too_old_is_asked_for_again(fronts: Build) -> None:
    front = await fronts(access={"rules": [AGED]})
    opened, app = await with_factor(front)
    cookie = front.cookie(opened)
    assert (await front.get("/admin/x", cookie)).status == 200
    front.clock.now += 601
    assert (await front.get("/", cookie)).status == 200

    program = await front.get("/admin/x", cookie)
    assert program.status == 401
    assert b'"error":"second_factor_required"' in program.body.replace(b" ", b"")
    assert b'"max_age":600' in program.body.replace(b" ", b"")
    assert program.values(b"www-authenticate") == [
        b'Bearer realm="doorward", error="insufficient_user_authentication", max_age="600"'
    ]

    page = await front.get("/admin/x", cookie, *BROWSER)
    (to,) = page.values(b"location")
    assert (page.status, to) == (303, b"/.doorward/second-factor?rd=/admin/x&max_age=600")
    form = await front.get(to, cookie, *BROWSER)
    assert form.status == 200 and b'name="code"' in form.body

    risen = await front.accounts.second_factors.complete(
        opened.session,
        app.at(int(front.clock())),
        None,
        client=cast(Any, SimpleNamespace(address="", user_agent="")),
        now=front.clock(),
    )
    cookie = front.cookie(risen)
    assert (await front.get("/admin/x", cookie)).status == 200
    onward = await front.get(to, cookie, *BROWSER)
    assert (onward.status, onward.values(b"location")) == (303, [b"/admin/x"])


@pytest.mark.parametrize("age", ["", "x", "-1", "9" * 40, "\uff16"])
async def test_the_second_factor_page_ignores_an_invalid_max_age(fronts: Build, age: str) -> None:
    front = await fronts(access={"rules": [AGED]})
    opened, _ = await with_factor(front)
    target = f"/.doorward/second-factor?rd=/x&max_age={age}".encode().replace(
        "\uff16".encode(), b"%EF%BC%96"
    )
    page = await front.get(target, front.cookie(opened), *BROWSER)
    assert (page.status, page.values(b"location")) == (303, [b"/x"])


async def test_a_form_that_needs_a_newer_factor_gets_a_link_to_the_code_page(fronts: Build) -> None:
    front = await fronts(access={"rules": [AGED]})
    opened, _ = await with_factor(front)
    front.clock.now += 601
    form = [*BROWSER, (b"sec-fetch-dest", b"document")]
    page = await front.get("/admin/x", front.cookie(opened), *form, method="POST")
    assert page.status == 401 and b"second-factor?max_age=600" in page.body


# Activity


async def test_a_path_without_activity_does_not_extend_the_session(fronts: Build) -> None:
    polled = {"path": "/api/poll", "activity": False}
    front = await fronts(access={"rules": [polled]}, sessions={"idle_timeout": "10m"})
    cookie, ended = front.cookie(await front.opened()), front.cookie(await front.opened())
    for _ in range(3):
        front.clock.now += 300
        assert (await front.get("/", cookie)).status == 200
    front.clock.now -= 900
    cookie = front.cookie(await front.opened())
    for status in (200, 200):
        front.clock.now += 3000
        assert (await front.get("/api/poll", cookie)).status == status
    front.clock.now += 3000
    assert (await front.get("/api/poll", cookie)).status == 401
    assert (await front.get("/", ended)).status == 401


# Every spelling of a path

STRICT: dict[str, dict[str, Any]] = {
    "path": {"access": {"rules": [{"path": "/admin/*"}]}},
    "path_regex": {"access": {"rules": [{"path_regex": "^/admin(/.*)?$"}]}},
    "any": {"access": {"rules": [{"path": "/admin/*", "any": [{"groups": ["admins"]}]}]}},
    "route": {"routes": [{"upstream": "http://127.0.0.1:9", "rules": [{"path": "/admin/*"}]}]},
    "assets": {
        "access": {"default": "authenticated", "rules": [{"preset": "public-assets"}]},
    },
}
SPELLINGS = [
    *(corpus(f"paths_{name}.txt") for name in ("with_two_readings", "refused", "forwarded")),
    [b"/%61dmin/favicon.ico", b"/favicon%2eico", b"/favicon.ico%2f", b"/x/..%2ffavicon.ico"],
    [b"/favicon.ico;x", b"/admin/..;/favicon.ico", b"//favicon.ico", b"/admin%2ffavicon.ico"],
]


def asked(kind: str, target: bytes) -> RequestFacts | Refuse | None:
    """The gate's decision on a request; None if the request is refused before."""
    values: dict[str, Any] = {"routes": [{"upstream": "http://127.0.0.1:9"}]} | STRICT[kind]
    access = {"default": "public"} | values.get("access", {})
    settings = settings_from(values | {"access": access})
    authorize = Authorize(settings.routes, settings.access)
    identify = Identify(
        cast(Any, SimpleNamespace(use=None)), cast(Any, None), Cookies(secure=False)
    )
    tell = [lambda session, now: b""]
    gate = Gate(authorize, identify, Cookies(secure=False), _is_ours, cast(Any, None), tell)
    try:
        return gate.facts(Accept((), lambda host: True)(arrival(target)))
    except (Unfit, BadHeaders, LastHop):
        return None


def _is_ours(path: bytes) -> bool:
    return path.startswith(b"/.doorward/")


def read_by_somebody(path: bytes) -> set[bytes]:
    """A path as read by three careless servers."""
    found = {path}
    for _ in range(3):
        found |= {unquote_to_bytes(each) for each in found}
        found |= {each.replace(b"\\", b"/").replace(b"//", b"/") for each in found}
        found |= {b"/".join(s.partition(b";")[0] for s in each.split(b"/")) for each in found}
    return found


@pytest.mark.parametrize("kind", STRICT)
@pytest.mark.parametrize("target", [each for found in SPELLINGS for each in found], ids=ascii)
def test_no_spelling_of_a_path_evades_a_stricter_rule(kind: str, target: bytes) -> None:
    found = asked(kind, target)
    if not isinstance(found, RequestFacts):
        return  # refused for every user
    is_open = found.target.rule == (0 if kind == "assets" else -1)
    read = read_by_somebody(target.partition(b"?")[0])
    if kind == "assets":
        assert not is_open or read <= {b"/favicon.ico", b"/.well-known/acme-challenge/x"}
    else:
        strict = [path for path in read if path == b"/admin" or path.startswith(b"/admin/")]
        assert not (is_open and strict), strict


def test_the_tested_request_is_allowed_in_its_plain_form() -> None:
    for kind in STRICT:
        target = b"/favicon.ico" if kind == "assets" else b"/x"
        found = asked(kind, target)
        assert isinstance(found, RequestFacts)
        assert found.target.rule == (0 if kind == "assets" else -1)
    assert accepted(b"/x").path == b"/x"


async def test_a_change_of_groups_applies_to_the_next_request(front: Front, origin: Origin) -> None:
    """CVE-2021-41230, GHSA-x883-2vmg-xwf7."""
    from doorward.accounts.permissions import OWNER
    from doorward.accounts.users.editing import Edit

    cookie = front.cookie(await front.opened(groups=["admins"]))
    assert (await front.get("/admin/x", cookie)).status == 200
    edit = Edit(remove_groups=("admins",))
    await front.accounts.users.edit("alice", edit, front.clock(), actor=OWNER)
    assert (await front.get("/admin/x", cookie)).status == 403
