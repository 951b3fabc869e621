"""An operator's own decision in Python, in addition to the rules: what it can and cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from doorward.app import Application
from doorward.gate.gate import Gate
from doorward.gate.policy import CALLS, THREADS, PolicyFunction, load_policy
from doorward.gate.policy_gate import PolicyFailed, PolicyGate
from doorward.policy import Allow, Deny, Identity, Request
from doorward.settings import InvalidSettings, settings_from
from doorward.start.preflight import check_files
from doorward.storage.sessions import SessionRows
from doorward.web.explanation import Question
from structlog.testing import capture_logs

from tests.support.front import Build, Front
from tests.support.origin import OK, Origin, answering
from tests.support.sessions import open_session
from tests.support.verifying import FORWARD_AUTH, SITE, verify
from tests.support.waiting import until
from tests.support.wire import Header, values_of

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "decisions-in-python.md"
RULES = {
    "rules": [
        {"path": "/public/*", "require": "public"},
        {"path": "/admin/*", "groups": ["admins"]},
        {"path": "/never/*", "require": "deny"},
        {"path": "/second/*", "require": "two_factor"},
        {
            "path": "/either/*",
            "any": [{"groups": ["a"], "require": "two_factor"}, {"users": ["x"]}],
        },
    ]
}
Decide = Callable[[Request, "Identity | None"], Any]
Set = Callable[..., dict[str, Any]]
DENIED, FAILED = b'"policy_denied"', b'"policy_failed"'


@pytest.fixture
def deciding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Set]:
    """The setting `access` with this function, in a module that Python finds. The limit is shorter
    for a function that never answers."""

    def make(decide: Any, timeout: str = "60s") -> dict[str, Any]:
        module = ModuleType("policy_of_a_test")
        module.decide = decide  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return RULES | {"decide": "policy_of_a_test:decide", "decide_timeout": timeout}

    yield make


def answering_with(answer: Any, *, is_async: bool = False) -> Decide:
    async def decide_async(request: Request, identity: Identity | None) -> Any:
        return answer

    def decide(request: Request, identity: Identity | None) -> Any:
        return answer

    return decide_async if is_async else decide


both = pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])


def test_a_module_that_exits_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that was not written to be imported may do so."""
    (tmp_path / "policy_that_exits.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    values = {"routes": [{"upstream": "http://a"}], "access": {"decide": "policy_that_exits:f"}}
    with pytest.raises(InvalidSettings, match="cannot be used: SystemExit"):
        load_policy(settings_from(values, tmp_path))


@both
async def test_none_leaves_the_decision_to_the_rules(
    fronts: Build, deciding: Set, is_async: bool
) -> None:
    front = await fronts(access=deciding(answering_with(None, is_async=is_async)))
    cookie = front.cookie(await front.opened())
    for path, nobody, alice in (
        ("/x", 401, 200), ("/public/x", 200, 200), ("/admin/x", 401, 403), ("/never/x", 403, 403),
    ):  # fmt: skip
        assert (await front.get(path)).status == nobody
        assert (await front.get(path, cookie)).status == alice


@both
async def test_deny_overrides_the_rules_and_only_the_log_has_the_reason(
    fronts: Build, deciding: Set, is_async: bool
) -> None:
    front = await fronts(access=deciding(answering_with(Deny("on Sundays"), is_async=is_async)))
    cookie = front.cookie(await front.opened())
    with capture_logs() as logs:
        for session in ((), (cookie,)):
            for path in ("/x", "/public/x", "/admin/x"):
                answer = await front.get(path, *session)
                assert answer.status == 403 and DENIED in answer.body
                assert b"Sundays" not in answer.body
    assert front.origin.heads == []
    said = [line for line in logs if line["event"] == "policy_denied"]
    assert len(said) == 6 and {line["reason"] for line in said} == {"on Sundays"}
    assert {line["user"] for line in said} == {"", "alice"} and said[0]["route"] == "/"


@both
async def test_allow_overrides_a_refusal_by_the_rules(
    fronts: Build, deciding: Set, is_async: bool
) -> None:
    front = await fronts(access=deciding(answering_with(Allow(), is_async=is_async)))
    cookie = front.cookie(await front.opened())
    for session in ((), (cookie,)):
        for path in ("/x", "/public/x", "/admin/x"):
            assert (await front.get(path, *session)).status == 200


async def test_allow_overrides_only_the_access_rules(fronts: Build, deciding: Set) -> None:
    front = await fronts(
        access=deciding(answering_with(Allow())),
        routes=[{"upstream": "http://127.0.0.1:9", "same_origin": True, "host": "app.test"}],
    )
    cookie = front.cookie(await front.opened())
    foreign: Header = (b"origin", b"https://evil.test")
    for session in ((), (cookie,)):
        assert (await front.get("/never/x", *session)).status == 403
        assert (await front.get("/second/x", *session)).status == 401
        assert (await front.get("/either/x", *session)).status in (401, 403)
        assert (await front.get("/public/%2e%2e/admin/x", *session)).status == 400
        assert (await front.get("/public%2fx", *session)).status == 400
        assert (await front.get("/x", *session, foreign, method="POST")).status == 403
        assert (await front.get("/.doorward/unknown", *session)).status == 404
    assert front.origin.heads == []


async def test_a_second_target_is_left_to_the_rules(fronts: Build, deciding: Set) -> None:
    front = await fronts(access=deciding(answering_with(Allow())))
    cookie = front.cookie(await front.opened())
    to: Header = (b"destination", b"http://app.test/admin/x")
    assert (await front.get("/x", cookie, to, method="COPY")).status == 403
    assert front.origin.heads == []


async def test_a_pending_session_does_not_count_and_cannot_be_allowed(
    fronts: Build, deciding: Set
) -> None:
    """CVE-2026-32246."""
    from doorward.accounts.session import PENDING, ClientInfo

    asked: list[Identity | None] = []

    def decide(request: Request, identity: Identity | None) -> Allow:
        asked.append(identity)
        return Allow()

    front = await fronts(access=deciding(decide))
    user = (await front.opened()).session.user
    pending = await open_session(
        front.accounts.sessions, user, client=ClientInfo("", ""), now=front.clock(), level=PENDING
    )
    assert (await front.get("/x", front.cookie(pending))).status == 401
    assert asked == [None] and front.origin.heads == []


async def test_the_function_gets_the_request_and_user_but_no_secret(
    fronts: Build, deciding: Set
) -> None:
    asked: list[tuple[Request, Identity | None]] = []

    def decide(request: Request, identity: Identity | None) -> None:
        asked.append((request, identity))

    front = await fronts(access=deciding(decide))
    opened = await front.opened(groups=["staff"], roles=["r"], name="Älice")
    lines = [front.cookie(opened), (b"X-Own", b"1"), (b"authorization", b"Basic eDp5")]
    assert (await front.get("/a%2Fb?c=d", *lines, (b"cookie", b"own=1"))).status == 200
    (request, identity) = asked[0]
    assert (request.method, request.scheme, request.host) == ("GET", "http", "app.test")
    assert (request.path, request.query, request.address) == ("/a%2Fb", "c=d", "192.0.2.1")
    assert (request.route, request.is_websocket, request.is_verification) == ("/", False, False)
    assert request.header("x-own") == "1" and request.header("X-Missing") is None
    assert not {name for name, _ in request.headers} & {"cookie", "authorization"}
    user = opened.session.user
    assert identity == Identity(
        "alice", "Älice", None, ("staff",), ("r",), opened.session.id, "full", user.id, False
    )
    assert opened.token not in repr(asked)


def raising(request: Request, identity: Identity | None) -> None:
    raise RuntimeError("out of order")


async def raising_async(request: Request, identity: Identity | None) -> None:
    raise RuntimeError("out of order")


async def late_async(request: Request, identity: Identity | None) -> Allow:
    await asyncio.get_running_loop().create_future()
    return Allow()


def late(request: Request, identity: Identity | None) -> Allow:
    threading.Event().wait()
    return Allow()


def exiting(request: Request, identity: Identity | None) -> Allow:
    raise SystemExit(3)


async def exiting_async(request: Request, identity: Identity | None) -> Allow:
    raise SystemExit(3)


def cancelling(request: Request, identity: Identity | None) -> Allow:
    raise asyncio.CancelledError


async def cancelling_async(request: Request, identity: Identity | None) -> Allow:
    """As if it awaited a task that was cancelled elsewhere."""
    raise asyncio.CancelledError


async def timing_out_async(request: Request, identity: Identity | None) -> Allow:
    """As if it had a limit of its own."""
    raise TimeoutError("of its own")


async def stubborn_async(request: Request, identity: Identity | None) -> Allow:
    with contextlib.suppress(BaseException):
        await asyncio.get_running_loop().create_future()
    return Allow()


class Awkward:
    def __call__(self, request: Request, identity: Identity | None) -> Any:
        return late_async(request, identity)


@pytest.mark.parametrize(
    ("decide", "says"),
    [
        (raising, "it raised RuntimeError: out of order"),
        (raising_async, "it raised RuntimeError: out of order"),
        (exiting, "it raised SystemExit: 3"),
        (exiting_async, "it raised SystemExit: 3"),
        (cancelling, "it raised CancelledError"),
        (cancelling_async, "it raised CancelledError"),
        (timing_out_async, "it raised TimeoutError: of its own"),
        (answering_with(True), "it returned bool"),
        (answering_with(Allow), "it returned type"),
        (answering_with("Allow", is_async=True), "it returned str"),
        (Awkward(), "it returned coroutine"),
    ],
    ids=[
        "raises",
        "raises late",
        "exits",
        "exits late",
        "cancels",
        "cancels late",
        "times out late",
        "bool",
        "type",
        "str",
        "coroutine",
    ],
)
async def test_any_error_in_the_function_refuses_the_request(
    fronts: Build, deciding: Set, decide: Decide, says: str
) -> None:
    await check_refusals(await fronts(access=deciding(decide)), says)


@pytest.mark.parametrize("decide", [late, late_async, stubborn_async])
async def test_a_function_that_does_not_answer_in_time_refuses(
    fronts: Build, deciding: Set, decide: Decide
) -> None:
    never = deciding(decide, "20ms")  # it never answers
    await check_refusals(await fronts(access=never), "longer than 0.02 s")


async def check_refusals(front: Front, says: str) -> None:
    cookie = front.cookie(await front.opened())
    with capture_logs() as logs:
        for path in ("/x", "/public/x"):
            answer = await front.get(path, cookie)
            assert answer.status == 403 and FAILED in answer.body
            assert b"order" not in answer.body
    assert front.origin.heads == []
    assert {says in line["reason"] for line in logs if line["event"] == "policy_failed"} == {True}


READINGS = ["/%61dmin/x", "//admin/x", "/admin%2fx", "/admin;a/x", "/%2561dmin/x", "/admin%3bx/x"]


@pytest.mark.parametrize("path", READINGS)
async def test_the_function_decides_on_every_reading_of_a_path(
    fronts: Build, deciding: Set, path: str
) -> None:
    """Otherwise it would decide on one representation, and another would be forwarded."""

    def closing(request: Request, identity: Identity | None) -> Any:
        return Deny("closed") if request.path.startswith("/admin/") else Allow()

    def opening(request: Request, identity: Identity | None) -> Any:
        return None if request.path.startswith("/admin/") else Allow()

    for decide, status in ((closing, 403), (opening, 401)):
        front = await fronts(access=deciding(decide) | {"rules": []})
        assert (await front.get("/a%20b")).status == 200
        assert (await front.get("/admin/x")).status == (await front.get(path)).status == status


@pytest.mark.parametrize("answer", [Allow(), None])
async def test_method_overrides_are_removed(fronts: Build, deciding: Set, answer: Any) -> None:
    def decide(request: Request, identity: Identity | None) -> Any:
        return Deny("reading only") if request.method == "DELETE" else answer

    front = await fronts(access=deciding(decide))
    names = (b"x-http-method-override", b"x-http-method", b"x-method-override")
    asked = await front.get("/public/x", *((name, b"DELETE") for name in names))
    assert asked.status == 200
    assert not any(value for name in names for value in values_of(front.origin.heads[-1], name))


@pytest.mark.parametrize(
    ("path", "route", "expected"),
    [
        ("/shared", {}, b"private, max-age=60"),
        ("/public/logo", {}, b"public, max-age=60"),
        ("/shared", {"cache_control": "keep"}, b"public, max-age=60"),
    ],
)
async def test_an_answer_allowed_by_the_function_is_not_publicly_cacheable(
    fronts: Build, deciding: Set, path: str, route: dict[str, Any], expected: bytes
) -> None:
    """The cache would give it to clients that the decision refuses."""
    said = b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 0\r\n\r\n"
    with Origin((answering(said),)) as origin:
        access = deciding(answering_with(Allow()))
        front = await fronts(access=access, routes=[{"upstream": origin.url} | route])
        answer = await front.get(path)
    assert answer.status == 200 and answer.values(b"cache-control") == [expected]


async def test_a_client_that_is_allowed_without_a_login_gets_no_credentials(
    fronts: Build, deciding: Set, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("token\n")
    secret.chmod(0o600)
    with Origin((answering(OK),)) as origin:
        for on_public, sent in ((False, []), (True, [b"Bearer token"])):
            credentials = {"bearer_file": str(secret), "on_public": on_public}
            route = {"upstream": origin.url, "credentials": credentials}
            access = deciding(answering_with(Allow()))
            front = await fronts(routes=[route], access=access)
            assert (await front.get("/x")).status == 200
            assert values_of(origin.heads[-1], b"authorization") == sent
            cookie = front.cookie(await front.opened())
            assert (await front.get("/x", cookie)).status == 200
            assert values_of(origin.heads[-1], b"authorization") == [b"Bearer token"]


REQUEST = Request("GET", "http", "app.test", "/", "", "192.0.2.1", (), "/")


async def test_blocking_calls_are_bounded_and_do_not_delay_others() -> None:
    """Calls wait for a free thread, and are refused at once if too many wait."""
    go_on = threading.Event()

    def block(request: Request, identity: Identity | None) -> Allow:
        go_on.wait()
        return Allow()

    policy = PolicyFunction(block, 0.2)
    calls = [asyncio.ensure_future(policy.ask(REQUEST, None)) for _ in range(CALLS + 5)]
    await asyncio.sleep(0)  # every call has begun
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, PolicyFailed) for one in found)
    said = [str(one) for one in found]
    assert sum("already running" in one for one in said) == 5
    assert sum("longer than" in one for one in said) == CALLS
    assert len(policy._threads) == THREADS
    go_on.set()
    policy._timeout_s = 30.0
    assert isinstance(await policy.ask(REQUEST, None), Allow)


async def test_an_answer_in_time_counts_even_if_the_event_loop_was_blocked() -> None:
    policy = PolicyFunction(lambda request, identity: Allow(), 1e-9)
    call = asyncio.ensure_future(policy.ask(REQUEST, None))
    await asyncio.sleep(0)  # the call has begun
    until(lambda: policy._room._value == CALLS)  # it holds up the loop until the call has ended
    assert isinstance(await call, Allow)


async def test_a_session_revoked_during_the_decision_is_refused(
    fronts: Build, deciding: Set
) -> None:
    front: Front

    async def decide(request: Request, identity: Identity | None) -> Allow | None:
        if identity is not None:
            await front.accounts.sessions.end(opened.session, front.clock())
        return None

    front = await fronts(access=deciding(decide))
    opened = await front.opened()
    assert (await front.get("/x", front.cookie(opened))).status == 401
    assert front.origin.heads == []


async def test_a_storage_failure_leaves_public_paths_to_the_function(
    fronts: Build, deciding: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    from doorward.accounts.refusals import StorageUnavailable

    def decide(request: Request, identity: Identity | None) -> Deny | None:
        return Deny("closed") if request.path == "/public/closed" else None

    front = await fronts(access=deciding(decide))
    cookie = front.cookie(await front.opened())

    async def fail(*_: object) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(SessionRows, "by_digest", fail)
    assert (await front.get("/x", cookie)).status == 503
    assert (await front.get("/public/x", cookie)).status == 200
    assert (await front.get("/public/closed", cookie)).status == 503
    assert len(front.origin.heads) == 1


async def test_the_function_decides_for_front_proxies_too(fronts: Build, deciding: Set) -> None:
    asked: list[Request] = []

    def decide(request: Request, identity: Identity | None) -> Deny | None:
        asked.append(request)
        return Deny("no") if request.path == "/x" else None

    front = await fronts(
        trusted_proxies=["10.0.0.0/8"], forward_auth=FORWARD_AUTH, routes=[{}],
        access=deciding(decide),
    )  # fmt: skip
    cookie = front.cookie(await front.opened())
    assert (await verify(front, "", cookie, target="/x")).status == 403
    assert (await verify(front, "", cookie, target="/y")).status == 200
    assert [one.is_verification for one in asked] == [True, True] and asked[0].host == SITE


async def test_the_function_gets_the_level_of_a_token(fronts: Build, deciding: Set) -> None:
    from doorward.accounts.permissions import OWNER
    from doorward.accounts.token import NewToken

    asked: list[Identity | None] = []

    def decide(request: Request, identity: Identity | None) -> None:
        asked.append(identity)

    front = await fronts(access=deciding(decide))
    user = (await front.opened()).session.user
    made = await front.accounts.api_tokens.add_token(
        user, NewToken("phone"), actor=OWNER, now=front.clock()
    )
    bearer: Header = (b"authorization", b"Bearer " + made.text.encode())
    assert (await front.get("/x", bearer)).status == 200
    assert asked[0] is not None and (asked[0].username, asked[0].level) == ("alice", "token")


async def test_explain_shows_the_decision(fronts: Build, deciding: Set) -> None:
    front = await fronts(access=deciding(answering_with(Deny("no"))))
    user, explainer = (await front.opened()).session.user, front.app.explainer
    assert explainer is not None
    found = await explainer.explain(Question("GET", "/x", user), front.clock())
    assert (found.outcome, found.status, found.code) == ("refused", 403, "policy_denied")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere_to_be_found:decide", "ModuleNotFoundError"),
        ("json:decide", "AttributeError"),
        ("json:loads", "TypeError"),
        ("doorward:__version__", "TypeError"),
    ],
)
async def test_an_unusable_function_stops_the_start_and_the_check(
    tmp_path: Path, name: str, says: str
) -> None:
    routes = [{"upstream": "http://127.0.0.1:9"}]
    values = {"data_dir": str(tmp_path), "routes": routes, "access": {"decide": name}}
    settings = settings_from(values, tmp_path)
    for check in (load_policy, check_files):
        with pytest.raises(InvalidSettings) as caught:
            check(settings)
        (fault,) = caught.value.faults
        assert fault.key == "access.decide" and says in fault.message
    with pytest.raises(InvalidSettings):
        async with Application(settings):
            pass


@pytest.mark.parametrize("name", ["policy", "a b:c", ":decide", "policy:", "policy.py", "a:b()"])
def test_a_name_without_a_function_is_a_fault(name: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings_from({"routes": [{"upstream": "http://a"}], "access": {"decide": name}})
    (fault,) = caught.value.faults
    assert fault.key == "access.decide" and "mypackage.policy:decide" in str(fault)


async def test_without_a_function_the_plain_gate_is_used(fronts: Build, deciding: Set) -> None:
    plain = await fronts(access=RULES)
    assert plain.app.gateway is not None and type(plain.app.gateway._gate) is Gate
    other = await fronts(access=deciding(answering_with(None)))
    assert other.app.gateway is not None and type(other.app.gateway._gate) is PolicyGate


async def test_the_example_in_the_guide_works(fronts: Build, deciding: Set) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    found: dict[str, Any] = {}
    exec(compile(code, str(GUIDE), "exec"), found)  # noqa: S102 - our own page
    front = await fronts(access=deciding(found["decide"]) | {"default": "deny"})
    cookie = front.cookie(await front.opened())
    today: Header = (b"x-today", b"12-24")
    assert (await front.get("/public/x", today)).status == 200
    assert (await front.get("/reports/x", cookie, today)).status == 403
    access = deciding(found["decide"])
    access["rules"] = [{"path": "/home/*", "groups": ["nobody"]}]
    front = await fronts(access=access)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/home/alice", cookie)).status == 200
    assert (await front.get("/home/bob", cookie)).status == 403
