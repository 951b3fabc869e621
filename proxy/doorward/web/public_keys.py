"""The keys that verify assertions, where applications read them (RFC 7517 5).

Knows JSON; must not know users. No login is required: these keys are public.
"""

import json
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.keys import Keys
from doorward.accounts.sessions.assertions import AssertionKeys
from doorward.web.endpoint import endpoint

# A new key is published for longer than this before it signs (`accounts.keys.NOTICE_S`).
KEPT_S = 300


def build_key_route(keys: Keys, algorithms: Iterable[str]) -> Route:
    """The route at which the keys of these algorithms are published."""
    published = [AssertionKeys(keys, algorithm) for algorithm in algorithms]

    async def show(request: Request) -> Response:
        headers = {
            "cache-control": f"public, max-age={KEPT_S}",
            "x-content-type-options": "nosniff",
        }
        found = [key for each in published for key in each.public]
        content = json.dumps({"keys": found}).encode()
        return Response(content, media_type="application/jwk-set+json", headers=headers)

    return endpoint(paths.KEYS, get=show)
