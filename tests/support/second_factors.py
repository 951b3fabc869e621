"""Second factors of the users of a House, turned on without the pages, and their codes."""

from __future__ import annotations

from doorward.accounts.factors import totp

from tests.support.house import House
from tests.support.people import proven


async def turn_on_totp(home: House, name: str = "alice") -> str:
    """Turn on TOTP; the secret."""
    user, secret = await home.accounts.users.get(name), totp.new_secret()
    await home.accounts.second_factors.adopt_totp(user, secret, home.clock())
    return secret


async def turn_on_email(home: House, name: str = "alice") -> None:
    user = await home.accounts.users.get(name)
    await home.accounts.second_factors.enable_email(proven(user, home.clock()), home.clock())


async def recovery_codes(home: House, name: str = "alice") -> tuple[str, ...]:
    user = await home.accounts.users.get(name)
    return await home.accounts.second_factors.regenerate_recovery(
        proven(user, home.clock()), home.clock()
    )


def code_of(home: House, secret: str, later: int = 0) -> str:
    """The current code, or the one after that many steps."""
    return totp.code_at(secret, totp.step_at(home.clock()) + later)


def next_code(home: House, secret: str) -> str:
    """An unused code: moves the clock to the next step."""
    home.clock.now += totp.STEP_S
    return code_of(home, secret)
