"""The pages on which users change their password and e-mail address.

Knows the fields and their messages; the core hashes, sends mail and decides.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.addresses import Addresses
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.logins import Logins
from doorward.accounts.passwords.hashing import LEAST_CHARACTERS
from doorward.accounts.passwords.strength import list_words, measure_strength
from doorward.accounts.refusals import (
    EnrolmentExpired,
    InvalidCredentials,
    LockedOut,
    MailFailed,
    NameTaken,
    Overloaded,
    ReadOnlyUser,
    Refusal,
    SecondFactorInvalid,
    retry_after,
)
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import DATABASE, User
from doorward.pages import rendering
from doorward.pages.languages import N_
from doorward.pages.rendering import add_page_headers
from doorward.pages.session_form import WRONG, Forms, PostedForm
from doorward.web.refusal_headers import set_retry_after
from doorward.web.session_service import get_client_info

PASSWORD = f"{paths.ACCOUNT}/password"
STRENGTH = f"{paths.ACCOUNT}/password/strength"
EMAIL = f"{paths.ACCOUNT}/email"

# The core's reasons for refusing a new password.
TOO_SHORT = N_("A password has at least 8 characters.")
TOO_LONG = N_("A password has at most 1,024 bytes.")
GUESSABLE = N_("This password is too easy to guess. Choose another one.")
SAME = N_("This is your current password.")
HINTS = (
    GUESSABLE,
    N_("Weak. It could be guessed."),
    N_("Fair. Another word or two would make it strong."),
    N_("Good."),
    N_("Strong."),
)
STATUSES: dict[type[Refusal], int] = {
    LockedOut: 429,
    MailFailed: 503,
    NameTaken: 409,
    Overloaded: 503,
    ReadOnlyUser: 403,
    SecondFactorInvalid: 401,
}


@dataclass(frozen=True, slots=True)
class CredentialPages:
    forms: Forms
    logins: Logins
    factors: SecondFactors
    addresses: Addresses

    def routes(self) -> list[Route]:
        endpoint = self.forms.messages.endpoint
        return [
            endpoint(PASSWORD, self.show_password, self.change_password),
            endpoint(STRENGTH, self.back, self.judge),
            endpoint(EMAIL, self.show_email, self.change_email),
        ]

    async def back(self, request: Request) -> Response:
        return rendering.redirect(PASSWORD)

    async def show_password(self, request: Request) -> Response:
        session = await self.forms.session(request)
        if isinstance(session, Response):
            return session
        return await self._demand_proof(request, PostedForm(session, {})) or self._password(
            request, session
        )

    async def _demand_proof(self, request: Request, posted: PostedForm) -> Response | None:
        """The form that asks for a code, for users who have a factor. Other users type their
        password in the form itself. No input is repeated in the form that asks."""
        session = posted.session
        if session.user.source != DATABASE:
            return None
        if not await self.factors.list_enabled(session.user):
            return None
        asked = {name: text for name, text in posted.form.items() if name in ("code", "method")}
        proof = PostedForm(session, asked)
        question = await self.forms.demand_proof(request, proof)
        posted.session = proof.session
        return question

    def _password(
        self,
        request: Request,
        session: Session,
        status: int = 200,
        error: str | None = None,
        refusal: Refusal | None = None,
    ) -> Response:
        if session.user.source != DATABASE:
            return self.forms.messages.answer(request, 403, str(ReadOnlyUser(session.user.source)))
        response = self.forms.render(
            request, "password.html", session, status, least=LEAST_CHARACTERS, judge=STRENGTH,
            error=error,
        )  # fmt: skip
        set_retry_after(response, None if refusal is None else retry_after(refusal))
        return response

    async def change_password(self, request: Request) -> Response:
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        if (question := await self._demand_proof(request, posted)) is not None:
            return question
        if "new" not in posted.form:  # the form answered the question for proof
            return rendering.redirect(PASSWORD)
        session, old, new = posted.session, posted.form.get("current", ""), posted.form["new"]
        now = self.forms.service.clock()
        if session.user.source != DATABASE:
            return self._password(request, session)
        try:
            opened = await self.logins.change_password(
                session, old, new, client=get_client_info(request), now=now
            )
        except InvalidCredentials:
            return self._password(request, session, 401, WRONG)
        except Refusal as refusal:
            status = STATUSES.get(type(refusal), 400)
            return self._password(request, session, status, str(refusal), refusal)
        return self.forms.redirect(request, f"{paths.ACCOUNT}?done=password", opened)

    async def judge(self, request: Request) -> Response:
        """For the script that shows a hint while the user is typing."""
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        new = posted.form.get("new", "")
        score = (
            0
            if len(new) < LEAST_CHARACTERS
            else await measure_strength(new, _words(posted.session.user))
        )
        hint = TOO_SHORT if len(new) < LEAST_CHARACTERS else HINTS[score]
        said = self.forms.messages.renderer.language(request).say(hint)
        return add_page_headers(JSONResponse({"score": score, "hint": said}))

    async def show_email(self, request: Request) -> Response:
        session = await self.forms.session(request)
        return session if isinstance(session, Response) else self._email(request, session)

    def _email(
        self,
        request: Request,
        session: Session,
        status: int = 200,
        error: str | None = None,
        asked: str = "",
        address: str = "",
    ) -> Response:
        return self.forms.render(
            request, "email.html", session, status, asked=asked, address=address, error=error,
            can_change=self.addresses.can_change(session.user),
        )  # fmt: skip

    async def change_email(self, request: Request) -> Response:
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        step = self._confirm_email if "asked" in posted.form else self._begin_email
        return await step(request, posted)

    async def _begin_email(self, request: Request, posted: PostedForm) -> Response:
        if (question := await self.forms.demand_proof(request, posted)) is not None:
            return question
        now, address = self.forms.service.clock(), posted.form.get("address", "").strip()
        try:
            asked = await self.addresses.begin(posted.session, address, now)
        except Refusal as refusal:
            status = STATUSES.get(type(refusal), 400)
            return self._email(request, posted.session, status, str(refusal), address=address)
        return self._email(request, posted.session, asked=asked, address=address)

    async def _confirm_email(self, request: Request, posted: PostedForm) -> Response:
        if (question := await self.forms.demand_proof(request, posted)) is not None:
            return question
        session, asked, now = posted.session, posted.form["asked"], self.forms.service.clock()
        try:
            address = self.addresses.address(session, asked)
            await self.addresses.confirm(session, asked, posted.form.get("mailed", ""), now)
        except SecondFactorInvalid as refusal:
            return self._email(request, session, 401, str(refusal), asked, address)
        except EnrolmentExpired as refusal:
            return self._email(request, session, 400, str(refusal))
        except Refusal as refusal:
            return self._email(request, session, STATUSES.get(type(refusal), 400), str(refusal))
        return rendering.redirect(f"{paths.ACCOUNT}?done=email")


def _words(user: User) -> tuple[str, ...]:
    return list_words(user.username, user.name, (email.address for email in user.emails))
