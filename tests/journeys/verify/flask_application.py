"""A Flask application that returns its user's name, protected as in the example."""

import json
import sys
from pathlib import Path

from flask import Flask, g

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "verify"))

from flask_verify import protect  # type: ignore[import-not-found]

app = Flask(__name__)
protect(app, **json.loads(sys.argv[2]))


@app.get("/", defaults={"path": ""})
@app.get("/<path:path>")
def show(path: str) -> str:
    name: str = g.doorward["preferred_username"]
    return name


app.run("127.0.0.1", int(sys.argv[1]))
