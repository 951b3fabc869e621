"""A FastAPI application behind Doorward: uvicorn fastapi_app:app"""

import os
from typing import Annotated

from doorward.middleware import Doorward, Identity
from fastapi import Depends, FastAPI, Request

api = FastAPI()


def whoever_asks(request: Request) -> Identity:
    identity: Identity = request.state.doorward
    return identity


@api.get("/")
async def who(identity: Annotated[Identity, Depends(whoever_asks)]) -> dict[str, object]:
    return {"username": identity.username, "groups": identity.groups}


app = Doorward(api, os.environ["DOORWARD_CONFIG"])
