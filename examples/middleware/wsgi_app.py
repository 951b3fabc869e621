"""A WSGI application behind Doorward, by a2wsgi: uvicorn wsgi_app:app"""

import json
import os
from collections.abc import Iterable
from typing import Any

from a2wsgi import WSGIMiddleware
from doorward.middleware import Doorward


def who(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    groups = environ.get("HTTP_REMOTE_GROUPS", "").split(",")
    body = json.dumps({"username": environ["HTTP_REMOTE_USER"], "groups": groups}).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


app = Doorward(WSGIMiddleware(who), os.environ["DOORWARD_CONFIG"])  # type: ignore[arg-type]
