"""The stored values that end the trust in remembered browsers."""

from __future__ import annotations

from tests.storage.conftest import Open
from tests.support.people import add

NOW = 1_800_000_000.0


async def test_ending_all_sessions_and_changing_a_factor_raise_the_number(opened: Open) -> None:
    store = await opened()
    user = await add(store)
    await store.factors.create(user.number, b"key")
    assert (await store.factors.read(user.number)).browsers == 0
    await store.sessions.end_all(user.number, NOW, "revoked", None)
    assert (await store.factors.read(user.number)).browsers == 1
    await store.factors.turn_on_totp(user.number, b"secret", 1, (), NOW)
    assert (await store.factors.read(user.number)).browsers == 2
    await store.factors.replace_recovery(user.number, (), NOW)
    assert (await store.factors.read(user.number)).browsers == 2
    await store.factors.turn_off_totp(user.number, NOW)
    assert (await store.factors.read(user.number)).browsers == 3
