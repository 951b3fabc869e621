"""Login, logout and the caller's user, in the `rocketchat` dialect.

Knows the forms of a login; must not know whether it succeeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.administration import Administration
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.logins import LoginRequest
from doorward.accounts.passwords.hashing import Password, PasswordDigest
from doorward.accounts.permissions import END_USERS_SESSIONS, require
from doorward.accounts.refusals import InvalidCredentials, NotPermitted, UserNotFound
from doorward.accounts.sessions.sessions import FULL, NewSession, Session, Sessions
from doorward.accounts.user import User
from doorward.dialects.context import Malformed
from doorward.dialects.fields import read_optional_json
from doorward.dialects.rocketchat.error_table import build_failure, format_time
from doorward.dialects.rocketchat.guard import (
    RequestGuard,
    get_code,
    read_body,
    require_text,
)
from doorward.dialects.rocketchat.rendering import render_shape, render_success, render_user
from doorward.dialects.rocketchat.shapes import (
    RocketchatKept,
    RocketchatLoggedIn,
    RocketchatLoggedOut,
    RocketchatLogin,
    RocketchatMe,
    RocketchatMessage,
    RocketchatText,
    RocketchatUser,
)
from doorward.settings.dialects import DialectRocketchat
from doorward.web.session_service import dialect_lifetimes

NO_USER = 'The required "userId" or "username" param provided does not match any users'


@dataclass(frozen=True, slots=True)
class LoginAndLogout:
    guard: RequestGuard
    dialect: DialectRocketchat
    sessions: Sessions
    factors: SecondFactors
    administration: Administration

    async def login(self, request: Request) -> Response:
        context = self.guard.context
        context.check_origin(request)  # CVE-2017-1000069: another site must not log a visitor in
        fields = await read_optional_json(request)
        if "resume" in fields:
            return await self._resume(require_text(fields["resume"]))
        name, password = _get_name(fields), _get_password(fields)
        code = require_text(fields["code"]) if fields.get("code") is not None else ""
        session = NewSession("rocketchat", dialect_lifetimes(context.settings, self.dialect))
        login = LoginRequest(name, password, session, code=code or get_code(request)[0])
        opened = await context.service.open(request, login)
        response = await self._render_login(opened.session, opened.token)
        if self.dialect.cookie:
            context.service.cookie.set(response, request, opened, request.url.path)
        return response

    async def _resume(self, token: str) -> Response:
        """The same session with the same token, because the client is already logged in."""
        context = self.guard.context
        found = (await self.sessions.by_token(token, context.clock())).session
        if found is None or found.level is not FULL:
            raise InvalidCredentials("resume")
        return await self._render_login(found, token)

    async def _render_login(self, session: Session, token: str) -> Response:
        me = await self._render_user(session)
        data = RocketchatLogin(authToken=token, userId=session.user.id, me=RocketchatUser(**me))
        return render_shape(RocketchatLoggedIn(status="success", data=data))

    async def _render_user(self, session: Session) -> dict[str, Any]:
        context = self.guard.context
        factors = await self.factors.list_enabled(session.user)
        return render_user(session.user, factors, context.settings.public_url)

    async def me(self, request: Request) -> Response:
        return render_success(
            RocketchatMe, **await self._render_user(await self.guard.require_reader(request))
        )

    async def logout(self, request: Request) -> Response:
        """Also ends a session whose second factor is due."""
        caller = await self.guard.require_changer(request, pending=True)
        await self.guard.context.service.end(caller.session)
        return await self.guard.complete_logout(request, _render_logout(), caller)

    async def peek_logout(self, request: Request) -> Response:
        """HEAD is safe: it answers like GET, but ends nothing (RFC 9110 9.2.1)."""
        await self.guard.require_reader(request, pending=True)
        return _render_logout()

    async def logout_others(self, request: Request) -> Response:
        """The token is sent only to a client that already has it, not to a script that uses a
        cookie which it cannot read."""
        caller = await self.guard.require_changer(request)
        context, session = self.guard.context, caller.session
        # The documented answer repeats the token that was presented.
        await self.sessions.end_others(session, context.clock(), renew=False)
        token = {} if caller.token is None else {"token": caller.token}
        return render_success(RocketchatKept, **token, tokenExpires=format_time(session.expires_at))

    async def logout_user(self, request: Request) -> Response:
        caller = await self.guard.require_changer(request)
        session = caller.session
        wanted = (await read_body(request, optional=["userId"])).get("userId") or session.user.id
        try:
            user = await self._find_user(session.user, wanted)
            now = self.guard.context.clock()
            await self.sessions.revoke_all(user, actor=session.user, now=now)
        except NotPermitted:
            return render_shape(build_failure("unauthorized"), 403)
        response = render_success(RocketchatMessage, message=f"User {wanted} has been logged out!")
        if user.number != session.user.number:
            return response
        return await self.guard.complete_logout(request, response, caller)

    async def _find_user(self, caller: User, id: str) -> User:
        """Raises NotPermitted before any user is looked up, and UserNotFound."""
        if id == caller.id:
            return caller
        require(caller, END_USERS_SESSIONS)
        if (other := await self.administration.find(id)) is None:
            raise UserNotFound(NO_USER)
        return other


def _render_logout() -> Response:
    data = RocketchatText(message="You've been logged out!")
    return render_shape(RocketchatLoggedOut(status="success", data=data))


def _get_name(fields: Mapping[str, object]) -> str:
    """`user`, as a text or an object; otherwise `username` or `email`. Raises Malformed."""
    user = fields.get("user")
    if isinstance(user, dict):
        fields = user
    elif user is not None:
        return require_text(user)
    for key in ("username", "email"):
        if fields.get(key) is not None:
            return require_text(fields[key])
    raise Malformed("must have required property 'user'")


def _get_password(fields: Mapping[str, object]) -> Password:
    """The password as typed, or its SHA-256. Raises Malformed."""
    password = fields.get("password")
    if password is None:
        raise Malformed("must have required property 'password'")
    if not isinstance(password, dict):
        return require_text(password)
    digest = require_text(password.get("digest"))
    if password.get("algorithm") != "sha-256":
        raise Malformed("must be equal to constant")
    return PasswordDigest(digest.lower())
