"""The access log of a server: one line for each request, on both code paths, without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Start
from tests.server.test_metrics import script
from tests.support.live import PASSWORD, Live, config_user
from tests.support.origin import Origin
from tests.support.waiting import until
from tests.support.wire import get

KEYS = {
    "bytes", "client", "cut", "decision", "duration_ms", "event", "host", "level", "logger",
    "method", "reason", "request_id", "route", "session", "status", "target", "timestamp", "user",
}  # fmt: skip


RULES = [{"path": "/public/*", "require": "public"}, {"path": "/x", "groups": ["g"]}]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((script,)) as origin:
        yield origin


@pytest.fixture(scope="module")
def live(deploy: Start, origin: Origin, fast_lane: bool) -> Live:
    return deploy(
        origin.url,
        fast_lane=fast_lane,
        log={"access": True, "level": "error"},
        access={
            "rules": [{"path": "/public/*", "require": "public"}, {"path": "/x", "groups": ["g"]}]
        },
        users=[config_user()],
        trusted_proxies=["127.0.0.1"],
        dialects={"xhr": {}, "datepoll": {"token_on_upstream": True}},
    )


def lines(live: Live) -> list[dict[str, Any]]:
    found = (json.loads(line) for line in live.lines())
    asked = (line for line in found if line["logger"] == "doorward.access")
    return [line for line in asked if line["target"] != "/.doorward/healthz"]


def line_of(live: Live, request_id: str) -> dict[str, Any]:
    """The only line for this request."""

    def found() -> list[dict[str, Any]]:
        return [line for line in lines(live) if line["request_id"] == request_id]

    until(found, f"for a line of {request_id}")
    (line,) = found()
    assert line.keys() == KEYS
    assert line["client"] == "198.51.100.7" and line["duration_ms"] > 0
    return line


def named(request_id: str) -> tuple[str, str]:
    return f"X-Request-Id: {request_id}", "X-Forwarded-For: 198.51.100.7"


def test_a_forwarded_request_is_logged_with_its_user(live: Live) -> None:
    cookie = live.login()
    for turn in range(3):  # new, kept, and with headers that were sent before
        with live.client() as client:
            assert client.get("/a?b=c", cookie, *named(f"f{turn}"), host=live.host).status == 200
        line = line_of(live, f"f{turn}")
        assert len(line["session"]) == 17 and line["session"] not in cookie
        assert {key: line[key] for key in ("method", "target", "host", "status", "bytes")} == {
            "method": "GET",
            "target": "/a?b=c",
            "host": live.host,
            "status": 200,
            "bytes": 2,
        }
        assert (line["route"], line["decision"], line["reason"]) == ("/", "forwarded", "")
        assert (line["user"], line["cut"]) == ("alice", False)


def test_refusals_and_own_pages_are_logged(live: Live) -> None:
    cookie = live.login()
    live.get("/a", cookie)
    for target, lines, status, decision, reason, user in [
        ("/a", (), 401, "refused", "unauthenticated", ""),
        ("/x", (cookie,), 403, "refused", "forbidden", "alice"),
        ("/public/../a", (), 400, "refused", "bad_request", ""),
        ("/.doorward/login", (), 200, "ours", "", ""),
        ("/xhr/session", (cookie,), 200, "ours", "", "alice"),
    ]:
        request_id = f"r{status}{decision}{user}"
        with live.client() as client:
            answer = client.get(target, *lines, *named(request_id), host=live.host)
        assert answer.status == status
        if reason == "bad_request":
            continue  # its headers are not trusted
        line = line_of(live, request_id)
        assert (line["status"], line["decision"], line["reason"]) == (status, decision, reason)
        assert (line["user"], line["bytes"]) == (user, len(answer.body))


def test_a_request_that_was_not_accepted_has_the_id_that_its_answer_shows(live: Live) -> None:
    with live.client() as client:
        answer = client.get("/public/../a", host=live.host)
    request_id = json.loads(answer.body)["request_id"]

    def found() -> list[dict[str, Any]]:
        return [line for line in lines(live) if line["request_id"] == request_id]

    until(found, "for its line")
    (line,) = found()
    assert (line["status"], line["target"], line["client"]) == (400, "/public/../a", "127.0.0.1")


def test_an_incomplete_answer_says_so(live: Live, origin: Origin) -> None:
    cookie = live.login()
    live.get("/a", cookie)
    with live.client() as client:
        client.send(get("/cut", cookie, *named("cut"), host=live.host))
        client.rest()
    line = line_of(live, "cut")
    assert (line["status"], line["reason"], line["cut"]) == (200, "answer_cut", True)
    assert line["bytes"] == 2
    with live.client() as client:
        client.send(get("/never", cookie, *named("left"), host=live.host))
        until(lambda: any(b"/never" in head for head in origin.heads), "for the request")
    line = line_of(live, "left")
    assert (line["status"], line["reason"], line["cut"]) == (499, "client_gone", True)


def test_a_stream_that_ends_with_its_session_says_why(live: Live, origin: Origin) -> None:
    cookie = live.login()
    with live.client() as client:
        client.send(get("/never", cookie, *named("over"), host=live.host))
        until(lambda: any(b"/never" in head for head in origin.heads), "for the request")
        live.get("/xhr/logout", cookie)
        client.rest()
    line = line_of(live, "over")
    assert (line["status"], line["decision"], line["reason"]) == (401, "refused", "unauthenticated")


def test_a_tunnel_is_logged_when_it_ends(live: Live) -> None:
    cookie = live.login()
    with live.client() as client:
        asked = ("Connection: Upgrade", "Upgrade: echo", cookie, *named("tunnel"))
        client.send(get("/tunnel", *asked, host=live.host))
        assert client.head().startswith(b"HTTP/1.1 101 ")
        client.send(b"hello")
        assert client.read(5) == b"hello"
        assert not [line for line in lines(live) if line["request_id"] == "tunnel"]
    line = line_of(live, "tunnel")
    assert (line["status"], line["bytes"], line["user"]) == (101, 5, "alice")
    assert (line["decision"], line["cut"]) == ("forwarded", False)


def signed_in(live: Live) -> tuple[str, str]:
    """An access token of the dialect that uses them in links, and the refresh token."""
    body = json.dumps({"username": "alice", "password": PASSWORD}).encode()
    about = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    head = get("/api/auth/signin", *about, host=live.host).replace(b"GET", b"POST", 1)
    with live.client() as client:
        answer = client.ask(head + body)
    assert answer.status in (200, 201), answer
    said = json.loads(answer.body)
    return said["token"], answer.head.decode()


def test_no_line_contains_a_token_or_a_cookie(live: Live) -> None:
    token, _ = signed_in(live)
    cookie = live.login()
    bare = cookie.partition("=")[2]
    for at, target in enumerate(
        (
            f"/a?b=c&token={token}",
            f"/a?%74oken={token}&b=c",
            f"/api/v1/user/myself/session?token={token}",
            f"/public/../a?token={token}",
            "/a",
        )
    ):
        live.get(target, cookie, f"Authorization: Bearer {token}", *named(f"t{at}"))
        live.get(target, *named(f"u{at}"))
    assert line_of(live, "t0")["target"] == line_of(live, "u1")["target"] == "/a?b=c"
    assert line_of(live, "u0")["user"] == "alice"
    written = live.log.read_text()
    assert token not in written and bare not in written
    assert token.split(".")[-1] not in written


def test_hostile_bytes_are_escaped(live: Live) -> None:
    live.get("/public/a", *named("the-last-before"))
    line_of(live, "the-last-before")
    before = len(lines(live))
    for request in (
        b"GET /\xff\x85\xe2\x80\xa8 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /\x1b[2J HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"G\x1bT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /public/a HTTP/1.1\r\nHost: \xff\x9b2J\r\nConnection: close\r\n\r\n",
    ):
        with live.client() as client:
            client.send(request)
            client.rest()
    until(lambda: len(lines(live)) == before + 4, "for four lines")
    assert all(line["status"] in (400, 421) for line in lines(live)[before:])
    assert live.log.read_text().replace("\n", "").isprintable()


def test_nothing_is_written_unless_it_is_asked_for(deploy: Start, origin: Origin) -> None:
    live = deploy(origin.url, access={"default": "public"})
    assert live.get("/a").status == 200
    assert not lines(live)


def test_processes_write_whole_lines(deploy: Start, origin: Origin) -> None:
    live = deploy(origin.url, access={"default": "public"}, workers=2, log={"access": True})
    clients = [live.client() for _ in range(10)]
    for at in range(200):
        assert clients[at % 10].get(f"/{'a' * 500}{at}", host=live.host).status == 200
    for client in clients:
        client.close()
    until(lambda: len(lines(live)) == 200, "for all")
