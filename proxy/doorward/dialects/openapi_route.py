"""The endpoint of the API description. The description is built when it is first requested, because
that loads the shapes of every dialect, 3 MiB, and most processes never need it.

Must not know what the description says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from functools import cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.settings import Settings
from doorward.web.endpoint import endpoint


def build_description_route(settings: Settings, tables: Mapping[str, Iterable[Route]]) -> Route:
    """The endpoint with the description of these routes, which are given by dialect."""

    @cache
    def build() -> bytes:
        from doorward.dialects.openapi import describe  # see above

        return json.dumps(describe(settings, tables)).encode()

    async def show(request: Request) -> Response:
        headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
        content = await asyncio.to_thread(build)  # 100 ms the first time
        return Response(content, media_type="application/json", headers=headers)

    return endpoint(paths.OPENAPI, get=show)
