"""Identity headers: the presets as documented, and values that mean one thing."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from doorward.accounts.permissions import OWNER
from doorward.header_names import is_identity_name
from doorward.rewrite.identity_headers import PRESETS, encode
from hypothesis import given
from hypothesis import strategies as st

from tests.support.front import Build, Front
from tests.support.wire import lines_of

ALICE = {"name": "Älice A.", "groups": ["staff", "wiki admins"]}


async def sent(front: Front, **user: Any) -> list[tuple[bytes, bytes]]:
    """The identity lines that the application gets from a session of such a user."""
    session = front.cookie(await front.opened(**user))
    assert (await front.get("/", session)).status == 200
    prefixes = (b"remote-", b"x-remote-", b"x-forwarded-")
    rebuilt = {b"x-forwarded-%b" % name for name in (b"for", b"proto", b"host", b"port")}
    lines = lines_of(front.origin.heads[-1])
    return [line for line in lines if line[0].startswith(prefixes) and line[0] not in rebuilt]


EXPECTED = {
    "remote-user": [
        (b"remote-user", b"alice"),
        (b"remote-groups", b"staff,wiki admins"),
        (b"remote-name", b"%C3%84lice A."),
        (b"remote-email", b"alice@app.test"),
    ],
    "x-forwarded": [
        (b"x-forwarded-user", b"alice"),
        (b"x-forwarded-preferred-username", b"alice"),
        (b"x-forwarded-email", b"alice@app.test"),
        (b"x-forwarded-groups", b"staff,wiki admins"),
    ],
    "x-remote": [
        (b"x-remote-user", b"alice"),
        (b"x-remote-group", b"staff"),
        (b"x-remote-group", b"wiki admins"),
    ],
}


@pytest.mark.parametrize("preset", EXPECTED)
async def test_a_preset_sends_its_headers(fronts: Build, origin: object, preset: str) -> None:
    from doorward.accounts.user import Email

    front = await fronts(routes=[{"upstream": origin.url, "identity": preset}])  # type: ignore[attr-defined]
    assert await sent(front, emails=[Email("alice@app.test", True)], **ALICE) == EXPECTED[preset]


def test_no_answer_carries_a_header_of_a_preset() -> None:
    """A new preset is in the table of names that nobody else may send, either way."""
    assert EXPECTED.keys() | {"none"} == PRESETS.keys()
    assert all(is_identity_name(name) for lines in EXPECTED.values() for name, _ in lines)


async def test_several_presets_go_together(fronts: Build, origin: object) -> None:
    presets = ["x-remote", "remote-user"]
    front = await fronts(routes=[{"upstream": origin.url, "identity": presets}])  # type: ignore[attr-defined]
    lines = await sent(front)
    assert lines == [(b"x-remote-user", b"alice"), (b"remote-user", b"alice")]


async def test_empty_values_are_left_out(front: Front) -> None:
    assert await sent(front) == [(b"remote-user", b"alice")]


async def test_an_address_that_is_not_verified_is_not_told(front: Front) -> None:
    """CVE-2026-40574's kin: an address counts only once somebody has shown that it is theirs."""
    from doorward.accounts.user import Email

    lines = await sent(front, emails=[Email("admin@app.test", False)])
    assert lines == [(b"remote-user", b"alice")]


async def test_a_change_of_the_user_is_told_at_the_next_request(front: Front) -> None:
    """CVE-2021-41230: changed claims not re-evaluated during a session."""
    session = front.cookie(await front.opened())
    assert (await front.get("/", session)).status == 200
    await front.accounts.users.disable("alice", front.clock(), actor=OWNER)
    assert (await front.get("/", session)).status == 401


@given(st.text())
def test_a_value_is_visible_ascii_and_can_be_told_from_every_other(value: str) -> None:
    """CVE-2020-7695: line breaks in a header."""
    line = encode(value)
    assert all(0x20 <= byte < 0x7F for byte in line)
    assert unquote(line.decode(), errors="surrogatepass") == value


def test_every_preset_of_the_settings_is_built() -> None:
    assert set(PRESETS) == {*EXPECTED, "none"}
