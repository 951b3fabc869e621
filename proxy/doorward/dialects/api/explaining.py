"""What happens to a request, and why: `doorward explain` in the administration API.

Knows the endpoint's parameters; must not know rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from doorward.accounts.administration import Administration
from doorward.dialects.api.guard import ApiGuard
from doorward.dialects.api.parameters import read_flag, read_text
from doorward.dialects.api.rendering import describe_explanation, render
from doorward.dialects.context import Malformed
from doorward.gate.addresses import parse_address
from doorward.web.explanation import Explain, NoUrl, Question


@dataclass(frozen=True, slots=True)
class ApiExplainEndpoint:
    guard: ApiGuard
    administration: Administration
    explain: Explain

    async def explain_request(self, request: Request) -> Response:
        """The output of `doorward explain`, from this process."""
        actor = await self.guard.find_actor(request)
        method, url = read_text(request, "method") or "GET", read_text(request, "url")
        address = read_text(request, "address") or "127.0.0.1"
        if url is None:
            raise Malformed("The parameter url is required.", ("url",))
        if parse_address(address) is None:
            raise Malformed("The parameter address has to be an IP address.", ("address",))
        has_factor, user = read_flag(request, "second_factor"), None
        if name := read_text(request, "user"):
            public_id = await self.administration.get_id(actor, name)
            user = (await self.administration.about(actor, public_id, self.guard.clock())).user
        try:
            found = await self.explain(Question(method, url, user, address, has_factor))
        except NoUrl:
            raise Malformed("The parameter url has to be a URL or a path.", ("url",)) from None
        return render(describe_explanation(found))
