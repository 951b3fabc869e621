"""What the handlers of the `rocketchat` dialect share: the caller, parameters, the second factor.

Knows the form of requests and the order of checks; must not know what an endpoint does.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.permissions import require
from doorward.accounts.sessions.sessions import Session
from doorward.dialects.context import Context, Malformed
from doorward.dialects.fields import is_storable, read_optional_json
from doorward.dialects.rocketchat.carriers import Requester, find_caller
from doorward.web.session_service import get_client_info

CHARACTERS = 4096  # no parameter is longer; the core checks passwords


@dataclass(frozen=True, slots=True)
class RequestGuard:
    context: Context
    factors: SecondFactors

    async def require_reader(
        self, request: Request, permission: str | None = None, *, pending: bool = False
    ) -> Session:
        """The session of a request that reads. Raises Unauthenticated, NotPermitted."""
        session = (await find_caller(self.context, request, pending=pending)).session
        if permission is not None:
            require(session.user, permission)
        return session

    async def require_changer(self, request: Request, *, pending: bool = False) -> Requester:
        """The caller of a request that changes something, unless another site's page sent it.
        Raises Unauthenticated, ForeignOrigin."""
        found = await find_caller(self.context, request, pending=pending)
        if found.token is None:
            self.context.check_origin(request)
        return found

    async def complete_logout(
        self, request: Request, response: Response, caller: Requester
    ) -> Response:
        """The answer to a request that has ended the session of its caller."""
        return await self.context.service.complete_logout(
            request, response, caller.session, expire=caller.token is None
        )

    async def demand(self, request: Request, session: Session, *, honours_trust: bool) -> None:
        """Raises what `SecondFactors.demand` does."""
        code, method = get_code(request)
        await self.factors.demand(
            session,
            get_client_info(request),
            code,
            method,
            honours_trust=honours_trust,
            now=self.context.clock(),
        )

    async def demand_proof(self, request: Request, session: Session, *, always: bool) -> None:
        """Takes proof from the request that the user is present. With `always`, users who have a
        factor need it every time. Otherwise, and for users without a factor, proof is needed if
        none was given recently."""
        is_asked = always and bool(await self.factors.list_enabled(session.user))
        if is_asked or not await self.factors.is_proved(session, self.context.clock()):
            await self.demand(request, session, honours_trust=False)


def get_code(request: Request) -> tuple[str | None, str | None]:
    """Code and method of the second factor's headers; an empty one counts as absent."""
    headers = request.headers
    return headers.get("x-2fa-code") or None, headers.get("x-2fa-method") or None


async def read_body(
    request: Request, *, required: Collection[str] = (), optional: Collection[str] = ()
) -> dict[str, str]:
    """A body of strings with these names and no other. Raises Malformed, TooLarge."""
    return check_names(await read_optional_json(request), required, optional)


def check_names(
    fields: dict[str, object], required: Collection[str], optional: Collection[str] = ()
) -> dict[str, str]:
    """With the messages of the documented API's schema validator."""
    for name in required:
        if name not in fields:
            raise Malformed(f"must have required property '{name}'")
    if not fields.keys() <= {*required, *optional}:
        raise Malformed("must NOT have additional properties")
    return {name: require_text(value) for name, value in fields.items()}


def require_text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed("must be string")
    if len(value) > CHARACTERS or not is_storable(value):
        raise Malformed("must be text")
    return value


def read_query(
    request: Request, *, required: Collection[str] = (), optional: Collection[str] = ()
) -> dict[str, str]:
    """A query with these names, each at most once. Raises Malformed."""
    pairs = request.query_params.multi_items()
    fields: dict[str, object] = dict(pairs)
    if len(fields) != len(pairs):
        raise Malformed("must be string")
    return check_names(fields, required, optional)


def parse_number(query: dict[str, str], name: str) -> int | None:
    """A whole number in the query. Raises Malformed."""
    text = query.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise Malformed("must be number")
    return int(text)


def parse_json(text: str) -> object:
    """Raises Malformed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("must be JSON") from None
