"""A route's rewriting, over sockets, with the same results on both code paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering

ANSWER = (
    b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.5/login\r\nSet-Cookie: a=1; Path=/\r\n"
    b"Set-Cookie: doorward=stolen\r\nContent-Length: 0\r\n\r\n"
)


@pytest.mark.parametrize("fast_lane", [True, False])
def test_a_route_rewrites_every_request_on_a_connection(tmp_path: Path, fast_lane: bool) -> None:
    rewrite = {
        "strip_path": True,
        "host": "old.internal",
        "answers": True,
        "elsewhere": ["http://10.0.0.5"],
    }
    with Origin((answering(ANSWER),), path=tmp_path / "app.sock") as origin:
        live = Live(
            tmp_path / "live",
            "",
            routes=[
                {"path": "/wiki", "upstream": origin.url, "rewrite": rewrite, "same_origin": True},
                {"upstream": origin.url},
            ],
            users=[config_user()],
            fast_lane=fast_lane,
        )
        with live, live.client() as client:
            cookie = live.login()
            for target in ("/wiki/a?b", "/plain", "/wiki/a?b", "/plain", "/wiki/a?b"):
                got = client.get(target, cookie, "Origin: http://evil.test", host=live.host)
                head = origin.heads[-1]
                assert got.values(b"cache-control") == [b"private"]
                if target == "/plain":
                    assert got.values(b"location") == [b"http://10.0.0.5/login"]
                    assert got.values(b"set-cookie") == [b"a=1; Path=/"]
                    assert head.startswith(f"GET /plain HTTP/1.1\r\nhost: {live.host}\r\n".encode())
                    assert b"x-forwarded-prefix" not in head
                else:
                    assert got.values(b"location") == [b"/wiki/login"]
                    assert got.values(b"set-cookie") == [b"a=1; Path=/wiki"]
                    assert head.startswith(b"GET /a?b HTTP/1.1\r\nhost: old.internal\r\n")
                    assert head.count(b"x-forwarded-prefix: /wiki\r\n") == 1
            for method in ("POST", "DELETE"):
                request = f"{method} /wiki/a HTTP/1.1\r\nHost: {live.host}\r\n{cookie}\r\n"
                client.send(f"{request}Origin: http://evil.test\r\n\r\n".encode())
                assert client.answer().status == 403
            assert len(origin.heads) == 5


@pytest.mark.parametrize("fast_lane", [True, False])
def test_second_targets_are_judged_whichever_way_a_request_takes(
    tmp_path: Path, fast_lane: bool
) -> None:
    """A COPY has no body, so it uses the fast lane once its session is in memory."""
    rewrite = {"strip_path": True}
    with Origin((answering(OK),), path=tmp_path / "app.sock") as origin:
        live = Live(
            tmp_path / "live",
            "",
            routes=[{"path": "/dav", "upstream": origin.url, "rewrite": rewrite}],
            access={"rules": [{"path": "/dav/secret/*", "groups": ["admins"]}]},
            users=[config_user()],
            fast_lane=fast_lane,
        )
        with live, live.client() as client:
            cookie = live.login()
            for _ in range(3):
                for path, status in (("b", 200), ("secret/b", 403), ("secr%65t/b", 400)):
                    line = f"Destination: http://{live.host}/dav/{path}"
                    head = f"COPY /dav/a HTTP/1.1\r\nHost: {live.host}\r\n{cookie}\r\n{line}"
                    with live.client() as other:
                        assert other.ask(f"{head}\r\n\r\n".encode()).status == status
                assert client.get("/dav?a", cookie, host=live.host).status == 308
            assert len(origin.heads) == 3
            sent = f"\r\ndestination: http://{live.host}/b\r\n".encode()
            assert all(head.startswith(b"COPY /a ") and sent in head for head in origin.heads)
