"""Second factors turned on and off, and codes asked for by mail, in the `rocketchat` dialect.

It knows the shapes; whether a code is right it must not know.
"""

from dataclasses import dataclass

import structlog
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.refusals import InvalidEmail, Refusal, SecondFactorInvalid, TotpNotOn
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.dialects.rocketchat.guard import Asking, body_of, fields_of, string
from doorward.dialects.rocketchat.rendering import answered, success
from doorward.dialects.rocketchat.shapes import (
    RocketchatCodes,
    RocketchatDisabled,
    RocketchatDone,
    RocketchatRemaining,
    RocketchatSecret,
)
from doorward.dialects.rocketchat.table import failure
from doorward.web.endpoint import client_of

_log = structlog.get_logger("doorward.dialects")

EMAIL = "email"
TOTP = "totp"
UNVERIFIED = "You need to verify your emails before setting up 2FA"


@dataclass(frozen=True, slots=True)
class Factors:
    asking: Asking

    async def send_code(self, request: Request) -> Response:
        """The same answer for everybody. The mail goes out after it, or its time would tell who
        there is; each request counts against the sender's budget of attempts, with unknown names
        as with known ones."""
        fields = await fields_of(request)
        name = string(fields.get("emailOrUsername", ""))
        if not name:
            required = failure("error-parameter-required", "emailOrUsername is required")
            return answered(required, 400)
        wire = self.asking.wire
        wire.check_origin(request)
        credential = await wire.accounts.users.credential(name)
        user = None if credential is None else credential.user
        address = client_of(request).address
        await wire.accounts.regulation.begin(name, user, address, wire.clock())
        response = success(RocketchatDone)
        if user is not None and user.is_usable:
            response.background = BackgroundTask(self._mail, user, name)
        return response

    async def _mail(self, user: User, name: str) -> None:
        """Where the e-mail factor is off nothing is sent."""
        wire = self.asking.wire
        try:
            await wire.accounts.second_factors.prepare(user, EMAIL, name=name, now=wire.clock())
        except Refusal as refusal:
            _log.warning("code_not_mailed", reason=refusal.code)

    async def enable_email(self, request: Request) -> Response:
        session = (await self.asking.changer(request)).session
        await body_of(request)
        await self.asking.demand_proof(request, session, always=True)
        wire = self.asking.wire
        try:
            await wire.accounts.second_factors.enable_email(session, wire.clock())
        except InvalidEmail:
            raise InvalidEmail(UNVERIFIED) from None
        await self._end_others(session)
        return success(RocketchatDone)

    async def disable_email(self, request: Request) -> Response:
        session = (await self.asking.changer(request)).session
        await body_of(request)
        await self.asking.demand(request, session, honours_trust=False)
        wire = self.asking.wire
        await wire.accounts.second_factors.disable_email(session, wire.clock())
        return success(RocketchatDone)

    async def begin_totp(self, request: Request) -> Response:
        session = (await self.asking.changer(request)).session
        await body_of(request)
        await self.asking.demand_proof(request, session, always=True)
        wire = self.asking.wire
        begun = await wire.accounts.second_factors.begin_totp(session, wire.clock())
        return success(RocketchatSecret, secret=begun.secret, url=begun.uri)

    async def confirm_totp(self, request: Request) -> Response:
        session, code = await self._with_code(request)
        await self.asking.demand_proof(request, session, always=False)
        wire = self.asking.wire
        factors = wire.accounts.second_factors
        try:
            confirmed = await factors.confirm_totp(session, None, code, wire.clock())
        except SecondFactorInvalid:
            return _invalid()
        await self._end_others(session)
        return success(RocketchatCodes, codes=list(confirmed.codes))

    async def remove_totp(self, request: Request) -> Response:
        session, code = await self._with_code(request)
        wire = self.asking.wire
        try:
            await wire.accounts.second_factors.remove_totp(session, code, wire.clock())
        except SecondFactorInvalid:
            return _invalid()
        return success(RocketchatDisabled, disabled=True)

    async def regenerate(self, request: Request) -> Response:
        session, code = await self._with_code(request)
        wire, user = self.asking.wire, session.user
        factors, now = wire.accounts.second_factors, wire.clock()
        if TOTP not in await factors.enabled(user):
            raise TotpNotOn
        try:
            codes = await factors.regenerate_recovery(session, now, code)
        except SecondFactorInvalid:
            return _invalid()
        return success(RocketchatCodes, codes=list(codes))

    async def remaining(self, request: Request) -> Response:
        session = await self.asking.reader(request)
        factors = self.asking.wire.accounts.second_factors
        if TOTP not in await factors.enabled(session.user):
            raise TotpNotOn
        count = await factors.remaining_recovery(session.user)
        return success(RocketchatRemaining, remaining=count)

    async def _with_code(self, request: Request) -> tuple[Session, str]:
        session = (await self.asking.changer(request)).session
        return session, (await body_of(request, required=["code"]))["code"]

    async def _end_others(self, session: Session) -> None:
        """Sessions without the new factor end. The caller's token stays, as these answers have no
        place for another one."""
        wire = self.asking.wire
        await wire.accounts.sessions.end_others(session, wire.clock(), renew=False)


def _invalid() -> Response:
    return answered(failure("invalid-totp", ""), 400)
