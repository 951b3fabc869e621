"""A name, an address or a code of 60 KiB costs no more than a wrong one, at every entrance.

One login with 64 KiB of combining marks once froze a worker for six seconds. The length is checked
before any normalisation, in `doorward.text`; `tests/rules` ensure that no other code normalises.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import Refusal
from doorward.directories.authelia import read_authelia
from doorward.directories.formats import FormatFault
from doorward.directories.htpasswd import read_htpasswd
from doorward.directories.tinyauth import read_tinyauth
from doorward.settings import InvalidSettings, settings_from

from tests.pages.test_admin_pages import SECRET, desk, post
from tests.support.house import PASSWORD, House, house
from tests.support.live import CHEAP_HASH
from tests.support.mailbox import Mailbox

# Far longer than an answer with its hashes takes, and far shorter than normalising such a text
# once.
CPU_S = 1.5
SIZE = 60_000  # bytes of UTF-8 that fit into a body of 64 KiB
SHAPES = {
    "marks out of order": "a" + "\u0315" * (SIZE // 4) + "\u0300" * (SIZE // 4),
    "marks and an address": "a" + "\u0315" * (SIZE // 4) + "\u0300" * (SIZE // 4) + "@b.test",
    "ligatures that grow": "\ufdfa" * (SIZE // 3),
    "white space": "a" + " " * SIZE + "b",
    "nearly an address": "a" * SIZE + "@",
    "digits and gaps": "1 " * (SIZE // 2),
}
Enter = Callable[[House, httpx.AsyncClient, str], Awaitable[object]]


def form(path: str, field: str, **more: str) -> Enter:
    async def enter(home: House, client: httpx.AsyncClient, text: str) -> object:
        async with home.browser(sec_fetch_site="same-origin") as browser:
            # As multipart, in which non-ASCII text does not take three times as much.
            return await browser.post(
                path, files={name: (None, value) for name, value in ({field: text} | more).items()}
            )

    return enter


def body(path: str, **fields: Any) -> Enter:
    """JSON; `...` is replaced with the text."""

    async def enter(home: House, client: httpx.AsyncClient, text: str) -> object:
        filled = {name: text if value is ... else value for name, value in fields.items()}
        return await client.post(path, content=_json(filled), headers=JSON)

    return enter


JSON = {"content-type": "application/json"}


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def admin(path: str, field: str, **more: str) -> Enter:
    async def enter(home: House, client: httpx.AsyncClient, text: str) -> object:
        async with desk(home, "root") as browser:
            return await post(browser, path, **({field: text[:20_000]} | more))

    return enter


async def search(home: House, client: httpx.AsyncClient, text: str) -> object:
    async with desk(home, "root") as browser:
        return await browser.get("/.doorward/admin", params={"q": text[:5000]})


async def operations(home: House, client: httpx.AsyncClient, text: str) -> object:
    """The operations that the commands call."""
    users, now = home.accounts.users, home.clock()
    for call in (
        users.get(text),
        users.add(text, PASSWORD, now=now),
        users.set_password(text, PASSWORD, now=now, actor=OWNER),
        users.credential(text),
    ):
        try:
            await call
        except Refusal as refusal:
            assert len(str(refusal)) < 4096
    return None


async def files(home: House, client: httpx.AsyncClient, text: str) -> object:
    for reader, content in (
        (read_htpasswd, f"{text}:{CHEAP_HASH}"),
        (read_tinyauth, f"{text}:{CHEAP_HASH}"),
        (read_authelia, f"users: {{'{text}': {{password: '{CHEAP_HASH}', email: '{text}'}}}}"),
    ):
        with suppress(FormatFault):
            reader(content)
    return None


async def configuration(home: House, client: httpx.AsyncClient, text: str) -> object:
    user = {"username": text, "password_hash": CHEAP_HASH, "email": text, "groups": [text]}
    values = {"routes": [{"upstream": "http://127.0.0.1:9"}], "users": [user]}
    with pytest.raises(InvalidSettings):
        settings_from(values, home.settings.data_dir)
    return None


ENTRANCES: dict[str, Enter] = {
    "login page": form("/.doorward/login", "username", password=PASSWORD),
    "login page, password": form("/.doorward/login", "password", username="alice"),
    "login page, code": form("/.doorward/login", "code", username="guarded", password=PASSWORD),
    "forgotten password": form("/.doorward/forgotten", "username"),
    "xhr": body("/xhr/login", username=..., password=PASSWORD),
    "xhr, code": body("/xhr/login", username="guarded", password=PASSWORD, code=...),
    "alekeagle": body("/auth/login", user=..., **{"pass": PASSWORD}),
    "datepoll": body("/auth/signin", username=..., password=PASSWORD),
    "datepoll, description": body(
        "/auth/signin", username="alice", password=PASSWORD, session_information=...
    ),
    "rocketchat": body("/api/v1/login", user=..., password=PASSWORD),
    "rocketchat, code mailed": body("/api/v1/users.2fa.sendEmailCode", emailOrUsername=...),
    "search of the admin page": search,
    "new user, name": admin("/.doorward/admin/new-user", "login"),
    "new user, display name": admin("/.doorward/admin/new-user", "display", login="carol"),
    "new user, address": admin("/.doorward/admin/new-user", "email", login="dave"),
    "new user, groups": admin("/.doorward/admin/new-user", "groups", login="erin"),
    "commands": operations,
    "files of users": files,
    "configuration": configuration,
}


@pytest.fixture
async def home(tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[House]:
    dialects: dict[str, Any] = {"xhr": {}, "alekeagle": {}, "datepoll": {}, "rocketchat": {}}
    for one in ("alekeagle", "rocketchat"):
        dialects[one] = {"rate_limit": "off"}
    async with house(tmp_path, dialects=dialects, regulation={"enabled": False}) as opened:
        await opened.add("root", super_admin=True)
        await opened.add("alice")
        await opened.add("guarded")
        guarded = await opened.accounts.users.get("guarded")
        await opened.accounts.second_factors.adopt_totp(guarded, SECRET, opened.clock())
        yield opened


@pytest.mark.parametrize("name", ENTRANCES)
async def test_long_text_costs_no_more_than_a_wrong_name(home: House, name: str) -> None:
    enter = ENTRANCES[name]
    async with home.program() as client:
        await enter(home, client, "x")  # modules that are imported at the first use
        for shape, text in SHAPES.items():
            started = time.process_time()
            await enter(home, client, text)
            await home.accounts.forgotten.settle()
            assert time.process_time() - started < CPU_S, shape
