"""A Starlette application behind Doorward: uvicorn starlette_app:app"""

import os

from doorward.middleware import Doorward
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def who(request: Request) -> JSONResponse:
    identity = request.state.doorward
    return JSONResponse({"username": identity.username, "groups": identity.groups})


app = Doorward(Starlette(routes=[Route("/", who)]), os.environ["DOORWARD_CONFIG"])
