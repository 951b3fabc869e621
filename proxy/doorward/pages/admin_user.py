"""The page of one user for administrators, and the page that creates a user.

Knows the forms and their messages; the core decides what an administrator may change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.administration import Added, Administration, Details
from doorward.accounts.permissions import is_admin
from doorward.accounts.refusals import NameTaken, ReadOnlyUser, Refusal, TotpNotOn
from doorward.accounts.sessions.sessions import FULL, LISTED, Session
from doorward.accounts.user import User
from doorward.pages import rendering
from doorward.pages.account import describe_session
from doorward.pages.admin_guard import AdminGuard
from doorward.pages.languages import N_
from doorward.pages.session_form import PostedForm

NEW = f"{paths.ADMIN}/new-user"
USER = f"{paths.ADMIN}/users/{{id}}"

Act = Callable[[User, str, float], Awaitable[None]]

DONE = {
    "edit": N_("Changes saved."),
    "ban": N_("The user is banned; all sessions are suspended."),
    "unban": N_("The ban is lifted. Sessions that have not expired continue."),
    "disable": N_("The user is disabled; all sessions are ended."),
    "enable": N_("The user can log in again."),
    "demand": N_("The next login will ask for a new password."),
    "reset": N_("The second factor is removed, and all sessions are ended."),
    "unlock": N_("The user is unlocked."),
    "end": N_("The session is ended."),
    "end-all": N_("All sessions of this user are ended."),
}
NO_FACTOR = N_("This user has no second factor.")
STATUSES: dict[type[Refusal], int] = {NameTaken: 409, TotpNotOn: 409, ReadOnlyUser: 403}


def list_acts(administration: Administration) -> Mapping[str, Act]:
    """The actions of the buttons, by value."""
    return {
        "ban": administration.ban,
        "unban": administration.unban,
        "disable": administration.disable,
        "enable": administration.enable,
        "demand": administration.demand_change,
        "reset": administration.reset_factors,
        "unlock": administration.unlock,
        "end-all": administration.end_all,
    }


@dataclass(frozen=True, slots=True)
class AdminUserPages:
    guard: AdminGuard
    administration: Administration

    def routes(self) -> list[Route]:
        endpoint = self.guard.forms.messages.endpoint
        return [endpoint(NEW, self.show_new, self.add), endpoint(USER, self.show, self.change)]

    async def show_new(self, request: Request) -> Response:
        session = await self.guard.session(request)
        return session if isinstance(session, Response) else self._new(request, session, {})

    def _new(
        self,
        request: Request,
        session: Session,
        form: Mapping[str, str],
        status: int = 200,
        error: str | None = None,
    ) -> Response:
        fields = ("login", "display", "email", "groups", "admin")
        given = {name: form.get(name, "") for name in fields}
        return self.guard.forms.render(
            request, "admin_new.html", session, status, tab=paths.ADMIN, given=given, error=error
        )

    async def add(self, request: Request) -> Response:
        posted = await self.guard.read_form(request)
        if isinstance(posted, Response):
            return posted
        form, actor = posted.form, posted.session.user
        try:
            added = await self.administration.add(
                actor,
                form.get("login", "").strip(),
                Details(
                    name=form.get("display", "").strip(),
                    email=form.get("email", "").strip(),
                    groups=_groups(form),
                    admin=bool(form.get("admin")),
                ),
                now=self.guard.forms.service.clock(),
            )
        except Refusal as refusal:
            status = STATUSES.get(type(refusal), 400)
            answer = self.guard.render_refusal(request, refusal)
            return answer or self._new(request, posted.session, form, status, str(refusal))
        return self._password(request, posted.session, added)

    def _password(self, request: Request, session: Session, added: Added) -> Response:
        return self.guard.forms.render(
            request,
            "admin_password.html",
            session,
            tab=paths.ADMIN,
            subject=added.user,
            password=added.password,
            page=_page(added.user.id),
        )

    async def show(self, request: Request) -> Response:
        session = await self.guard.session(request)
        if isinstance(session, Response):
            return session
        return await self._user(request, session)

    async def _user(
        self, request: Request, session: Session, status: int = 200, error: str | None = None
    ) -> Response:
        now = self.guard.forms.service.clock()
        try:
            about = await self.administration.about(session.user, request.path_params["id"], now)
        except Refusal as refusal:
            return self._render_refusal(request, refusal)

        def render() -> Response:
            return self.guard.forms.render(
                request,
                "admin_user.html",
                session,
                status,
                tab=paths.ADMIN,
                about=about,
                subject=about.user,
                sessions=[
                    describe_session(one, now, one.number == session.number)
                    for one in about.sessions
                    if one.level is FULL
                ],
                most=LISTED if len(about.sessions) == LISTED else None,
                administers=is_admin(about.user),
                action=request.url.path,
                done=DONE.get(request.query_params.get("done", "")),
                error=error,
            )

        return await asyncio.to_thread(render)  # so many sessions take 25 ms

    async def change(self, request: Request) -> Response:
        posted = await self.guard.read_form(request)
        if isinstance(posted, Response):
            return posted
        what, public_id = posted.form["do"], request.path_params["id"]
        try:
            if what == "password":
                return await self._renew_password(request, posted, public_id)
            await self._do(posted, what, public_id)
        except TotpNotOn:
            return await self._user(request, posted.session, 409, NO_FACTOR)
        except Refusal as refusal:
            if (answer := self.guard.render_refusal(request, refusal)) is not None:
                return answer
            status = STATUSES.get(type(refusal), 400)
            return await self._user(request, posted.session, status, str(refusal))
        return rendering.redirect(
            f"{_page(public_id)}?done={what}" if what in DONE else paths.ADMIN
        )

    async def _do(self, posted: PostedForm, what: str, public_id: str) -> None:
        administration, actor = self.administration, posted.session.user
        form, now = posted.form, self.guard.forms.service.clock()
        if what == "edit":
            await administration.edit(
                actor,
                public_id,
                Details(
                    name=form.get("display", "").strip(),
                    groups=_groups(form),
                    admin=bool(form.get("admin")) if actor.super_admin else None,
                ),
                now=now,
            )
        elif what == "end":
            await administration.end(actor, public_id, form.get("session", ""), now)
        elif (act := list_acts(administration).get(what)) is not None:
            await act(actor, public_id, now)

    async def _renew_password(
        self, request: Request, posted: PostedForm, public_id: str
    ) -> Response:
        now = self.guard.forms.service.clock()
        added = await self.administration.renew_password(posted.session.user, public_id, now)
        return self._password(request, posted.session, added)

    def _render_refusal(self, request: Request, refusal: Refusal) -> Response:
        if (answer := self.guard.render_refusal(request, refusal)) is None:
            raise refusal
        return answer


def _page(public_id: str) -> str:
    return USER.format(id=public_id)


def _groups(form: Mapping[str, str]) -> tuple[str, ...]:
    """The items of a field, which are separated by commas."""
    names = (name.strip() for name in form.get("groups", "").split(","))
    return tuple(dict.fromkeys(name for name in names if name))
