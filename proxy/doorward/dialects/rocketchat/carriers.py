"""Where the `rocketchat` dialect looks for a token, and its rate limit.

X-User-Id with X-Auth-Token takes precedence over Bearer, and Bearer over the cookie. Knows headers
and counters; must not know what a session may do.
"""

from dataclasses import dataclass

from starlette.requests import Request

from doorward.accounts.passwords.regulation import get_network
from doorward.accounts.sessions.sessions import FULL, Session
from doorward.accounts.sessions.tokens import is_token
from doorward.dialects.context import Context, Unauthenticated
from doorward.gate.cookies import Header
from doorward.settings.dialects import Rate
from doorward.storage.rates import Count, Rates
from doorward.web.endpoint import get_client


@dataclass(frozen=True, slots=True)
class Requester:
    """`token` is None if the session comes from the cookie, which browsers send for any site's
    page."""

    session: Session
    token: str | None


async def find_session(context: Context, request: Request) -> Session | None:
    return await context.service.identify.session(request.headers.raw, context.clock(), pair=True)


async def find_caller(context: Context, request: Request, *, pending: bool = False) -> Requester:
    """The caller. A session whose second factor is due counts only with `pending`. Raises
    Unauthenticated."""
    session = await find_session(context, request)
    if session is None or (session.level is not FULL and not pending):
        raise Unauthenticated
    return Requester(session, _get_token(request))


def _get_token(request: Request) -> str | None:
    token = request.headers.get("x-auth-token", "")
    if is_token(token.encode("latin-1")):
        return token
    token = request.headers.get("authorization", "").rstrip(" ").rpartition(" ")[2]
    return token if is_token(token.encode("latin-1")) else None


@dataclass(frozen=True, slots=True)
class Limit:
    """Counts by address, route and method, for every client. A request without a required session
    is refused, and not counted."""

    context: Context
    rates: Rates
    rate: Rate
    name: str
    is_open: bool

    async def count(self, request: Request, method: str) -> Count | None:
        if not self.is_open and await find_session(self.context, request) is None:
            return None
        network = get_network(get_client(request).address)
        key = f"rocketchat {network} {method} {self.name}"
        per_s = self.rate.per.total_seconds()
        return self.rates.count(key, self.rate.requests, per_s, self.context.clock())

    def lines(self, count: Count) -> list[Header]:
        """Reset is in milliseconds since 1970."""
        return [
            (b"x-ratelimit-limit", str(count.limit).encode()),
            (b"x-ratelimit-remaining", str(count.left).encode()),
            (b"x-ratelimit-reset", str(int(count.resets_at * 1000)).encode()),
        ]
