"""A WSGI application that returns its user's name, behind the middleware of the example."""

import json
import sys
from pathlib import Path
from wsgiref.simple_server import make_server

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "verify"))

from doorward_verify import Verifier, WsgiVerify  # type: ignore[import-not-found]


def application(environ, start_response):  # type: ignore[no-untyped-def]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REMOTE_USER"].encode()]


port, about = int(sys.argv[1]), json.loads(sys.argv[2])
make_server("127.0.0.1", port, WsgiVerify(application, Verifier(**about))).serve_forever()
