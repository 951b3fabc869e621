"""The pages for API tokens: users make, see and end their own; administrators see and end them.

Knows the fields and their messages; the core decides what a token allows and who may end it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.refusals import InvalidToken, Refusal, TokenNotFound
from doorward.accounts.session import TokenScope
from doorward.accounts.sessions.sessions import Session
from doorward.accounts.token import ApiToken, NewToken
from doorward.accounts.tokens.api_tokens import ApiTokens
from doorward.pages import rendering
from doorward.pages.account import describe_place
from doorward.pages.admin import PAGE, build_link, get_number
from doorward.pages.admin_guard import AdminGuard
from doorward.pages.languages import N_
from doorward.pages.session_form import Forms, PostedForm

TOKENS = f"{paths.ACCOUNT}/tokens"
ADMIN_TOKENS = f"{paths.ADMIN}/tokens"

DAY_S = 86_400.0
# The choices, in days; the last one never expires.
LIVES: Mapping[str, float | None] = {
    "30": 30 * DAY_S,
    "90": 90 * DAY_S,
    "365": 365 * DAY_S,
    "never": None,
}
USUAL_LIFE = "90"
ENDED = N_("The token is ended.")
# Messages for each field, instead of the core's wording.
WRONG: Mapping[str, str] = {
    "name": N_("Give the token a name of 1 to 190 characters."),
    "route": N_("A path begins with /, such as /calendar."),
    "method": N_("A method is a word in capitals, such as GET."),
    "network": N_("Write a network as 192.0.2.0/24, or as one address."),
    "most": N_("You have reached the maximum number of tokens. End one first."),
}


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as a row of the list shows it; times are seconds from now."""

    id: str
    name: str
    opens: tuple[str, ...]
    made: float
    made_s: float
    used: float | None
    used_s: float
    place: str
    address: str
    device: str
    expires_s: float | None
    expires_soon: bool


def describe_token(token: ApiToken, now: float) -> TokenRow:
    scope = token.scope
    admin = () if scope.admin is None else (f"admin:{scope.admin}",)
    used = token.last_used_at
    return TokenRow(
        id=token.id,
        name=token.name,
        opens=(*admin, *scope.methods, *scope.routes, *scope.networks),
        made=token.created_at,
        made_s=now - token.created_at,
        used=used,
        used_s=0.0 if used is None else now - used,
        place=describe_place(token.address),
        address=token.address,
        device=token.user_agent[:80],
        expires_s=None if token.expires_at is None else token.expires_at - now,
        expires_soon=token.expires_soon(now),
    )


@dataclass(frozen=True, slots=True)
class TokenPages:
    forms: Forms
    guard: AdminGuard
    tokens: ApiTokens

    def routes(self) -> list[Route]:
        endpoint = self.forms.messages.endpoint
        return [
            endpoint(TOKENS, self.show, self.submit),
            endpoint(ADMIN_TOKENS, self.show_all, self.end_any),
        ]

    async def show(self, request: Request) -> Response:
        session = await self.forms.session(request)
        return session if isinstance(session, Response) else await self._list(request, session, {})

    async def _list(
        self,
        request: Request,
        session: Session,
        form: Mapping[str, str],
        status: int = 200,
        error: str | None = None,
    ) -> Response:
        now = self.forms.service.clock()
        fields = ("name", "routes", "methods", "networks")
        return self.forms.render(
            request,
            "tokens.html",
            session,
            status,
            action=TOKENS,
            tokens=[describe_token(one, now) for one in await self.tokens.list(session.user, now)],
            given={name: form.get(name, "") for name in fields},
            life=form.get("life", USUAL_LIFE),
            done=ENDED if "done" in request.query_params else None,
            error=error,
        )

    async def submit(self, request: Request) -> Response:
        posted = await self.forms.read_form(request)
        if isinstance(posted, Response):
            return posted
        if "end" in posted.form:
            return await self._end(posted)
        if "name" not in posted.form:
            return rendering.redirect(TOKENS)
        return await self._make(request, posted)

    async def _end(self, posted: PostedForm) -> Response:
        now, user = self.forms.service.clock(), posted.session.user
        try:
            token = await self.tokens.get(posted.form["end"])
            if token.user.number == user.number:  # only administrators end those of other users
                await self.tokens.revoke(token.id, actor=user, now=now)
        except TokenNotFound:
            pass  # it is not a token of this user
        return rendering.redirect(f"{TOKENS}?done=1")

    async def _make(self, request: Request, posted: PostedForm) -> Response:
        if (question := await self.forms.demand_proof(request, posted)) is not None:
            return question
        form, now = posted.form, self.forms.service.clock()
        routes, methods, networks = (
            _split(form, name) for name in ("routes", "methods", "networks")
        )
        scope = TokenScope(routes, methods, networks)
        life_s = LIVES.get(form.get("life", USUAL_LIFE), LIVES[USUAL_LIFE])
        new = NewToken(form["name"].strip(), scope, life_s)
        try:
            made = await self.tokens.make_token(posted.session, new, now=now)
        except InvalidToken as refusal:
            error = WRONG.get(refusal.field, str(refusal))
            return await self._list(request, posted.session, form, 400, error)
        return self.forms.render(
            request,
            "token_made.html",
            posted.session,
            made=made,
            row=describe_token(made.token, now),
            onward=TOKENS,
        )

    async def show_all(self, request: Request) -> Response:
        session = await self.guard.session(request)
        if isinstance(session, Response):
            return session
        now, before = self.forms.service.clock(), get_number(request, "before")
        found = await self.tokens.page(session.user, before, PAGE + 1, now)
        more = len(found) > PAGE
        return self.forms.render(
            request,
            "admin_tokens.html",
            session,
            tab=ADMIN_TOKENS,
            action=request.url.path,
            tokens=[(one.user, describe_token(one, now)) for one in found[:PAGE]],
            done=ENDED if "done" in request.query_params else None,
            first=None if before is None else ADMIN_TOKENS,
            onward=build_link(ADMIN_TOKENS, before=str(found[PAGE - 1].number)) if more else None,
        )

    async def end_any(self, request: Request) -> Response:
        posted = await self.guard.read_form(request)
        if isinstance(posted, Response):
            return posted
        now, actor = self.forms.service.clock(), posted.session.user
        try:
            await self.tokens.revoke(posted.form.get("token", ""), actor=actor, now=now)
        except TokenNotFound:
            pass  # it has ended and was deleted
        except Refusal as refusal:
            if (answer := self.guard.render_refusal(request, refusal)) is None:
                raise
            return answer
        return rendering.redirect(f"{ADMIN_TOKENS}?done=1")


def _split(form: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The items of a field, separated by commas or white space."""
    return tuple(form.get(name, "").replace(",", " ").split())
