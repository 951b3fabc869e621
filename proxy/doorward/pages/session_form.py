"""Forms of users who are logged in. Each belongs to the user's session, and asks for proof where a
stolen session must not be enough.

Knows sessions, hidden fields and the form that asks for proof; must not know what a form is for.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward import paths
from doorward.accounts.challenge import Challenge
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.keys import Keys
from doorward.accounts.logins import Logins
from doorward.accounts.refusals import (
    InvalidCredentials,
    Refusal,
    SecondFactorRequired,
    retry_after,
)
from doorward.accounts.session import PROOF_S
from doorward.accounts.sessions.sessions import FULL, Opened, Session
from doorward.gate.client_kind import detect_request_kind
from doorward.pages import rendering
from doorward.pages.form import read_form
from doorward.pages.languages import N_
from doorward.pages.message import Messages, replace_lines
from doorward.pages.second_factor import STATUSES, may_be_clock
from doorward.web.refusal_headers import set_retry_after
from doorward.web.return_address import address
from doorward.web.session_service import SessionService, get_client_info

TOKEN = "form"  # noqa: S105 - the name of the hidden field
STALE = N_("This form belongs to an earlier session. Go back, reload the page and try again.")
GUARDED = N_("You are about to change security settings.")
WRONG = N_("The password is not right.")


@dataclass(slots=True)
class PostedForm:
    """A form of a full session: the renewed session if proof was given."""

    session: Session
    form: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Question:
    """How to ask for proof: a code, or the password if there is no challenge."""

    status: int
    challenge: Challenge | None = None
    error: str | None = None
    wait_s: int | None = None
    clock: bool = False


class Forms:
    def __init__(
        self,
        service: SessionService,
        messages: Messages,
        logins: Logins,
        factors: SecondFactors,
        keys: Keys,
    ) -> None:
        self.service = service
        self.messages = messages
        self._logins = logins
        self._factors = factors
        self._keys = keys.follow(lambda derive: derive("form"))

    def token(self, session: Session) -> str:
        return _token(self._keys()[0], session)

    async def session(self, request: Request) -> Session | Response:
        """The full session of the request, or a redirect to the login. Raises
        StorageUnavailable."""
        session = await self.service.session(request)
        if session is not None and session.level is FULL:
            return session
        if not detect_request_kind(request).is_person:
            return self.messages.answer(request, 401)
        query = f"?{request.url.query}" if request.url.query else ""
        target = (
            f"{request.url.path}{query}" if request.method in ("GET", "HEAD") else paths.ACCOUNT
        )
        return rendering.redirect(
            address(paths.LOGIN, target), self.service.cookie.clearing_lines(request)
        )

    async def read_form(self, request: Request) -> PostedForm | Response:
        """The form, or the answer to a form of another session."""
        form = await read_form(self.service, self.messages, request)
        if isinstance(form, Response):
            return form
        session = await self.session(request)
        if isinstance(session, Response):
            return session
        given = form.pop(TOKEN, "").encode()
        if not any([hmac.compare_digest(given, _token(k, session).encode()) for k in self._keys()]):
            return self.messages.answer(request, 403, STALE, "stale_form")
        return PostedForm(session, form)

    async def demand_proof(
        self,
        request: Request,
        posted: PostedForm,
        within_s: float = PROOF_S,
        why: str = GUARDED,
    ) -> Response | None:
        """None if it is the user who does this: a code, or the password of a user without a factor,
        was given just now or comes with the form. Then the session gets a new token, because a copy
        of the old one has proved nothing. Otherwise the form that asks for proof."""
        question = await self._check_proof(request, posted, within_s)
        return None if question is None else self._question(request, posted, question, why)

    async def _check_proof(
        self, request: Request, posted: PostedForm, within_s: float
    ) -> _Question | None:
        session, form = posted.session, posted.form
        client, now = get_client_info(request), self.service.clock()
        try:
            if await self._factors.is_proved(session, now, within_s):
                return None
            if await self._factors.list_enabled(session.user):
                code, method = form.get("code"), form.get("method")
                opened = await self._factors.demand(
                    session, client, code, method, honours_trust=False, now=now, renew=True
                )
            elif password := form.get("current"):
                opened = await self._logins.prove(
                    session, password, client=client, now=now, renew=True
                )
            else:
                return _Question(200)
        except SecondFactorRequired as refusal:
            return _Question(200, refusal.challenge)
        except InvalidCredentials:
            return _Question(401, None, WRONG)
        except Refusal as refusal:
            challenge = getattr(refusal, "challenge", None)
            status = STATUSES.get(type(refusal), 401 if challenge else 429)
            wait_s, clock = retry_after(refusal), may_be_clock(refusal)
            return _Question(status, challenge, str(refusal), wait_s, clock)
        if opened is not None:
            posted.session = opened.session
            self.set_cookie(request, opened)
        return None

    def _question(
        self,
        request: Request,
        posted: PostedForm,
        question: _Question,
        why: str,
    ) -> Response:
        challenge = question.challenge
        asked = ("code", "method", "current", "username")
        response = self.render(
            request,
            "prove.html",
            posted.session,
            question.status,
            why=why,
            kept={name: value for name, value in posted.form.items() if name not in asked},
            challenge=challenge,
            others=[m for m in challenge.available if m != challenge.method] if challenge else [],
            error=question.error,
            clock=question.clock,
        )
        set_retry_after(response, question.wait_s)
        return response

    def redirect(self, request: Request, where: str, opened: Opened | None) -> Response:
        """Redirect to another page, with the session's new token if there is one."""
        if opened is not None:
            self.set_cookie(request, opened)
        return rendering.redirect(where)

    def set_cookie(self, request: Request, opened: Opened) -> None:
        """Set the cookie with the session's new token in the answer, whatever the answer is."""
        replace_lines(request, self.service.cookie.set_lines(request, opened))

    def render(
        self, request: Request, template: str, session: Session, status: int = 200, **values: object
    ) -> Response:
        """A page of the account, whose forms are posted to its own address."""
        query = f"?{request.url.query}" if request.url.query else ""
        known: Mapping[str, object] = {
            "action": request.url.path + query,
            "token": self.token(session),
            "user": session.user,
            "error": None,
            "clock": False,
        }
        return self.messages.renderer.render_page(
            request, template, status, (), **{**known, **values}
        )


def _token(key: bytes, session: Session) -> str:
    return hmac.digest(key, session.id.encode(), hashlib.sha256).hex()
