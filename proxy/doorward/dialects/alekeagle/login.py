"""The login of the `alekeagle` dialect, and its second step, which repeats it with a code.

A challenge is a session whose second factor is due; only its token gives access to it. Knows bodies
and answers; must not know whether a password or a code is right.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts import refusals
from doorward.accounts.factors.records import EMAIL, RECOVERY, TOTP
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.logins import LoginRequest
from doorward.accounts.sessions.sessions import (
    PENDING,
    PENDING_S,
    NewSession,
    Opened,
    Session,
    Sessions,
)
from doorward.accounts.sessions.tokens import is_token
from doorward.dialects.alekeagle.bodies import get_texts, read_required_fields
from doorward.dialects.alekeagle.error_table import CHALLENGE, MESSAGES, render
from doorward.dialects.alekeagle.limits import RateLimits
from doorward.dialects.alekeagle.rendering import exp
from doorward.dialects.alekeagle.shapes import AlekeagleChallenge, AlekeagleToken
from doorward.dialects.context import Context, Malformed, Unauthenticated
from doorward.settings.dialects import DialectAlekeagle
from doorward.text import clip
from doorward.web.refusal_headers import refusal_headers
from doorward.web.session_service import dialect_lifetimes

KIND = "alekeagle"
METHODS = {"totp": TOTP, "email": EMAIL, "backup": RECOVERY}
CHALLENGE_TRIES = 5


@dataclass(frozen=True, slots=True)
class TokenLogin:
    context: Context
    dialect: DialectAlekeagle
    limits: RateLimits
    sessions: Sessions
    factors: SecondFactors

    async def login(self, request: Request) -> Response:
        # CVE-2017-1000069: another site must not log a visitor in
        self.context.check_origin(request)
        fields = await read_required_fields(request, "user", "pass")
        if "2fa" in fields:
            return await self._second_step(request, fields["2fa"])
        name, password = get_texts(fields, "user", "pass")
        self.limits.count_login(request)
        opened = await self._open(request, name, password, _is_true(fields.get("rememberMe")))
        if opened.session.level is PENDING:
            return await self._render_challenge(opened.session, opened.token)
        return self._render_login(request, opened)

    async def _open(self, request: Request, name: str, password: str, remember: bool) -> Opened:
        try:
            lifetimes = dialect_lifetimes(self.context.settings, self.dialect)
            session = NewSession(KIND, lifetimes, remember, _get_session_name(request))
            return await self.context.service.open(
                request, LoginRequest(name, password, session, pending=True)
            )
        except refusals.InvalidCredentials as refusal:
            if refusal.reason == "unknown" and not self.dialect.conceal_unknown_users:
                raise refusals.UserNotFound from None
            raise

    def _render_login(self, request: Request, opened: Opened) -> Response:
        response = render(AlekeagleToken(token=opened.token, exp=exp(opened.session)), 201)
        if self.dialect.cookie:
            self.context.service.cookie.set(response, request, opened, request.url.path)
        return response

    async def _render_challenge(
        self, session: Session, token: str, method: str | None = None
    ) -> Response:
        """The possible second factors, and the token to send with one. A code is mailed if due."""
        user = session.user
        backup = ["backup"] if await self.factors.remaining_recovery(user) else []
        try:
            asked = await self.factors.prepare(user, method, now=self.context.clock())
            types = [*asked.available, *backup]
        except refusals.MailFailed:
            if not backup:
                raise
            types = backup
        except refusals.TooManyCodes:
            await self._give_up(session)
            raise
        said = AlekeagleChallenge(
            code=CHALLENGE,
            message=MESSAGES[CHALLENGE],
            token=token,
            exp=int(session.ends_at()),
            types=types,
        )
        response = render(said, 401)
        response.raw_headers.extend(refusal_headers(401))
        return response

    async def _second_step(self, request: Request, given: object) -> Response:
        if not isinstance(given, dict):
            raise Malformed(fields=("2fa",))
        token, kind = get_texts(given, "token", "type", within="2fa")
        if kind not in METHODS:
            raise Malformed(fields=("2fa.type",))
        session = await self._find_challenge(token)
        if kind == "email" and "code" not in given:  # a request to mail a code
            return await self._render_challenge(session, token, EMAIL)
        (code,) = get_texts(given, "code", within="2fa")
        return self._render_login(
            request, await self._complete(request, session, code, METHODS[kind])
        )

    async def _find_challenge(self, token: str) -> Session:
        """The session behind a challenge of this dialect. Raises Unauthenticated, UserBanned."""
        if not is_token(token.encode()):
            raise Unauthenticated
        found = await self.sessions.by_token(token, self.context.clock())
        if found.banned:
            raise refusals.UserBanned
        session = found.session
        if session is None or session.level is not PENDING or session.kind != KIND:
            raise Unauthenticated
        return session

    async def _complete(self, request: Request, session: Session, code: str, method: str) -> Opened:
        """Raises SecondFactorInvalid, TooManyCodes, and Unauthenticated once the challenge is over.
        Codes are counted before they are checked, so that of a hundred sent at once only five are
        checked."""
        count = self.limits.count_code(session.id, CHALLENGE_TRIES, PENDING_S)
        if count.is_exceeded:
            raise Unauthenticated
        try:
            return await self.context.service.complete(request, session, code, method)
        except refusals.SessionNotFound:  # two requests at once
            raise Unauthenticated from None
        except refusals.SecondFactorInvalid:
            if not count.left:
                await self._give_up(session)
            raise
        except refusals.TooManyCodes as refusal:
            await self._give_up(session)
            if refusal.judged:  # a wrong code, like those before
                raise refusals.SecondFactorInvalid(refusal.challenge) from None
            raise

    async def _give_up(self, session: Session) -> None:
        await self.sessions.end(session, self.context.clock(), "too many codes")


def _is_true(value: object) -> bool:
    return value is True or value in ("true", "1") or (type(value) is int and value == 1)


def _get_session_name(request: Request) -> str:
    """The name that a client gives its session, if any; most give none."""
    name = request.headers.get("x-token-name", "").encode("latin-1").decode(errors="replace")
    return clip(name)
