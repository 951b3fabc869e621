"""The admin listener: alive, ready, what was counted. Must not know how that is found out."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Metrics(Protocol):
    async def answer(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its media type, as who asks takes it."""


def admin_app(
    ready: Callable[[], Awaitable[str | None]], metrics: Metrics | None = None
) -> Starlette:
    """`/healthz`: this process answers. `/readyz`: 200, or 503 and why it cannot serve. `/metrics`:
    for Prometheus."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        reason = await ready()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": reason}, 503)

    async def scraped(request: Request) -> Response:
        assert metrics is not None
        body, media_type = await metrics.answer(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})

    routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    return Starlette(routes=routes if metrics is None else [*routes, Route("/metrics", scraped)])
