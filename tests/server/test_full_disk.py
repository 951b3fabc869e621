"""On a full disk, logins and counts fail, but the server keeps running."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.live import Live, config_user
from tests.support.origin import Origin
from tests.support.small_disk import SmallDisk

# One request of each dialect that counts requests, then requests that write audit records and
# attempts.
ASKED = [
    ("/api/v1/login", {"user": "nobody", "password": "wrong"}),
    ("/api/user/login", {"username": "nobody", "password": "wrong"}),
    ("/xhr/login", {"username": "nobody", "password": "wrong"}),
]


def post(live: Live, path: str, fields: dict[str, str]) -> int:
    body = json.dumps(fields)
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: {live.host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    with live.client() as client:
        return client.ask("\r\n".join([*head, "", body]).encode()).status


@pytest.mark.fault(
    "requests of strangers on a full disk",
    "a session",
    "the session; the server goes on",
    "503 for logins and codes, 200 for the session",
    "storage_failed, then storage_recovered",
)
def test_anonymous_requests_on_a_full_disk_are_refused_and_the_server_keeps_running(
    tmp_path: Path, small_disk: SmallDisk, origin: Origin
) -> None:
    live = Live(
        tmp_path,
        origin.url,
        data_dir=str(small_disk.path / "data"),
        users=[config_user()],
        dialects={"rocketchat": {}, "alekeagle": {}, "xhr": {}},
    )
    with live:
        cookie = live.login()
        small_disk.fill()
        for path, fields in ASKED:  # there may still be room for a count or an attempt
            assert post(live, path, fields) in (401, 503), path
        assert live.get("/", cookie).status == 200
        small_disk.make_room()
        for path, fields in ASKED:
            assert post(live, path, fields) in (400, 401), path
