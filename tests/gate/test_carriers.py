"""Several carriers in one request: memory and storage name the same caller.

The rules of precedence are checked over the wire in `test_identify.py` and beside each carrier.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import LockedOut
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import Found
from doorward.accounts.token import NewToken
from doorward.accounts.tokens.form import new_text
from doorward.gate.access_tokens import AccessCarrier
from doorward.gate.cookies import Cookies
from doorward.gate.credentials import Credentials
from doorward.gate.identify import NOBODY, Caller, Identify
from doorward.gate.tokens import TokenCarrier

from tests.support.front import HOST, Front, accepted
from tests.support.wire import Header

FOREIGN = "x" * 43
OVER = "over"  # in the name of a carrier whose session has ended


@dataclass
class Asked:
    """An `Identify` with every carrier, and the header lines or the target that carry each."""

    identify: Identify
    now: float
    cookies: Mapping[str, list[Header]]
    authorizations: Mapping[str, list[Header]]
    pairs: Mapping[str, list[Header]]
    targets: Mapping[str, bytes]

    def read(self, headers: list[Header], target: bytes = b"/") -> Credentials:
        return self.identify.read(accepted(target, [*HOST, *headers]))


def authorization(value: str) -> list[Header]:
    return [(b"authorization", value.encode())]


def pair(user_id: str, token: str) -> list[Header]:
    return [(b"x-user-id", user_id.encode()), (b"x-auth-token", token.encode())]


@pytest.fixture
async def asked(front: Front) -> Asked:
    accounts, now = front.accounts, front.clock()
    access = AccessCarrier(accounts.live, accounts.access)
    carrier = TokenCarrier(accounts.live, accounts.api_tokens, accounts.token_uses, accounts.basic)
    identify = Identify(
        accounts.live,
        accounts.tokens,
        Cookies(secure=False),
        bare_tokens=True,
        takes_pair=True,
        access=access,
        takes_linked=True,
        api_tokens=carrier,
    )
    alice, bob, over = [await front.opened(name) for name in ("alice", "bob", "alice")]
    issue = accounts.access.tokens.issue
    ended = issue(over.session, 3600.0, now)
    expired = issue(alice.session, 60.0, now - 120.0)
    await accounts.sessions.end(over.session, now)
    made = await accounts.api_tokens.add_token(
        alice.session.user, NewToken("phone"), actor=OWNER, now=now
    )
    linked = issue(bob.session, 3600.0, now)
    return Asked(
        identify,
        now,
        cookies={
            "none": [],
            "alice": [front.cookie(alice)],
            "bob": [front.cookie(bob)],
            "forged": [(b"cookie", b"doorward=" + front.signed(alice)[:-6] + b"AAAAAA")],
            OVER: [front.cookie(over)],
        },
        authorizations={
            "none": [],
            "alice": authorization(f"Bearer {alice.token}"),
            "bob": authorization(bob.token),
            "foreign": authorization(f"Bearer {FOREIGN}"),
            "access": authorization(f"Bearer {issue(alice.session, 3600.0, now)}"),
            "expired": authorization(f"Bearer {expired}"),
            "API token": authorization(f"Bearer {made.text}"),
            "wrong API token": authorization(f"Bearer {new_text()}"),
            OVER: authorization(f"Bearer {over.token}"),
            f"access {OVER}": authorization(f"Bearer {ended}"),
        },
        pairs={
            "none": [],
            "alice": pair(alice.session.user.id, alice.token),
            "of two": pair(bob.session.user.id, alice.token),
            "foreign": pair("17", FOREIGN),
            OVER: pair(alice.session.user.id, over.token),
        },
        targets={"none": b"/", "bob": b"/?token=" + linked.encode()},
    )


async def test_cache_and_storage_identify_the_same_caller(asked: Asked) -> None:
    """The kind: a rule of precedence that only one of two ways to the session knew."""
    seen = 0
    for cookie, line, both, linked in product(
        asked.cookies, asked.authorizations, asked.pairs, asked.targets
    ):
        headers = [*asked.cookies[cookie], *asked.authorizations[line], *asked.pairs[both]]
        target = asked.targets[linked]
        try:
            caller = await asked.identify.ask(asked.read(headers, target), asked.now)
        except LockedOut:
            caller = NOBODY  # wrong tokens are counted
        again = asked.identify.peek(asked.read(headers, target), asked.now)
        what = cookie, line, both, linked
        if again is None:
            assert any(OVER in each for each in what) or "wrong" in line, what
        else:
            assert again == caller, what
        seen += 1
    assert seen == 500


@pytest.mark.parametrize("line", ["alice", "access", "API token", "foreign", "none"])
@pytest.mark.parametrize("both", ["alice", "foreign", "none"])
async def test_a_session_in_memory_is_found_without_waiting(
    asked: Asked, line: str, both: str
) -> None:
    headers = [*asked.cookies["alice"], *asked.authorizations[line], *asked.pairs[both]]
    found: Caller = await asked.identify.ask(asked.read(headers), asked.now)
    assert found.session is not None
    assert asked.identify.peek(asked.read(headers), asked.now) == found


class Interrupted:
    """Storage in which something happens during each read of a token."""

    def __init__(self, happening: Callable[[], Awaitable[None]]) -> None:
        self.happening = happening

    async def by_token(self, token: str, now: float) -> Found:
        await self.happening()
        return Found(None, known=False)


async def test_a_session_that_ends_while_another_carrier_is_looked_up_does_not_count(
    front: Front,
) -> None:
    accounts, now = front.accounts, front.clock()
    alice = await front.opened()

    async def end() -> None:
        if not ended:
            ended.append(True)
            await accounts.sessions.end(alice.session, now)

    ended: list[bool] = []
    live = Live(cast(Any, Interrupted(end)), accounts.live._feed)
    identify = Identify(live, accounts.tokens, Cookies(secure=False))
    cookie = front.cookie(alice)
    await live.find_by(
        cookie[1].partition(b"=")[2], lambda: accounts.sessions.by_token(alice.token, now), now
    )
    headers = [*HOST, cookie, *authorization(f"Bearer {FOREIGN}")]
    caller = await identify.ask(identify.read(accepted(b"/", headers)), now)
    assert ended and caller.session is None
