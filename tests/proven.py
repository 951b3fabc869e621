"""A session whose user has just proved to be there, for calls that look no further."""

from __future__ import annotations

from doorward.accounts import randomness
from doorward.accounts.session import FULL, Session
from doorward.accounts.user import User


def proven(user: User, now: float) -> Session:
    """By password and by code; storage does not have it."""
    return Session(
        number=0,
        id=randomness.public_id(),
        user=user,
        iat=int(now),
        created_at=now,
        last_used_at=now,
        idle_timeout_s=None,
        expires_at=now + 3600,
        remember=False,
        address="192.0.2.1",
        user_agent="a browser",
        information="",
        kind="page",
        level=FULL,
        second_factor_at=now,
        proved_at=now,
    )
