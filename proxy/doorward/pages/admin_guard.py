"""The guard of the administration pages: an admin who has just given a second factor.

Decides before anything is shown or done; must not know what the pages behind it do.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward import paths
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.permissions import is_admin
from doorward.accounts.refusals import NotPermitted, Refusal, UserNotFound
from doorward.accounts.session import is_fresh
from doorward.accounts.sessions.sessions import Session
from doorward.gate.client_kind import detect_request_kind
from doorward.pages import rendering
from doorward.pages.languages import N_
from doorward.pages.session_form import Forms, PostedForm
from doorward.web.return_address import address

# If second factors are not trusted for a while (trust_period 0), a page and its form still need
# only one code.
LEAST_FRESH_S = 60.0
WHY = N_("The administration pages ask for a code again after a while.")
# Messages of the core that do not belong to a refusal. They are listed here for the catalogues.
FROM_THE_CORE = (
    N_("You cannot do this to your own account."),
    N_("Only super administrators can do this to an administrator."),
    N_("A display name has 1 to 190 characters, no control characters and no space at either end."),
)
STATUSES: dict[type[Refusal], int] = {NotPermitted: 403, UserNotFound: 404}


@dataclass(frozen=True, slots=True)
class AdminGuard:
    forms: Forms
    factors: SecondFactors

    async def session(self, request: Request) -> Session | Response:
        """The administrator's session, or the answer for anyone else."""
        session = await self.forms.session(request)
        if isinstance(session, Response):
            return session
        return await self._check_admin(request, PostedForm(session, {})) or session

    async def read_form(self, request: Request) -> PostedForm | Response:
        """A posted form to act on. A form that only contained a code leads back to its page."""
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        if (answer := await self._check_admin(request, posted)) is not None:
            return answer
        return posted if "do" in posted.form else rendering.redirect(here(request))

    async def _check_admin(self, request: Request, posted: PostedForm) -> Response | None:
        service, session = self.forms.service, posted.session
        if not is_admin(session.user):
            return self.forms.messages.answer(request, 403)
        if not await self.factors.list_enabled(session.user):
            return self._without_factor(request, address(paths.AUTHENTICATOR, here(request)))
        trust_s = service.settings.second_factor.trust_period.total_seconds()
        fresh_s = max(trust_s, LEAST_FRESH_S)
        if is_fresh(session.second_factor_at, service.clock(), fresh_s):
            return None
        if not detect_request_kind(request).is_person:
            return self._without_factor(request, "")
        question = await self.forms.demand_proof(request, posted, fresh_s, WHY)
        given_at = posted.session.second_factor_at
        if question is not None or is_fresh(given_at, service.clock(), fresh_s):
            return question
        return self.forms.messages.answer(request, 403)  # the factor was removed in the meantime

    def _without_factor(self, request: Request, onward: str) -> Response:
        if onward and detect_request_kind(request).is_person:
            return rendering.redirect(onward)
        text = "This requires a second factor."
        return self.forms.messages.answer(request, 401, text, "second_factor_required")

    def render_refusal(self, request: Request, refusal: Refusal) -> Response | None:
        """The page for a refusal that has nothing to do with the form's input."""
        status = STATUSES.get(type(refusal))
        if status is None:
            return None
        text = str(refusal) if status == 403 and str(refusal) != NotPermitted.message else None
        return self.forms.messages.answer(request, status, text)


def here(request: Request) -> str:
    """The page that was requested."""
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{request.url.path}{query}"
