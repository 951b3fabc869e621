"""Doorward around an ASGI application in the same process: a login without a proxy.

Knows how an application is wrapped and how its life lies within ours; must not know what decides.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from doorward.app import Application
from doorward.policy import Identity as Identity
from doorward.settings import Settings, load_settings_in_process, settings_in_process

_Message = Any


class Doorward:
    """Protects `app` as `doorward serve` protects an upstream.

    `settings` are a mapping as YAML would give it, the path of a file, or made already. Their
    routes name no upstream; without any, one leads all requests to `app`. The application finds the
    user in the headers of the route's presets, and as an `Identity` or None in
    `scope["state"]["doorward"]`. Raises InvalidSettings.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings | Mapping[str, Any] | str | os.PathLike[str]
    ) -> None:
        if isinstance(settings, Mapping):
            settings = settings_in_process(settings)
        elif not isinstance(settings, Settings):
            settings = load_settings_in_process(Path(settings), os.environ)
        self._app = app
        self._gate = Application(settings, inner=app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(self._gate, self._app).run(scope, receive, send)
        else:
            await self._gate(scope, receive, send)  # type: ignore[arg-type]


class _Lifespan:
    """Ours begins before the application's, and ends after it."""

    def __init__(self, gate: Application, app: ASGIApp) -> None:
        self._gate = gate
        self._app = app
        self._has_said = self._is_over = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        startup = await receive()
        try:
            await self._gate.__aenter__()
        except Exception as fault:
            await send({"type": "lifespan.startup.failed", "message": str(fault)})
            return
        messages = [startup]

        async def next_message() -> _Message:
            return messages.pop() if messages else await receive()

        async def pass_on(message: _Message) -> None:
            self._has_said = True
            if message["type"] != "lifespan.startup.complete":
                await self._end()
            await send(message)

        try:
            await self._app(scope, next_message, pass_on)
        except Exception:
            if self._has_said:
                raise
        else:
            if self._is_over:
                return
        finally:
            if self._has_said:
                await self._end()
        if not self._has_said:  # an application without a lifespan of its own
            await send({"type": "lifespan.startup.complete"})
            while (await receive())["type"] != "lifespan.shutdown":
                pass
            await self._end()
            await send({"type": "lifespan.shutdown.complete"})

    async def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            await self._gate.__aexit__()
