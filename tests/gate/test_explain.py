"""`explain` reports what the server does, because the same code decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from doorward.accounts.user import User
from doorward.cli.main import app as commands
from doorward.observe.refusals import (
    FILE_BYTES,
    KEPT_S,
    MOST_PER_SECOND,
    NAME,
    KeptRefusal,
    Refusals,
    find_refusal,
)
from doorward.web.explanation import FORWARDED, INTERNAL, Explainer, Explanation, Question
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.gate.test_rules import with_factor
from tests.support.clock import FixedClock
from tests.support.command import HASH
from tests.support.front import Front, front_of
from tests.support.origin import OK, Origin, answering
from tests.support.wire import Header, lines_of

pytestmark = pytest.mark.outside

RULES: list[dict[str, Any]] = [
    {"preset": "public-assets"},
    {"name": "open", "path": "/public/*", "methods": ["GET", "HEAD"], "require": "public"},
    {"path": "/admin/*", "groups": ["admins"], "require": "two_factor", "max_age": "10m"},
    {
        "path": "/ops/*",
        "any": [{"groups": ["admins"]}, {"users": ["bob"], "networks": ["10.0.0.0/8"]}],
    },
    {"path_regex": "^/u/[0-9]+$", "methods": ["GET"], "roles": ["reader"]},
    {"path": "/never", "require": "deny"},
    {"host": "*.b.test", "networks": ["192.0.2.0/24"]},
]
WIKI = [{"path": "/wiki/x", "require": "deny"}]


@dataclass
class Known:
    """Users with the cookie of a session. A client without a user has no cookie."""

    front: Front
    people: dict[str, tuple[User, Header, bool]]

    @property
    def explainer(self) -> Explainer:
        explainer = self.front.app.explainer
        assert explainer is not None
        return explainer

    async def explain(
        self, who: str, method: str, url: str, address: str = "192.0.2.1"
    ) -> Explanation:
        user, _, has_factor = self.people.get(who, (None, None, False))
        question = Question(method, url, user, address, has_factor)
        return await self.explainer.explain(question, self.front.clock())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def known(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Known]:
    with Origin((answering(OK),)) as origin:
        routes = [
            {"host": "app.test", "upstream": origin.url, "identity": ["remote-user", "authentik"]},
            {
                "host": "app.test",
                "path": "/wiki",
                "upstream": f"{origin.url}/base",
                "rules": WIKI,
                "rewrite": {"strip_path": True},
            },
            {"host": "*.b.test", "upstream": origin.url, "identity": "x-remote"},
        ]
        folder = tmp_path_factory.mktemp("explain")
        access = {"rules": RULES, "default": "authenticated"}
        async with front_of(folder, origin, routes=routes, access=access) as front:
            admin, _ = await with_factor(front)
            bob = await front.opened("bob", roles=["reader"], groups=["staff"])
            carol = await front.opened("carol", groups=["admins"])
            await front.accounts.users.edit("alice", _into_admins(), front.clock(), actor=_owner())
            people = {
                "alice": (await front.accounts.users.get("alice"), front.cookie(admin), True),
                "bob": (await front.accounts.users.get("bob"), front.cookie(bob), False),
                "carol": (await front.accounts.users.get("carol"), front.cookie(carol), False),
            }
            yield Known(front, people)


def _into_admins() -> Any:
    from doorward.accounts.users.editing import Edit

    return Edit(add_groups=("admins",))


def _owner() -> Any:
    from doorward.accounts.permissions import OWNER

    return OWNER


PIECES = (
    "public admin ops u 1 23 x never wiki favicon.ico manifest.json %61dmin admin; .. %2e %2f"
    " public%2fx .doorward login a%5cb %zz"
)
SEGMENTS = st.sampled_from(["", *PIECES.split()])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts))
QUERIES = st.sampled_from(["", "", "?a=b", "?/admin/", "?x=%2e%2e"])
HOSTS = st.sampled_from(["app.test", "app.test", "APP.test:80", "x.b.test", "b.test", "c.test"])
METHODS = st.sampled_from(["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "PROPFIND", "get"])
ADDRESSES = st.sampled_from(["192.0.2.1", "10.1.2.3", "2001:db8::1", "::ffff:10.0.0.1"])


@pytest.mark.asyncio(loop_scope="module")
@settings(
    max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["nobody", "alice", "bob", "carol"]), METHODS, HOSTS, PATHS, QUERIES, ADDRESSES
)  # fmt: skip
async def test_explain_agrees_with_the_server(
    known: Known, who: str, method: str, host: str, path: str, query: str, address: str
) -> None:
    front, target = known.front, path + query
    found = await known.explain(who, method, f"http://{host}{target}", address)
    event(f"{found.outcome} {found.status}")
    cookie = [known.people[who][1]] if who in known.people else []
    before = len(front.origin.heads)
    answer = await _ask(front, target, [(b"host", host.lower().encode()), *cookie], method, address)
    if found.outcome == INTERNAL:
        assert len(front.origin.heads) == before
        assert path.startswith("/.doorward/")
    elif found.outcome == FORWARDED:
        assert answer.status == 200, (found, answer)
        assert _without_id(found.head.encode("latin-1")) == _without_id(front.origin.heads[-1])
    else:
        assert answer.status == found.status, (found, answer)
        assert len(front.origin.heads) == before
        assert found.code.encode() in answer.body or method == "HEAD" or not answer.body
    if found.rules:
        *passed, deciding = found.rules
        assert deciding.applies and not any(rule.applies for rule in passed)
        for rule in found.rules:
            assert rule.applies is all(each.holds for each in rule.conditions)
        is_open = deciding.requires == "public"
        met = any(all(each.holds for each in demand) for demand in found.demands)
        agree = all(reading.agrees for reading in found.readings)
        if found.outcome == FORWARDED:
            assert (is_open or met) and agree
        elif found.code in ("unauthenticated", "forbidden", "second_factor_required"):
            assert not (is_open or met)


async def _ask(front: Front, target: str, headers: list[Header], method: str, peer: str) -> Any:
    from tests.support.asgi import ask, scope

    return await ask(front.app, scope(target, headers, method=method, peer=peer))


def _without_id(head: bytes) -> list[tuple[bytes, bytes]]:
    first = head.partition(b"\r\n")[0]
    return [(b"", first), *(line for line in lines_of(head) if line[0] != b"x-request-id")]


@pytest.mark.asyncio(loop_scope="module")
async def test_it_says_which_rule_decides_and_what_is_missing(known: Known) -> None:
    found = await known.explain("carol", "GET", "http://app.test/admin/x")
    assert (found.status, found.code, found.level) == (
        401, "second_factor_required", "authenticated",
    )  # fmt: skip
    assert [rule.place.key for rule in found.rules] == [f"access.rules[{n}]" for n in range(3)]
    assert found.rules[1].place.name == "open"
    (demand,) = found.demands
    assert {each.name: each.holds for each in demand} == {
        "login": True, "groups": True, "second factor": False,
    }  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
async def test_explain_shows_where_another_reading_leads(known: Known) -> None:
    found = await known.explain("alice", "GET", "http://app.test/public/%61dmin;/../x")
    assert found.status == 400
    found = await known.explain("alice", "GET", "http://app.test/%61dmin/x")
    assert (found.status, found.code) == (400, "bad_request")
    (reading,) = found.readings
    assert (reading.path, reading.agrees) == ("/admin/x", False)
    assert reading.leads_to == "routes[0], access.rules[2]"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_user_whose_sessions_do_not_count_is_not_logged_in(known: Known) -> None:
    from dataclasses import replace

    user = replace(known.people["bob"][0], banned=True)
    question = Question("GET", "http://app.test/x", user)
    found = await known.explainer.explain(question, known.front.clock())
    assert (found.status, found.level) == (401, "nobody")
    assert found.notes == ("bob is banned: no session of theirs counts.",)


# The command

FILE = """\
data_dir: data
public_url: https://wiki.test
routes:
  - upstream: http://127.0.0.1:9
access:
  rules:
    - name: administration
      path: /admin/*
      groups: [admins]
    - {path: /open/*, methods: [GET], require: public}
users:
  - username: ada
    password_hash: "HASH"
    groups: [admins]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "doorward.yaml").write_text(FILE.replace("HASH", HASH))
    return str(tmp_path / "doorward.yaml")


def explained(file: str, *words: str, status: int = 0) -> str:
    done = CliRunner().invoke(commands, ["explain", *words, "-c", file])
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.stderr


def test_the_command_prints_rule_line_and_headers(file: str) -> None:
    text = explained(file, "--user", "ADA", "GET", "https://wiki.test/admin/x")
    assert "access.rules[0] 'administration' (line 7): applies" in text
    assert "[x] path: /admin/*" in text and "[x] groups: admins" in text
    assert "Forwarded" in text and "Remote-User: ada" in text
    text = explained(file, "/admin/x")
    assert "not logged in, from" in text and "Refused  401 unauthenticated" in text


def test_the_command_prints_json(file: str) -> None:
    found = json.loads(explained(file, "--json", "--method", "POST", "/open/x"))
    assert (found["outcome"], found["status"], found["code"]) == ("refused", 401, "unauthenticated")
    assert found["rules"][-1]["place"] == {"key": "access.default", "line": None, "name": ""}
    found = json.loads(explained(file, "--json", "/open/x"))
    assert found["outcome"] == "forwarded" and ["host", "wiki.test"] in found["headers"]
    assert found["request_line"] == "GET /open/x HTTP/1.1"


async def test_a_refusal_is_found_by_the_id_on_its_page(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "doorward.yaml").write_text(FILE.replace("HASH", HASH))
    values = {
        "routes": [{"upstream": origin.url}],
        "access": {"rules": [{"path": "/admin/*", "groups": ["admins"]}]},
    }
    async with front_of(tmp_path / "data", origin, **values) as front:
        cookie = front.cookie(await front.opened("bob"))
        answer = await front.get("/admin/x?token=secret", cookie)
        unfit = await front.get("/a/../b")
    ids = [json.loads(each.body)["request_id"] for each in (answer, unfit)]
    kept = (tmp_path / "data" / "refusals.jsonl").read_text()
    assert "secret" not in kept
    assert (tmp_path / "data" / "refusals.jsonl").stat().st_mode & 0o777 == 0o600

    file = str(tmp_path / "doorward.yaml")
    text = await asyncio.to_thread(explained, file, "--request-id", ids[0])
    assert "403 forbidden" in text and "GET /admin/x by bob" in text
    assert "access.rules[0] 'administration' (line 7): applies" in text
    found = json.loads(await asyncio.to_thread(explained, file, "--json", "--request-id", ids[1]))
    assert (found["refusal"]["status"], found["now"]) == (400, None)
    assert "dot segment" in found["refusal"]["message"]
    for words in (["--request-id", "other"], ["--request-id", ids[0][:-1]]):
        said = await asyncio.to_thread(explained, file, *words, status=1)
        assert said.startswith("No request refused within the last day has the id")


def test_refusals_are_kept_for_a_day_and_take_bounded_room(tmp_path: Path) -> None:
    clock = FixedClock(1000.0)
    refusals = Refusals(tmp_path)
    for number in range(120):
        if refusals.has_room(clock.now):
            refusals.keep(_kept(str(number), clock.now))
    assert len((tmp_path / NAME).read_text().splitlines()) == MOST_PER_SECOND
    assert find_refusal(tmp_path, "7", clock.now + KEPT_S - 1) == _kept("7", 1000.0)
    assert find_refusal(tmp_path, "7", clock.now + KEPT_S) is None
    for number in range(2 * FILE_BYTES // 100_000 + 4):
        clock.now += 1
        assert refusals.has_room(clock.now)
        refusals.keep(_kept(f"big{number}", clock.now, "x" * 100_000))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2 and max(sizes) < FILE_BYTES + 200_000
    assert find_refusal(tmp_path, f"big{number}", clock.now) is not None
    with (tmp_path / NAME).open("a") as half:
        half.write('{"request_id": "half')
    assert find_refusal(tmp_path, "half", clock.now) is None
    assert find_refusal(tmp_path / "nowhere", "7", clock.now) is None


def _kept(request_id: str, at: float, path: str = "/x") -> KeptRefusal:
    return KeptRefusal(
        request_id, at, "GET", "http", "a", path, "::1", "", False, 401, "unauthenticated", "No."
    )


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--request-id", "x", "/"], 2, "cannot be combined with"),
        ([], 2, "Give one URL"),
        (["--user", "eve", "/"], 1, "There is no user named eve"),
        (["ftp://x/"], 2, "neither a URL"),
        (["x"], 2, "neither a URL"),
        (["http://[::1/x"], 2, "neither a URL"),
        (["/caf\udce9"], 2, "neither a URL"),
        (["http://caf\udce9/"], 2, "neither a URL"),
        (["G\udce9T", "/"], 2, "neither a URL"),
        (["--from", "here", "/"], 2, "not an address"),
        (["GET", "POST", "/"], 2, "Give one URL"),
        (["--method", "GET", "POST", "/"], 2, "Give one URL"),
    ],
)
def test_a_request_that_cannot_be_explained_gets_an_error(
    file: str, words: list[str], status: int, said: str
) -> None:
    assert said.lower() in explained(file, *words, status=status).lower()


def test_a_host_that_front_proxies_ask_about_is_explained(tmp_path: Path) -> None:
    """Its route needs no upstream."""
    file = tmp_path / "doorward.yaml"
    file.write_text(
        "trusted_proxies: [10.0.0.1]\nforward_auth: {hosts: [wiki.test]}\n"
        "access: {rules: [{path: /public/*, require: public}]}\n"
    )
    text = explained(str(file), "https://wiki.test/public/x")
    assert "where the front proxy sends it" in text and "Forwarded" in text
    assert "Refused  401 unauthenticated" in explained(str(file), "https://wiki.test/x")
    assert "Refused  404" in explained(str(file), "https://other.test/public/x")
