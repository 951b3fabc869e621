"""Credentials for the application: which requests get them, and that a client's are never
forwarded."""

from __future__ import annotations

import base64
import os
import time
from pathlib import Path
from typing import Any

import pytest
from doorward.accounts.application_credentials import ApplicationLogin
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import StorageUnavailable
from doorward.app import Application
from doorward.settings import InvalidSettings, settings_from, settings_in_process
from doorward.settings.application_secrets import ApplicationSecrets
from doorward.start.preflight import check_files
from doorward.storage.application_credentials import CredentialRows
from doorward.web.explanation import Question
from structlog.testing import capture_logs

from tests.middleware.test_middleware import House, Inner
from tests.support.asgi import ask, scope
from tests.support.front import HOST, Build, Front
from tests.support.origin import Origin, answering
from tests.support.verifying import FORWARD_AUTH, verify
from tests.support.wire import Header, values_of

ACCESS = {
    "rules": [
        {"path": "/public/*", "require": "public"},
        {"path": "/open/*", "methods": ["GET"], "require": "public"},
        {"path": "/admin/*", "groups": ["admins"]},
    ]
}
SECRET = "s3cret:ü"
BASIC = b"Basic " + base64.b64encode(f"app:{SECRET}".encode())
OURS = b"bearer " + b"A" * 43  # in Doorward's form, but unknown

# Headers that a client may send for the application to read.
FORGED: list[Header] = [
    (b"authorization", b"Basic Zm9yZ2VkOmZvcmdlZA=="),
    (b"authorization", b"Bearer forged"),
    (b"authorization", OURS),
    (b"authorization", b"Negotiate YII="),
    (b"authorization", b"Digest username=forged"),
    (b"authorization", b"forged"),
    (b"authorization", b""),
    (b"Authorization", b"Basic forged"),
    (b"AUTHORIZATION", b"Basic forged"),
    (b"proxy-authorization", b"Basic forged"),
]


def secret_file(folder: Path, text: str = SECRET, mode: int = 0o600) -> Path:
    path = folder / "app-secret"
    path.write_text(text + "\n")
    path.chmod(mode)
    return path


def basic(folder: Path, **more: Any) -> dict[str, Any]:
    account = {"username": "app", "password_file": str(secret_file(folder))}
    return {"basic": account} | more


async def with_credentials(fronts: Build, origin: Origin, chosen: Any, **more: Any) -> Front:
    route = {"upstream": origin.url, "credentials": chosen}
    other = {"upstream": origin.url, "path": "/other"}
    return await fronts(**{"routes": [route, other], "access": ACCESS} | more)


def authorizations(front: Front) -> list[bytes]:
    return values_of(front.origin.heads[-1], b"authorization")


# Which requests


async def test_a_users_requests_get_the_applications_credentials(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path))
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    assert authorizations(front) == [BASIC]
    assert (await front.get("/other/x", cookie)).status == 200
    assert authorizations(front) == []


async def test_a_token_is_sent_as_bearer(fronts: Build, origin: Origin, tmp_path: Path) -> None:
    chosen = {"bearer_file": str(secret_file(tmp_path, "abc.def_-~+/=="))}
    front = await with_credentials(fronts, origin, chosen)
    assert (await front.get("/x", front.cookie(await front.opened()))).status == 200
    assert authorizations(front) == [b"Bearer abc.def_-~+/=="]


async def test_refused_and_public_requests_do_not_get_them(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    """Users whom every other rule refuses can also open a public path."""
    front = await with_credentials(fronts, origin, basic(tmp_path))
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x")).status == 401
    assert (await front.get("/admin/x", cookie)).status == 403
    assert front.origin.heads == []
    for session in ((), (cookie,)):
        for path in ("/public/x", "/open/x"):
            assert (await front.get(path, *session)).status == 200
            assert authorizations(front) == []
    assert (await front.get("/open/x", cookie, method="POST")).status == 200
    assert authorizations(front) == [BASIC]


async def test_public_paths_get_credentials_only_if_enabled(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path, on_public=True))
    for session in ((), (front.cookie(await front.opened()),)):
        assert (await front.get("/public/x", *session, (b"authorization", b"x"))).status == 200
        assert authorizations(front) == [BASIC]


@pytest.mark.parametrize("forged", FORGED, ids=lambda line: line[0] + b" " + line[1])
async def test_a_clients_authorization_is_never_forwarded(
    fronts: Build, origin: Origin, tmp_path: Path, forged: Header
) -> None:
    """Not on public paths either: on this route, the application trusts Authorization."""
    front = await with_credentials(fronts, origin, basic(tmp_path))
    cookie = front.cookie(await front.opened())
    for path, sent in (("/x", [BASIC]), ("/public/x", [])):
        assert (await front.get(path, cookie, forged)).status == 200
        assert authorizations(front) == sent
        assert b"forged" not in front.origin.heads[-1]
    assert (await front.get("/other/x", cookie, (b"authorization", b"Basic kept"))).status == 200
    assert authorizations(front) == [b"Basic kept"]


async def test_doorwards_tokens_are_replaced_by_the_credentials(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path))
    opened = await front.opened()
    bearer = (b"authorization", b"Bearer " + opened.token.encode())
    assert (await front.get("/x", bearer)).status == 200
    assert authorizations(front) == [BASIC]
    assert opened.token.encode() not in front.origin.heads[-1]


async def test_two_authorizations_are_not_forwarded(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path))
    cookie = front.cookie(await front.opened())
    lines = [(b"authorization", b"Basic a"), (b"authorization", b"Basic b")]
    assert (await front.get("/x", cookie, *lines)).status == 200
    assert authorizations(front) == [BASIC]


async def test_www_authenticate_is_removed_from_answers(
    fronts: Build, tmp_path: Path, origin: Origin
) -> None:
    """The password would never reach the application."""
    refusal = (
        b"HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm=app\r\nwww-authenticate: Negotiate\r\n"
        b"X-Kept: yes\r\nContent-Length: 0\r\n\r\n"
    )
    with Origin((answering(refusal),)) as refusing:
        front = await with_credentials(fronts, refusing, basic(tmp_path))
        for path in ("/x", "/public/x"):
            answer = await front.get(path, front.cookie(await front.opened()))
            assert answer.status == 401
            assert answer.values(b"www-authenticate") == []
            assert answer.values(b"x-kept") == [b"yes"]
        answer = await front.get("/other/x", front.cookie(await front.opened()))
        assert len(answer.values(b"www-authenticate")) == 2


async def test_credentials_are_added_after_rewriting(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    route = {
        "path": "/wiki",
        "upstream": f"{origin.url}/base",
        "rewrite": {"strip_path": True, "host": "wiki.internal", "answers": True},
        "credentials": basic(tmp_path),
    }
    front = await fronts(routes=[route])
    assert (await front.get("/wiki/x", front.cookie(await front.opened()))).status == 200
    head = front.origin.heads[-1]
    assert head.startswith(b"GET /base/x HTTP/1.1\r\nhost: wiki.internal\r\n")
    assert authorizations(front) == [BASIC]
    assert head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1


async def test_credentials_are_sent_with_a_body(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path))
    lines = [*HOST, front.cookie(await front.opened()), (b"content-length", b"3")]
    assert (await ask(front.app, scope("/x", lines, method="POST"), b"a=b")).status == 200
    assert authorizations(front) == [BASIC]


async def test_a_verification_answer_does_not_contain_them(fronts: Build, tmp_path: Path) -> None:
    route = {"upstream": "http://127.0.0.1:9", "credentials": basic(tmp_path)}
    front = await fronts(trusted_proxies=["10.0.0.0/8"], forward_auth=FORWARD_AUTH, routes=[route])
    cookie = front.cookie(await front.opened())
    answer = await verify(front, "", cookie)
    assert answer.status == 200
    assert answer.values(b"authorization") == []
    assert BASIC not in answer.head


# An account for each user

PER_USER = {"per_user": "basic"}


def said(account: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{account}:{password}".encode())


async def test_every_user_gets_their_own_credentials(fronts: Build, origin: Origin) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    cookies = {name: front.cookie(await front.opened(name)) for name in ("alice", "bob")}
    for name in cookies:
        await front.give_account(f"{name}.app", "geheim ü", name)
    for _ in range(2):
        for name, cookie in cookies.items():
            forged = (b"authorization", b"Basic forged")
            assert (await front.get("/x", cookie, forged)).status == 200
            assert authorizations(front) == [said(f"{name}.app", "geheim ü")]
    for path in ("/public/x", "/other/x"):
        assert (await front.get(path, cookies["alice"])).status == 200
        assert authorizations(front) == []


async def test_a_user_without_credentials_sends_none(fronts: Build, origin: Origin) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie, (b"authorization", b"Basic forged"))).status == 200
    assert authorizations(front) == []


async def test_changed_credentials_apply_to_the_next_request(fronts: Build, origin: Origin) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    cookie = front.cookie(await front.opened())
    user = await front.accounts.users.get("alice")
    for step in range(3):
        await front.give_account("alice", f"password {step}")
        assert (await front.get("/x", cookie)).status == 200
        assert authorizations(front) == [said("alice", f"password {step}")]
    await front.accounts.credentials.remove(user, "/", actor=OWNER, now=front.clock())
    assert (await front.get("/x", cookie)).status == 200
    assert authorizations(front) == []


async def test_credentials_are_read_once_per_session(
    fronts: Build, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    cookies = [front.cookie(await front.opened()) for _ in range(2)]
    await front.give_account("alice", "x")
    asked = []
    read = CredentialRows.read

    async def count(self: CredentialRows, user: int, route: str) -> object:
        asked.append(route)
        return await read(self, user, route)

    monkeypatch.setattr(CredentialRows, "read", count)
    for _ in range(3):
        for cookie in cookies:
            assert (await front.get("/x", cookie)).status == 200
            assert authorizations(front) == [said("alice", "x")]
    assert asked == ["/", "/"]


async def test_a_storage_failure_refuses_the_request(
    fronts: Build, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    cookie = front.cookie(await front.opened())
    await front.give_account("alice", "x")

    async def fail(self: CredentialRows, user: int, route: str) -> object:
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(CredentialRows, "read", fail)
        assert (await front.get("/x", cookie)).status == 503
        assert front.origin.heads == []
        assert (await front.get("/public/x", cookie)).status == 200
    assert (await front.get("/x", cookie)).status == 200
    assert authorizations(front) == [said("alice", "x")]


async def test_a_body_waits_until_they_are_found(fronts: Build, origin: Origin) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    await front.opened()
    await front.give_account("alice", "x")
    lines = [*HOST, front.cookie(await front.opened()), (b"content-length", b"3")]
    assert (await ask(front.app, scope("/x", lines, method="POST"), b"a=b")).status == 200
    assert authorizations(front) == [said("alice", "x")]


async def test_answers_to_requests_with_credentials_are_private(
    fronts: Build, tmp_path: Path
) -> None:
    """A shared cache must not store a page for one user."""
    cached = b"HTTP/1.1 200 OK\r\nCache-Control: public\r\nContent-Length: 0\r\n\r\n"
    with Origin((answering(cached),)) as origin:
        chosen = PER_USER | {"on_public": True}
        front = await with_credentials(fronts, origin, chosen)
        cookie = front.cookie(await front.opened())
        await front.give_account("alice", "x")
        answer = await front.get("/public/x", cookie)
        assert values_of(origin.heads[-1], b"authorization") == [said("alice", "x")]
        assert b"public" not in b",".join(answer.values(b"cache-control"))
        assert (await front.get("/public/x")).values(b"cache-control") == [b"public"]
        assert values_of(origin.heads[-1], b"authorization") == []


async def test_a_session_revoked_during_the_lookup_gets_no_credentials(
    fronts: Build, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    opened = await front.opened()
    await front.give_account("alice", "x")
    read = CredentialRows.read

    async def revoke(self: CredentialRows, user: int, route: str) -> object:
        found = await read(self, user, route)
        await front.accounts.sessions.end(opened.session, front.clock())
        return found

    monkeypatch.setattr(CredentialRows, "read", revoke)
    assert (await front.get("/x", front.cookie(opened))).status == 401
    assert front.origin.heads == []


async def test_explain_shows_whether_a_user_has_credentials(fronts: Build, origin: Origin) -> None:
    front = await with_credentials(fronts, origin, PER_USER)
    user, explainer = (await front.opened()).session.user, front.app.explainer
    assert explainer is not None
    question = Question("GET", "/x", user)
    assert "authorization" not in (await explainer.explain(question, front.clock())).head
    await front.give_account("alice", "x")
    head = (await explainer.explain(question, front.clock())).head
    assert head.endswith("authorization: Basic (hidden)\r\n\r\n")


# Doorward around an application in the same process


async def test_an_application_in_this_process_gets_the_credentials(tmp_path: Path) -> None:
    from doorward.middleware import Doorward
    from doorward.wiring.accounts import build_accounts

    inner = Inner()
    inner.headers = [(b"WWW-Authenticate", b"Basic"), (b"x-kept", b"yes")]
    values = {"data_dir": str(tmp_path), "access": ACCESS, "public_url": "http://app.test"}
    routes = [
        {"credentials": basic(tmp_path)},
        {"path": "/mine", "credentials": PER_USER},
    ]
    settings = settings_in_process(values | {"routes": routes}, tmp_path)
    app = Doorward(inner, settings)
    async with app._gate, build_accounts(settings) as accounts:
        house = House(inner, accounts, app)
        _, cookie = await house.opened()
        for path, sent in (("/x", [BASIC]), ("/public/x", [])):
            talk = await house.ask(path, cookie, (b"authorization", b"Basic forged"))
            assert talk.status == 200
            seen = inner.scopes[-1]["headers"]
            assert [value for name, value in seen if name == b"authorization"] == sent
            headers = talk.said[0]["headers"]
            assert (b"x-kept", b"yes") in headers
            assert not [name for name, _ in headers if name.lower() == b"www-authenticate"]
        user = await accounts.users.get("alice")
        login = ApplicationLogin("/mine", "alice", "x")
        await accounts.credentials.set(user, login, actor=OWNER, now=time.time())
        for _ in range(2):
            assert (await house.ask("/mine/x", cookie)).status == 200
            seen = inner.scopes[-1]["headers"]
            assert [v for n, v in seen if n == b"authorization"] == [said("alice", "x")]
        await accounts.credentials.remove(user, "/mine", actor=OWNER, now=time.time())
        assert (await house.ask("/mine/x", cookie)).status == 200
        assert b"authorization" not in dict(inner.scopes[-1]["headers"])


# Their files


async def test_a_changed_secret_file_is_reloaded(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path))
    cookie = front.cookie(await front.opened())
    assert (await front.get("/x", cookie)).status == 200
    fresh = tmp_path / "fresh"
    fresh.write_text("other\n")
    fresh.chmod(0o600)
    os.replace(fresh, tmp_path / "app-secret")
    await front.app._refresh()
    assert (await front.get("/x", cookie)).status == 200
    assert authorizations(front) == [b"Basic " + base64.b64encode(b"app:other")]


@pytest.mark.parametrize("spoil", ["gone", "empty", "lines", "readable"])
async def test_an_invalid_secret_file_is_logged_once_and_the_old_secret_stays(
    fronts: Build, origin: Origin, tmp_path: Path, spoil: str
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path))
    cookie, file = front.cookie(await front.opened()), tmp_path / "app-secret"
    if spoil == "gone":
        file.unlink()
    elif spoil == "readable":
        file.write_text("never")
        file.chmod(0o644)
    else:
        file.write_text({"empty": "\n", "lines": "never\nseen\n"}[spoil])
    with capture_logs() as logs:
        for _ in range(3):
            await front.app._refresh()
    (line,) = [line for line in logs if line["event"] == "secret_unusable"]
    assert "routes[0].credentials.basic.password_file" in line["reason"]
    assert "never" not in str(logs)
    assert (await front.get("/x", cookie)).status == 200
    assert authorizations(front) == [BASIC]


@pytest.mark.parametrize(
    ("text", "mode", "key", "says"),
    [
        (None, 0o600, "basic", "does not exist"),
        ("", 0o600, "basic", "is empty"),
        ("a\nb", 0o600, "basic", "more than one line"),
        ("x" * 5000, 0o600, "basic", "more than 4096 bytes"),
        (SECRET, 0o644, "basic", "can be read or written by other users"),
        (SECRET, 0o620, "basic", "can be read or written by other users"),
        ("not a token", 0o600, "bearer", "is not a Bearer token"),
    ],
)
async def test_a_file_that_cannot_be_used_stops_the_start_and_the_check(
    tmp_path: Path, text: str | None, mode: int, key: str, says: str
) -> None:
    path = tmp_path / "app-secret"
    if text is not None:
        secret_file(tmp_path, text, mode)
    named = {"username": "app", "password_file": str(path)}
    chosen = {"basic": named} if key == "basic" else {"bearer_file": str(path)}
    routes = [{"upstream": "http://127.0.0.1:9", "credentials": chosen}]
    settings = settings_from({"data_dir": str(tmp_path), "routes": routes}, tmp_path)
    for read in (ApplicationSecrets, check_files):
        with pytest.raises(InvalidSettings) as caught:
            read(settings)
        (fault,) = caught.value.faults
        assert fault.key.startswith("routes[0].credentials.") and says in fault.message
        assert not text or text not in str(fault)
    with pytest.raises(InvalidSettings):
        async with Application(settings):
            pass


# Settings

FILE = {"username": "a", "password_file": "x"}


@pytest.mark.parametrize(
    ("route", "key", "says"),
    [
        ({"credentials": {}}, "credentials", "has no credentials to send"),
        ({"credentials": {"on_public": True}}, "credentials", "has no credentials to send"),
        ({"credentials": {"basic": FILE, "bearer_file": "y"}}, "bearer_file", "combined"),
        ({"credentials": {"basic": FILE | {"username": "a:b"}}}, "username", "a colon"),
        ({"credentials": {"basic": FILE | {"username": "a\nb"}}}, "username", "control"),
        ({"credentials": {"basic": FILE | {"username": ""}}}, "username", "must be text"),
        ({"credentials": {"basic": {"username": "a"}}}, "password_file", "required"),
        ({"credentials": True}, "credentials", "mapping"),
    ],
)
def test_wrong_settings_are_reported(route: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings_from({"routes": [{"upstream": "http://a"} | route]})
    (fault,) = caught.value.faults
    assert fault.key.endswith(key) and says in fault.message


def test_credentials_need_a_route_with_an_upstream(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        values = {"forward_auth": FORWARD_AUTH, "trusted_proxies": ["10.0.0.0/8"]}
        settings_from(values | {"routes": [{"credentials": basic(tmp_path)}]})
    (fault,) = caught.value.faults
    assert fault.key == "routes[0].credentials" and "no upstream" in fault.message


# Where they are visible


async def test_explain_shows_the_line_and_hides_the_secret(
    fronts: Build, origin: Origin, tmp_path: Path
) -> None:
    front = await with_credentials(fronts, origin, basic(tmp_path))
    user, explainer = (await front.opened()).session.user, front.app.explainer
    assert explainer is not None
    found = await explainer.explain(Question("GET", "/x", user), front.clock())
    assert found.head.endswith("\r\nauthorization: Basic (hidden)\r\n\r\n")
    assert (
        "Authorization"
        not in (
            await explainer.explain(Question("GET", "/public/x", user), front.clock())
        ).head.title()
    )


async def test_credentials_are_never_logged(fronts: Build, origin: Origin, tmp_path: Path) -> None:
    with capture_logs() as logs:
        front = await with_credentials(fronts, origin, basic(tmp_path))
        assert (await front.get("/x", front.cookie(await front.opened()))).status == 200
    assert SECRET not in str(logs) and BASIC.decode() not in str(logs)
    assert SECRET not in repr(front.app._settings)
