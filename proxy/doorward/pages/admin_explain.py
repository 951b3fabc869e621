"""The administration page that explains decisions: which rule decides on a request, or decided on
one.

Knows a form and its fields; the gate makes the explanation, and `admin_guard.py` decides who may
ask.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.administration import Administration
from doorward.accounts.refusals import UserNotFound
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User
from doorward.gate.addresses import parse_address
from doorward.observe.refusals import KeptRefusal, find_refusal
from doorward.pages import rendering
from doorward.pages.admin import NO_SUCH_ADDRESS
from doorward.pages.admin_guard import AdminGuard
from doorward.pages.languages import N_
from doorward.web.explanation import Explain, Explanation, NoUrl, Question, list_lines

EXPLAIN = f"{paths.ADMIN}/explain"
HERE = "127.0.0.1"

NO_URL = N_("This is neither a URL nor a path.")
NO_REFUSAL = N_("No request with this ID was refused within the last day.")
NO_USER = N_("There is no user with this name.")


class Unanswerable(Exception):
    """The question cannot be answered; the text says why."""


@dataclass(frozen=True, slots=True)
class ExplainForm:
    """The content of the form."""

    id: str = ""
    url: str = ""
    method: str = "GET"
    user: str = ""
    address: str = HERE
    has_factor: bool = False


@dataclass(slots=True)
class ExplainAnswer:
    """`refused` is the recorded refusal of a request; `lines` explain what the rules decide now."""

    asked: ExplainForm = field(default_factory=ExplainForm)
    refused: KeptRefusal | None = None
    lines: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AdminExplainPage:
    """`directory` contains the refusals of the last day."""

    guard: AdminGuard
    administration: Administration
    explain: Explain
    directory: Path

    def routes(self) -> list[Route]:
        return [self.guard.forms.messages.endpoint(EXPLAIN, self.show, self.proven)]

    async def proven(self, request: Request) -> Response:
        """The only form of this page that changes anything asks for a code."""
        posted = await self.guard.read_form(request)
        return posted if isinstance(posted, Response) else rendering.redirect(EXPLAIN)

    async def show(self, request: Request) -> Response:
        session = await self.guard.session(request)
        if isinstance(session, Response):
            return session
        answer = ExplainAnswer(_read(request))
        try:
            await self._answer(answer, session)
        except Unanswerable as reason:
            answer.error = str(reason)
        status = 200 if answer.error is None else 400
        return self.guard.forms.render(
            request, "admin_explain.html", session, status, tab=EXPLAIN, answer=answer
        )

    async def _answer(self, answer: ExplainAnswer, session: Session) -> None:
        asked = answer.asked
        if asked.id:
            now = self.guard.forms.service.clock()
            kept = await asyncio.to_thread(find_refusal, self.directory, asked.id, now)
            if kept is None:
                raise Unanswerable(NO_REFUSAL)
            answer.refused = kept
            if not kept.scheme:  # the request was too malformed to be decided on
                return
            url = f"{kept.scheme}://{kept.host}{kept.path}"
            asked = ExplainForm(
                asked.id, url, kept.method, kept.user, kept.address, kept.has_factor
            )
        if asked.url:
            found = await self._explain(asked, session.user)
            answer.lines = (f"{asked.method} {asked.url}", *list_lines(found))

    async def _explain(self, asked: ExplainForm, actor: User) -> Explanation:
        if parse_address(asked.address) is None:
            raise Unanswerable(NO_SUCH_ADDRESS)
        user = None
        if asked.user:
            try:
                public_id = await self.administration.get_id(actor, asked.user)
            except UserNotFound:
                raise Unanswerable(NO_USER) from None
            user = await self.administration.find(public_id)
        question = Question(asked.method, asked.url, user, asked.address, asked.has_factor)
        try:
            return await self.explain(question)
        except NoUrl:
            raise Unanswerable(NO_URL) from None


def _read(request: Request) -> ExplainForm:
    query = request.query_params
    words = {name: query.get(name, "").strip() for name in ("id", "url", "method", "user")}
    words["method"] = words["method"].upper() or "GET"
    address = query.get("address", "").strip() or HERE
    return ExplainForm(**words, address=address, has_factor="factor" in query)
