"""Products that read the user from headers, replaced by small applications that read them in the
same way.

Each is configured as in the documentation of identity headers, and gets requests from a user with a
non-ASCII name, from a client without a session, and from a client that forges the headers in every
spelling that the product accepts.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from tests.conftest import Start
from tests.support.live import Live, config_user
from tests.support.wire import Answer

NAME = "Jörg Müller"
USER = {"name": NAME} | config_user(
    "joerg",
    email="joerg@example.com",
    groups=["staff", "wiki editors"],
    roles=["Editor"],
)
RULES = {"rules": [{"path": "/public/*", "require": "public"}]}


@dataclass
class Account:
    """A user account that the product has created."""

    login: str
    name: str = ""
    email: str = ""
    groups: list[str] = field(default_factory=list)
    role: str = ""


Read = Callable[[BaseHTTPRequestHandler], Account | None]


@contextmanager
def serving(read: Read) -> Iterator[str]:
    """Like the HTTP server of a Go program: header values are the received bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            account = read(self)
            body = json.dumps(None if account is None else vars(account)).encode()
            self.send_response(401 if account is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def first_value(handler: BaseHTTPRequestHandler, name: str) -> str:
    """Like Go's `Header.Get`: the first line of that name, or an empty text."""
    return (handler.headers.get(name) or "").encode("latin-1").decode()


def visit(live: Live, cookie: str | None, *lines: str, path: str = "/") -> tuple[int, Any]:
    answer: Answer = live.get(path, *([] if cookie is None else [cookie]), *lines)
    return answer.status, json.loads(answer.body)


def spellings(*names: str) -> list[str]:
    """The spellings that a client may try."""
    marks = ("-", "_", ".")
    spelt = [name.replace("-", mark) for name in names for mark in marks]
    return [f"{one}: root" for name in spelt for one in (name, name.lower(), name.upper())]


def grafana(accounts: dict[str, Account], whitelist: tuple[str, ...]) -> Read:
    """`[auth.proxy]`: header_name, headers, whitelist and auto_sign_up."""

    def read(handler: BaseHTTPRequestHandler) -> Account | None:
        login = first_value(handler, "X-WEBAUTH-USER")
        if not login or handler.client_address[0] not in whitelist:
            return None
        account = accounts.setdefault(login, Account(login))
        account.name = first_value(handler, "X-WEBAUTH-NAME")
        account.email = first_value(handler, "X-WEBAUTH-EMAIL")
        account.groups = [
            one.strip() for one in first_value(handler, "X-WEBAUTH-GROUPS").split(",")
        ]
        account.role = first_value(handler, "X-WEBAUTH-ROLE")
        return account

    return read


def test_grafana_signs_up_its_user_with_name_groups_and_role(deploy: Start) -> None:
    accounts: dict[str, Account] = {}
    told = ["webauth", {"header": "X-WEBAUTH-ROLE", "value": "roles"}]
    with serving(grafana(accounts, ("127.0.0.1",))) as url:
        route = {"upstream": url, "identity": told, "encoding": "utf-8"}
        live = deploy("", routes=[route], users=[USER], access=RULES)
        cookie = live.login("joerg")
        names = ("X-WEBAUTH-USER", "X-WEBAUTH-ROLE", "X-WEBAUTH-GROUPS", "X-WEBAUTH-NAME")
        for forged in ([], *([line] for line in spellings(*names))):
            status, account = visit(live, cookie, *forged)
            assert status == 200
            assert account == {
                "login": "joerg",
                "name": NAME,
                "email": "joerg@example.com",
                "groups": ["staff", "wiki editors"],
                "role": "Editor",
            }
            assert visit(live, None, *forged, path="/public/x") == (401, None)
        assert list(accounts) == ["joerg"]


def test_grafana_ignores_clients_that_are_not_on_its_whitelist(deploy: Start) -> None:
    with serving(grafana({}, ("192.0.2.1",))) as url:
        live = deploy("", routes=[{"upstream": url, "identity": "webauth"}], users=[USER])
        assert visit(live, live.login("joerg")) == (401, None)


def gitea(accounts: dict[str, Account]) -> Read:
    """Reverse proxy authentication with auto registration, e-mail and full name: the user's data
    are only read when the account is created."""

    def read(handler: BaseHTTPRequestHandler) -> Account | None:
        login = first_value(handler, "X-WEBAUTH-USER").strip()
        if not login:
            return None
        email = first_value(handler, "X-WEBAUTH-EMAIL") or "0000@localhost"
        made = Account(login, first_value(handler, "X-WEBAUTH-FULLNAME"), email)
        return accounts.setdefault(login.lower(), made)

    return read


def test_gitea_registers_its_user_once(deploy: Start) -> None:
    accounts: dict[str, Account] = {}
    with serving(gitea(accounts)) as url:
        route = {"upstream": url, "identity": ["webauth"], "encoding": "utf-8"}
        bare = config_user("bare")
        live = deploy("", routes=[route], users=[USER, bare], access=RULES)
        cookie = live.login("joerg")
        for forged in ([], *([line] for line in spellings("X-WEBAUTH-USER", "X-WEBAUTH-EMAIL"))):
            status, account = visit(live, cookie, *forged)
            assert (status, account["login"], account["name"]) == (200, "joerg", NAME)
            assert account["email"] == "joerg@example.com"
        assert visit(live, None, path="/public/x") == (401, None)
        # Unknown attributes are not sent, and the product uses its default.
        _, account = visit(live, live.login("bare"), "X-WEBAUTH-EMAIL: root@example.com")
        assert (account["email"], account["name"]) == ("0000@localhost", "")
        assert sorted(accounts) == ["bare", "joerg"]


def nextcloud(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """`user_saml` in environment mode, with HTTP_REMOTE_USER for the uid: CGI's name for the
    header, in any spelling."""
    uid = environ.get("HTTP_REMOTE_USER", "")
    name = environ.get("HTTP_REMOTE_NAME", "").encode("latin-1").decode()
    account = Account(uid, name, environ.get("HTTP_REMOTE_EMAIL", "")) if uid else None
    body = json.dumps(account and vars(account)).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK" if uid else "401 Unauthorized", headers)
    return [body]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("preset", "name"), [("cgi", ""), ("remote-user", NAME)])
def test_nextcloud_takes_its_user_from_the_environment(
    deploy: Start, preset: str, name: str
) -> None:
    with make_server("127.0.0.1", 0, nextcloud, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        route = {
            "upstream": f"http://127.0.0.1:{server.server_port}",
            "identity": preset,
            "encoding": "utf-8",
        }
        live = deploy("", routes=[route], users=[USER], access=RULES)
        cookie = live.login("joerg")
        for forged in ([], *([line] for line in spellings("Remote-User", "Remote-Name"))):
            status, account = visit(live, cookie, *forged)
            assert (status, account["login"], account["name"]) == (200, "joerg", name)
            assert visit(live, None, *forged, path="/public/x") == (401, None)
        server.shutdown()
