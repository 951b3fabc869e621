"""How the `alekeagle` dialect counts requests and logins, and for whom.

Knows keys and windows; must not know whether a login is right.
"""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.passwords.regulation import get_network
from doorward.accounts.refusals import StorageUnavailable
from doorward.dialects.alekeagle.error_table import lines
from doorward.dialects.context import Context, RateLimited
from doorward.gate.cookies import Header
from doorward.settings.dialects import DialectAlekeagle, Rate
from doorward.storage.rates import Count, Rates
from doorward.web.endpoint import Handler, get_client


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Implements `context.Limiter`. A request with a session counts for its user, others for their
    network."""

    context: Context
    dialect: DialectAlekeagle
    rates: Rates

    async def count(self, request: Request, method: str) -> Count | None:
        rate = self.dialect.rate_limit
        return None if rate is None else self._count("all", await self._key(request), rate)

    def lines(self, count: Count) -> list[Header]:
        return lines(count)

    def count_login(self, request: Request) -> None:
        """Count a login with a password. Raises RateLimited."""
        rate = self.dialect.login_limit
        if rate is None:
            return
        count = self._count("login", _network(request), rate)
        if count.is_exceeded:
            raise RateLimited(count, count.resets_at - self.context.clock())
        request.state.login_count = count

    def report_logins(self, answer: Handler) -> Handler:
        """The handler; its answers state the count of logins instead of that of all requests."""

        async def respond(request: Request) -> Response:
            response = await answer(request)
            if (count := getattr(request.state, "login_count", None)) is not None:
                response.raw_headers.extend(lines(count))
            return response

        return respond

    def count_code(self, challenge: str, most: int, window_s: float) -> Count:
        """Count a code for this challenge, by the id of its session."""
        now = self.context.clock()
        return self.rates.count(f"alekeagle challenge {challenge}", most, window_s, now)

    def _count(self, what: str, key: str, rate: Rate) -> Count:
        window_s = rate.per.total_seconds()
        return self.rates.count(
            f"alekeagle {what} {key}", rate.requests, window_s, self.context.clock()
        )

    async def _key(self, request: Request) -> str:
        try:
            session = await self.context.service.session(request)
        except StorageUnavailable:  # still counted; the endpoint reports the error
            session = None
        return _network(request) if session is None else f"user {session.user.number}"


def _network(request: Request) -> str:
    return f"network {get_network(get_client(request).address)}"
