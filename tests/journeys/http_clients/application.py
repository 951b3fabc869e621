"""An application for programs: an index of Python packages, a large file and events that can be
resumed, and a page that says what it was sent."""

import hashlib
import sys
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

LARGE = bytes(range(256)) * 4096
WHEEL = "demo_package-1.0-py3-none-any.whl"


def build_wheel() -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        about = "demo_package-1.0.dist-info"
        wheel.writestr("demo_package.py", "")
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: demo-package\nVersion: 1.0\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return content.getvalue()


CONTENT = build_wheel()


async def index(request: Request) -> Response:
    digest = hashlib.sha256(CONTENT).hexdigest()
    link = f'<a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a>'
    return HTMLResponse(f"<!DOCTYPE html><html><body>{link}</body></html>")


async def download(request: Request) -> Response:
    return Response(CONTENT, media_type="application/octet-stream")


async def send_large(request: Request) -> Response:
    first = request.headers.get("range", "").removeprefix("bytes=").partition("-")[0]
    if not first:
        return Response(LARGE, headers={"accept-ranges": "bytes"})
    sent = f"bytes {first}-{len(LARGE) - 1}/{len(LARGE)}"
    return Response(LARGE[int(first) :], 206, headers={"content-range": sent})


async def echo(request: Request) -> Response:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return JSONResponse({"bytes": size, "headers": dict(request.headers)})


async def send_events(request: Request) -> Response:
    """Two events for each request, after those that the client has."""
    last = int(request.headers.get("last-event-id", "0"))

    async def write() -> AsyncIterator[str]:
        yield "retry: 1\n\n"
        for number in (last + 1, last + 2):
            yield f"id: {number}\nevent: count\ndata: {number}\n\n"

    return StreamingResponse(write(), media_type="text/event-stream")


application = Starlette(
    routes=[
        Route("/simple/demo-package/", index),
        Route(f"/files/{WHEEL}", download),
        Route("/large", send_large),
        Route("/echo", echo, methods=["GET", "POST", "PUT"]),
        Route("/public/events", send_events),
    ]
)
uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
