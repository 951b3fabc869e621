"""A path that can be read in several ways is refused; others are forwarded byte for byte."""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import unquote_to_bytes

import pytest
import pytest_asyncio
from doorward.gate.authorize import Authorize, compile_prefix, covers_path
from doorward.http1.head_tables import is_usual_target
from doorward.path_readings import BadPath, check_target, list_readings
from doorward.settings import InvalidSettings, list_findings, settings_from
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.corpora import corpus
from tests.support.front import ACCESS, Front, accepted, front_of
from tests.support.origin import OK, Origin, answering

ROUTES = [{"upstream": "http://127.0.0.1:9"}, {"path": "/app", "upstream": "http://127.0.0.1:10"}]
RULES = [
    {"path": "/public/*", "require": "public"},
    {"path": "/a/*/b", "require": "deny"},
    {"path": "/caf%C3%A9/*", "require": "deny"},
    {"path": "/a/s%2Ft", "require": "deny"},
]
AUTHORIZE = Authorize(
    (tables := settings_from({"routes": ROUTES, "access": {"rules": RULES}})).routes, tables.access
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wall(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """`/public/` is public, `/admin/` is for a group of the only user."""
    with Origin((answering(OK),)) as origin:
        async with front_of(tmp_path_factory.mktemp("wall"), origin, access=ACCESS) as built:
            await built.opened(groups=["admins"])
            yield built


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("target", corpus("paths_refused.txt"), ids=ascii)
async def test_a_forbidden_path_is_never_forwarded(wall: Front, target: bytes) -> None:
    """CVE-2024-38473, CVE-2025-66490, CVE-2025-47952: encoded dots and slashes. CVE-2021-39206,
    CVE-2026-41059: a fragment in the path. CVE-2021-32637: a path that could not be parsed was
    allowed."""
    forwarded = len(wall.origin.heads)
    answer = await wall.get(target, wall.cookie(await wall.opened()))
    assert answer.status == 400, answer
    assert len(wall.origin.heads) == forwarded


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("target", corpus("paths_with_two_readings.txt"), ids=ascii)
async def test_a_path_that_leads_elsewhere_when_read_otherwise_is_refused(
    wall: Front, target: bytes
) -> None:
    """As for CVE-2023-33189, CVE-2025-32431 and CVE-2026-30851: the decision used one spelling, the
    application another. With the session of a user who may open everything."""
    forwarded = len(wall.origin.heads)
    answer = await wall.get(target, wall.cookie(await wall.opened()))
    assert answer.status == 400, answer
    assert len(wall.origin.heads) == forwarded


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("target", corpus("paths_forwarded.txt"), ids=ascii)
async def test_a_path_with_one_meaning_is_forwarded_byte_for_byte(
    wall: Front, target: bytes
) -> None:
    answer = await wall.get(target, wall.cookie(await wall.opened()))
    assert answer.status == 200, answer
    sent = target.removesuffix(b"?") if target == b"/?" else target  # ASGI has no empty query
    assert wall.origin.heads[-1].startswith(b"GET %b HTTP/1.1\r\n" % sent)


@pytest.mark.parametrize("query", ["?x=/admin/", "?/public/", "?a=../../", "?%2e%2e%2f", "?a?b#"])
async def test_a_query_changes_no_decision(front: Front, query: str) -> None:
    """CVE-2025-54576, GHSA-r27r-rr9v-vv37: a skip rule that matched path and query."""
    answer = await front.get("/private" + query)
    assert answer.status == (400 if "#" in query else 401)


# Different readers: each applies the steps of some server, in any order, and decodes at most twice.
DECODE = "decode"
READERS: dict[str, Callable[[bytes], bytes]] = {
    DECODE: unquote_to_bytes,
    "backslash": lambda path: path.replace(b"\\", b"/"),
    "parameters": lambda path: re.sub(rb";[^/]*", b"", path),
    "slashes": lambda path: re.sub(rb"//+", b"/", path),
    "query": lambda path: path.partition(b"?")[0],
    "fragment": lambda path: path.partition(b"#")[0],
    "dots": lambda path: posixpath.normpath(path) if b"." in path else path,
    "upper": lambda path: re.sub(rb"%..", lambda found: found[0].upper(), path),
    "lower": lambda path: re.sub(rb"%..", lambda found: found[0].lower(), path),
}
PIECES = (
    b"/ // \\ . .. %2e %2E %252e %2f %252f %5c %255c ; ;x %3b %253b % %2 %25 public app a b admin "
    b"%61 %2561 %70ublic %3f %3F %253f %23 %2523 %c0%ae \xff caf%C3%A9 caf%c3%a9 s%2Ft s%2ft"
).split(b" ")
paths = st.lists(st.sampled_from(PIECES), max_size=8).map(lambda pieces: b"/" + b"".join(pieces))
orders = st.lists(st.sampled_from(sorted(READERS)), max_size=6).filter(
    lambda steps: steps.count(DECODE) <= 2
)


@given(path=paths, steps=orders)
def test_every_reader_of_an_accepted_path_finds_the_same_rule(
    path: bytes, steps: list[str]
) -> None:
    try:
        check_target(path)
        others = list_readings(path)
    except BadPath:
        return
    request = accepted(path)
    assert request.other_readings == others
    target = AUTHORIZE.locate(request, path)
    if AUTHORIZE.is_ambiguous(request, target):
        return
    read = path
    for step in steps:
        read = READERS[step](read)
    assert AUTHORIZE.locate(request, read) == target


@given(path=paths, key=st.sampled_from(["route", "rule"]))
@example(path=b"//app", key="route")
@example(path=b"/app;x", key="rule")
@example(path=b"/%2561", key="rule")
def test_a_place_is_found_to_be_ambiguous_if_its_own_requests_are_refused(
    path: bytes, key: str
) -> None:
    routes: list[dict[str, object]] = [{"host": "other.test", "upstream": "http://127.0.0.1:9"}]
    rules = [{"path": path.decode("latin-1")}] if key == "rule" else []
    if key == "route":
        routes.append({"path": path.decode("latin-1"), "upstream": "http://127.0.0.1:10"})
    else:
        routes.append({"upstream": "http://127.0.0.1:9"})
    try:
        found = settings_from({"routes": routes, "access": {"rules": rules}})
    except InvalidSettings:
        return
    request = accepted((found.routes[1].path if key == "route" else path.decode()).encode())
    table = Authorize(found.routes, found.access)
    target = table.locate(request, request.path)
    assert target is not None and (key == "route" or table.rule(target).place[-1] == 0)
    is_found = any("can also be read as" in finding.message for finding in list_findings(found))
    assert is_found is table.is_ambiguous(request, target)


# A place with an escape in its path, requests for it, and others that it does not cover.
SPELT = [
    ({"path": "/caf%C3%A9/*"}, b"/caf%C3%A9/x /caf%c3%a9/x /caf%C3%a9", b"/cafe /caf%C3%A8/x"),
    ({"path": "/caf%c3%a9/*"}, b"/caf%C3%A9/x /caf%c3%a9/x", b"/cafe"),
    ({"path": "/my%20files/*"}, b"/my%20files/x%20y", b"/my+files/x"),
    ({"path": "/100%25"}, b"/100%25", b"/100%26"),
    ({"path_regex": "^/caf%C3%A9/.*$"}, b"/caf%C3%A9/x /caf%c3%a9/x", b"/cafe/x"),
    ({"path_regex": "^/caf%c3%a9/.*$"}, b"/caf%C3%A9/x /caf%c3%a9/x", b"/cafe/x"),
]


@pytest.mark.parametrize(("place", "covered", "others"), SPELT)
def test_a_rule_whose_path_has_escapes_applies_however_they_are_written(
    place: dict[str, str], covered: bytes, others: bytes
) -> None:
    """The advice of an invalid path is to write it encoded. Such a rule refused every request as
    ambiguous, and did not apply to escapes in lower case."""
    found = settings_from({"routes": ROUTES, "access": {"rules": [place | {"require": "deny"}]}})
    table = Authorize(found.routes, found.access)
    for path in (covered + b" " + others).split():
        request = accepted(path)
        target = table.locate(request, path)
        assert target is not None and not table.is_ambiguous(request, target), path
        assert table.rule(target).is_deny is (path in covered.split()), path


def test_an_expression_without_escapes_is_not_tried_with_other_spellings() -> None:
    """Each leaves out the request as it was sent. That another spelling matches makes the request
    ambiguous, and must not make it public."""
    for regex, path in (("^/[^C]*$", b"/%C3%A9"), ("^/my files$", b"/my%20files")):
        rule = {"path_regex": regex, "require": "public"}
        found = settings_from({"routes": ROUTES, "access": {"rules": [rule]}})
        table, request = Authorize(found.routes, found.access), accepted(path)
        target = table.locate(request, path)
        assert target is not None
        assert not table.is_public(target)
        assert table.is_ambiguous(request, target)


def test_a_route_whose_path_has_escapes_gets_its_requests() -> None:
    """Every one was refused as ambiguous."""
    for route in ("/caf%C3%A9", "/caf%c3%a9"):
        given_routes = [{"upstream": "http://127.0.0.1:9"}, ROUTES[1] | {"path": route}]
        found = settings_from({"routes": given_routes})
        table = Authorize(found.routes, found.access)
        for path in (b"/caf%C3%A9/x", b"/caf%c3%a9"):
            request = accepted(path)
            target = table.locate(request, path)
            assert target is not None and not table.is_ambiguous(request, target), path
            assert table.routes[target.route].path == route


def test_a_tokens_route_with_escapes_covers_all_readings_of_its_paths() -> None:
    """A token for such a path was always refused."""
    for path in (b"/caf%C3%A9/x", b"/caf%c3%a9/x"):
        readings = (path, *list_readings(path))
        assert len(readings) > 1
        assert all(covers_path(compile_prefix(b"/caf%C3%A9"), reading) for reading in readings)
    assert not covers_path(compile_prefix(b"/caf%C3%A9"), b"/cafe")


@given(
    st.one_of(
        st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join),
        st.text("/abc-._~!$&'()*+,=:@?%;\\#|", max_size=12).map(str.encode),
        st.binary(max_size=12),
    )
)
def test_a_usual_target_has_one_reading(rest: bytes) -> None:
    target = b"/" + rest
    if is_usual_target(target):
        check_target(target)
        assert not list_readings(target.partition(b"?")[0])


@given(st.binary(max_size=60))
def test_any_bytes_are_accepted_or_refused_as_a_path(data: bytes) -> None:
    try:
        assert b"/" + data not in list_readings(b"/" + data)
    except BadPath as fault:
        assert str(fault)


@given(st.lists(st.sampled_from(PIECES), max_size=400).map(b"".join))
def test_the_readings_of_a_path_are_bounded(path: bytes) -> None:
    try:
        assert len(list_readings(b"/" + path)) <= 64
    except BadPath as fault:
        assert str(fault)
