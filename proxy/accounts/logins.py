"""A login: name and password in, a session or a refusal out. The order of the checks is this file.

It knows no form and no cookie. Whatever goes wrong on the way ends as a refusal, never in a session
"""

from __future__ import annotations

from proxy.accounts.passwords import Passwords
from proxy.accounts.refusals import InvalidCredentials, PasswordChangeRequired, UserBanned
from proxy.accounts.sessions import ClientInfo, Lifetimes, Opened, Session, Sessions
from proxy.accounts.user import User
from proxy.accounts.users import Users


class Logins:
    """Nothing about one login is kept on this object (CVE-2026-33544)."""

    __slots__ = ("_passwords", "_sessions", "_users")

    def __init__(self, users: Users, sessions: Sessions, passwords: Passwords) -> None:
        self._users = users
        self._sessions = sessions
        self._passwords = passwords

    async def login(
        self,
        name: str,
        password: str,
        *,
        client: ClientInfo,
        kind: str,
        lifetimes: Lifetimes,
        remember: bool,
        now: float,
        replaces: Session | None = None,
        information: str = "",
    ) -> Opened:
        """Opens a session with a new token and ends `replaces`.

        Raises InvalidCredentials, UserBanned, PasswordChangeRequired, Overloaded,
        StorageUnavailable.
        """
        user = await self._verified(name, password)
        return await self._sessions.open(
            user,
            client=client,
            kind=kind,
            lifetimes=lifetimes,
            remember=remember,
            now=now,
            information=information,
            replaces=replaces,
        )

    async def _verified(self, name: str, password: str) -> User:
        """The user whose password this is, allowed to log in.

        Every failure costs HASHES_PER_FAILURE hashes, whichever it is. This is where a limit on
        attempts belongs: asked before the look-up, told after the verdict."""
        credential = await self._users.credential(name)
        if credential is None:
            await self._passwords.waste()
            raise InvalidCredentials("unknown")
        verdict = await self._passwords.verify(
            credential.password_hash, credential.scheme, password
        )
        if not verdict.ok:
            raise InvalidCredentials("password")
        user = credential.user
        if not user.active:
            await self._passwords.waste(verdict.hashes)
            raise InvalidCredentials("disabled")
        if verdict.rehash is not None:
            await self._users.rehash(credential, verdict.rehash)
        if user.banned:
            raise UserBanned
        if user.must_change_password:
            raise PasswordChangeRequired(user)
        return user
