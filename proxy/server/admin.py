"""The admin listener: alive, ready. Must not know how readiness is found out."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def admin_app(ready: Callable[[], Awaitable[str | None]]) -> Starlette:
    """`/healthz`: this process answers. `/readyz`: 200, or 503 and why it cannot serve."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        reason = await ready()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": reason}, 503)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz)])
