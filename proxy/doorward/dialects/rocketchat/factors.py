"""Turns second factors on and off and mails codes, in the `rocketchat` dialect.

Knows the shapes; must not know whether a code is right.
"""

from dataclasses import dataclass

import structlog
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.passwords.regulation import Regulation
from doorward.accounts.refusals import InvalidEmail, Refusal, SecondFactorInvalid, TotpNotOn
from doorward.accounts.sessions.sessions import Session, Sessions
from doorward.accounts.user import User
from doorward.accounts.users.users import Users
from doorward.dialects.fields import read_optional_json
from doorward.dialects.rocketchat.error_table import build_failure
from doorward.dialects.rocketchat.guard import RequestGuard, read_body, require_text
from doorward.dialects.rocketchat.rendering import render_shape, render_success
from doorward.dialects.rocketchat.shapes import (
    RocketchatCodes,
    RocketchatDisabled,
    RocketchatDone,
    RocketchatRemaining,
    RocketchatSecret,
)
from doorward.web.endpoint import get_client

_log = structlog.get_logger("doorward.dialects")

EMAIL = "email"
TOTP = "totp"
UNVERIFIED = "You need to verify your emails before setting up 2FA"


@dataclass(frozen=True, slots=True)
class OwnFactors:
    guard: RequestGuard
    users: Users
    sessions: Sessions
    factors: SecondFactors
    regulation: Regulation

    async def send_code(self, request: Request) -> Response:
        """The same answer for every name. The mail is sent after it, because otherwise its time
        would reveal which users exist. Each request counts in the sender's budget of attempts,
        whether the name is known or not."""
        fields = await read_optional_json(request)
        name = require_text(fields.get("emailOrUsername", ""))
        if not name:
            required = build_failure("error-parameter-required", "emailOrUsername is required")
            return render_shape(required, 400)
        context = self.guard.context
        context.check_origin(request)
        credential = await self.users.credential(name)
        user = None if credential is None else credential.user
        address = get_client(request).address
        await self.regulation.begin(name, user, address, context.clock())
        response = render_success(RocketchatDone)
        if user is not None and user.is_usable:
            response.background = BackgroundTask(self._mail, user, name)
        return response

    async def _mail(self, user: User, name: str) -> None:
        """If the e-mail factor is off, nothing is sent."""
        context = self.guard.context
        try:
            await self.factors.prepare(user, EMAIL, name=name, now=context.clock())
        except Refusal as refusal:
            _log.warning("code_not_mailed", reason=refusal.code)

    async def enable_email(self, request: Request) -> Response:
        session = (await self.guard.require_changer(request)).session
        await read_body(request)
        await self.guard.demand_proof(request, session, always=True)
        context = self.guard.context
        try:
            await self.factors.enable_email(session, context.clock())
        except InvalidEmail:
            raise InvalidEmail(UNVERIFIED) from None
        await self._end_others(session)
        return render_success(RocketchatDone)

    async def disable_email(self, request: Request) -> Response:
        session = (await self.guard.require_changer(request)).session
        await read_body(request)
        await self.guard.demand(request, session, honours_trust=False)
        context = self.guard.context
        await self.factors.disable_email(session, context.clock())
        return render_success(RocketchatDone)

    async def begin_totp(self, request: Request) -> Response:
        session = (await self.guard.require_changer(request)).session
        await read_body(request)
        await self.guard.demand_proof(request, session, always=True)
        context = self.guard.context
        begun = await self.factors.begin_totp(session, context.clock())
        return render_success(RocketchatSecret, secret=begun.secret, url=begun.uri)

    async def confirm_totp(self, request: Request) -> Response:
        session, code = await self._with_code(request)
        await self.guard.demand_proof(request, session, always=False)
        context = self.guard.context
        try:
            confirmed = await self.factors.confirm_totp(session, None, code, context.clock())
        except SecondFactorInvalid:
            return _invalid()
        await self._end_others(session)
        return render_success(RocketchatCodes, codes=list(confirmed.codes))

    async def remove_totp(self, request: Request) -> Response:
        session, code = await self._with_code(request)
        context = self.guard.context
        try:
            await self.factors.remove_totp(session, code, context.clock())
        except SecondFactorInvalid:
            return _invalid()
        return render_success(RocketchatDisabled, disabled=True)

    async def regenerate(self, request: Request) -> Response:
        session, code = await self._with_code(request)
        context, user = self.guard.context, session.user
        now = context.clock()
        if TOTP not in await self.factors.list_enabled(user):
            raise TotpNotOn
        try:
            codes = await self.factors.regenerate_recovery(session, now, code)
        except SecondFactorInvalid:
            return _invalid()
        return render_success(RocketchatCodes, codes=list(codes))

    async def remaining(self, request: Request) -> Response:
        session = await self.guard.require_reader(request)
        if TOTP not in await self.factors.list_enabled(session.user):
            raise TotpNotOn
        count = await self.factors.remaining_recovery(session.user)
        return render_success(RocketchatRemaining, remaining=count)

    async def _with_code(self, request: Request) -> tuple[Session, str]:
        session = (await self.guard.require_changer(request)).session
        return session, (await read_body(request, required=["code"]))["code"]

    async def _end_others(self, session: Session) -> None:
        """Sessions without the new factor end. The caller's token stays, because these answers have
        no field for another one."""
        context = self.guard.context
        await self.sessions.end_others(session, context.clock(), renew=False)


def _invalid() -> Response:
    return render_shape(build_failure("invalid-totp", ""), 400)
