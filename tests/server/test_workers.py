"""Several processes with one socket: they share sessions, stop together, and a crash affects only
one."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.token import NewToken
from doorward.settings import load_settings
from doorward.wiring.accounts import build_accounts

from tests.conftest import Start
from tests.support.live import Live, config_user
from tests.support.origin import OK, Origin, answering
from tests.support.waiting import until
from tests.support.wire import Client, get, values_of

STEM = 16  # characters of a request id that identify the process


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin((answering(OK),)) as origin:
        yield origin


@pytest.fixture(scope="module")
def pair(deploy: Start, origin: Origin) -> Live:
    return deploy(origin.url, workers=2, users=[config_user()])


def children(process: int) -> set[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return {int(number) for number in path.read_text().split()}


def one_client_each(live: Live, origin: Origin, cookie: str, stack: ExitStack) -> list[Client]:
    """A kept connection to every worker. A request's id identifies the worker."""
    found: dict[bytes, Client] = {}
    for number in range(200):
        client, target = stack.enter_context(live.client()), f"/{cookie[-9:]}/{number}"
        assert client.get(target, cookie, host=live.host).status == 200
        head = next(head for head in origin.heads if f"GET {target} ".encode() in head)
        stem = values_of(head, b"x-request-id")[0][:STEM]
        found.setdefault(stem, client)
        if len(found) == 2:
            return list(found.values())
    raise AssertionError("one worker took every connection")


def test_an_ended_session_is_refused_by_every_worker(pair: Live, origin: Origin) -> None:
    """CVE-2025-29928, CVE-2024-21492: five hundred rounds in which a session is ended and used at
    once."""
    with ExitStack() as stack:
        clients = one_client_each(pair, origin, pair.login(), stack)
        for number in range(500):
            cookie = pair.login()
            warm = [client.get("/", cookie, host=pair.host).status for client in clients]
            ending = get("/xhr/logout", cookie, host=pair.host)
            assert clients[number % 2].ask(ending).status == 204
            after = [client.get("/", cookie, host=pair.host).status for client in clients]
            assert (warm, after) == ([200, 200], [401, 401]), number


async def test_a_token_ended_by_a_command_is_refused_by_every_worker(
    pair: Live, origin: Origin
) -> None:
    """Two hundred rounds."""
    with ExitStack() as stack:
        clients = one_client_each(pair, origin, pair.login(), stack)
        async with build_accounts(load_settings(pair.config, {})) as accounts:
            user, new = await accounts.users.get("alice"), NewToken("phone")
            for number in range(200):
                now = time.time()
                made = await accounts.api_tokens.add_token(user, new, actor=OWNER, now=now)
                line = f"Authorization: Bearer {made.text}"
                warm = [client.get("/", line, host=pair.host).status for client in clients]
                await accounts.api_tokens.revoke(made.token.id, actor=OWNER, now=now)
                after = [client.get("/", line, host=pair.host).status for client in clients]
                assert (warm, after) == ([200, 200], [401, 401]), number


def test_a_ban_by_command_reaches_every_worker(pair: Live, origin: Origin) -> None:
    cookie = pair.login()
    with ExitStack() as stack:
        clients = one_client_each(pair, origin, cookie, stack)
        assert pair.command("user", "ban", "alice").returncode == 0
        assert {client.get("/", cookie, host=pair.host).status for client in clients} == {401}
        assert pair.command("user", "unban", "alice").returncode == 0
        assert {client.get("/", cookie, host=pair.host).status for client in clients} == {200}


def test_keys_are_rotated_and_retired_under_traffic(deploy: Start, origin: Origin) -> None:
    """Without a restart, and without refusing old cookies, new cookies at the other worker, or
    forms while their key is replaced."""
    live = deploy(
        origin.url,
        workers=2,
        users=[config_user()],
        routes=[{"upstream": origin.url, "assertion": {"audience": "wiki"}}],
    )
    first = live.login()
    with ExitStack() as stack:
        clients = one_client_each(live, origin, first, stack)

        def key_ids() -> set[int]:
            """The number of keys that each worker publishes."""
            found = [client.get("/.doorward/jwks.json", host=live.host) for client in clients]
            return {len(json.loads(answer.body)["keys"]) for answer in found}

        def everything_works() -> None:
            cookies = [first, live.login()]
            for client in clients:
                assert [client.get("/", one, host=live.host).status for one in cookies] == [200] * 2

        def signs(id: str) -> bool:
            everything_works()
            listed = json.loads(live.command("keys", "list", "--json").stdout)
            return {"signs"} == {
                row["state"] for row in listed if row["id"] == id and row["purpose"] == "cookies"
            }

        page = clients[0].get("/.doorward/account", first, host=live.host)
        form = re.search(rb'name="form" value="([0-9a-f]+)"', page.body)
        assert form is not None
        soon = "3s"  # or later
        added = json.loads(live.command("keys", "rotate", "--in", soon, "--json").stdout)
        until(lambda: key_ids() == {2}, "for both workers to publish the new key")
        until(lambda: signs(added["id"]), "for the new key to sign")
        until(lambda: live.log.read_text().count("secrets_renewed") == 2, "for both workers")
        everything_works()
        posted = f"form={form[1].decode()}&session=none".encode()
        head = (
            f"POST /.doorward/account/sessions HTTP/1.1\r\nHost: {live.host}\r\n{first}\r\n"
            f"Origin: http://{live.host}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(posted)}\r\n\r\n"
        )
        answer = clients[1].ask(head.encode() + posted)
        assert answer.status == 303, answer

        refused = live.command("keys", "retire", added["former"])
        assert refused.returncode == 1 and "signs assertions until" in refused.stderr
        assert live.command("keys", "rotate", "--leaked").returncode == 0
        until(lambda: key_ids() == {3}, "for both workers to publish the third key")
        done = live.command("keys", "retire", added["former"], "--force")
        assert done.returncode == 0, done.stderr
        until(lambda: key_ids() == {2}, "for both workers to forget the first key")
        statuses = [client.get("/", first, host=live.host).status for client in clients]
        assert statuses == [401, 401], "a cookie under a retired key is nobody's"
        first = live.login()
        everything_works()


def test_a_worker_that_dies_is_replaced_and_sessions_survive(pair: Live) -> None:
    cookie = pair.login()
    before = children(pair.pid)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(children(pair.pid) - before) == 1, "for a new worker")
    assert {pair.get("/", cookie).status for _ in range(10)} == {200}


def test_all_workers_stop_together(deploy: Start, origin: Origin) -> None:
    live = deploy(origin.url, workers=2)
    workers = children(live.pid)
    assert live.stop() == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_workers_end_when_their_parent_is_killed(deploy: Start, origin: Origin) -> None:
    live = deploy(origin.url, workers=2)
    workers = children(live.pid)
    live.kill()
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "for an end")


def test_workers_that_cannot_start_end_the_command(tmp_path: Path, origin: Origin) -> None:
    live = Live(tmp_path, origin.url, workers=2)
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "doorward.db").write_bytes(b"no database" * 100)
    done = live.command("serve")
    assert done.returncode == 2
    assert "doorward.db" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_whose_key_is_lost_does_not_start(
    tmp_path: Path, origin: Origin, workers: int
) -> None:
    with Live(tmp_path, origin.url, workers=workers, users=[config_user()]) as live:
        live.login()
        assert live.stop() == 0
    key = tmp_path / "data" / "doorward.key"
    lost = key.rename(tmp_path / "aside")
    done = live.command("serve")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"data_dir: {key} is missing, and the database needs it for 1 session;" in done.stderr
    assert not key.exists()
    lost.rename(key)


def test_workers_share_memory_loaded_before_the_fork(pair: Live) -> None:
    """It was a quarter of each worker's memory when the garbage collector wrote to all of it. Now
    it is half."""
    for worker in children(pair.pid):
        lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()[1:]
        kib = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        assert kib["Shared_Dirty"] > 0.4 * (kib["Shared_Dirty"] + kib["Private_Dirty"])
