"""The API description (OpenAPI 3.1) of the enabled dialects, built from their routes.

Knows routes and the rows of `operations`; must not know how an endpoint works.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import Route

from doorward import __version__, paths
from doorward.dialects import rocketchat
from doorward.dialects.context import ErrorFormat, RateLimited
from doorward.dialects.operations import DIALECTS, DialectDescription, Operation
from doorward.dialects.shapes import Shape
from doorward.gate.cookies import build_cookies
from doorward.settings import Settings
from doorward.web.endpoint import Endpoint

REFERENCE = "#/components/schemas/{model}"
Json = dict[str, object]

SCHEMES: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A session's token."},
    "apiToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token of an administrator, with an admin scope.",
    },
    "authorization": {"type": "apiKey", "in": "header", "name": "Authorization"},
    "token": {"type": "apiKey", "in": "query", "name": "token"},
    "userId": {"type": "apiKey", "in": "header", "name": "X-User-Id"},
    "authToken": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
}
FACTOR = ("x-2fa-code", "x-2fa-method")


# The gate's answer to a path that can be read in several ways.
BAD_REQUEST, BAD_PATH = 400, "bad_request"


class BadPathError(Shape):
    error: str
    message: str
    request_id: str


def describe(settings: Settings, tables: Mapping[str, Iterable[Route]]) -> Json:
    cookie: Json = {"type": "apiKey", "in": "cookie", "name": _cookie(settings)}
    paths: dict[str, Json] = {}
    used: set[type[BaseModel]] = set()
    for dialect, routes in tables.items():
        for each in routes:
            paths[each.path] = dict(_operations(dialect, settings, each, used))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Doorward",
            "version": __version__,
            "description": "The APIs that are switched on here.",
        },
        "servers": [{"url": settings.public_url}],
        "paths": paths,
        "components": {
            "securitySchemes": SCHEMES | {"cookie": cookie},
            "schemas": _schemas(used),
        },
        "tags": [{"name": name} for name in tables],
    }


def _schemas(used: Iterable[type[BaseModel]]) -> Json:
    """The models, with all nested ones. In requests and answers alike, a key with a default may be
    absent."""
    chosen = sorted(used, key=lambda model: model.__name__)
    _, rendered = models_json_schema(
        [(model, "validation") for model in chosen], ref_template=REFERENCE
    )
    found: Json = rendered.get("$defs", {})
    return found


def _cookie(settings: Settings) -> str:
    return build_cookies(settings).name.decode()


def _operations(
    name: str, settings: Settings, each: Route, used: set[type[BaseModel]]
) -> Iterator[tuple[str, Json]]:
    if not isinstance(each, Endpoint) or not isinstance(each.error_format, ErrorFormat):
        return
    dialect = DIALECTS[name]
    for method in each.answered:
        if method != "HEAD":
            row = dialect.rows[f"{method} {_key(name, settings, each.path)}"]
            used.update([BadPathError] if "{" in each.path else [])
            used.update(row.body, row.errors, each.error_format.shapes, filter(None, [row.answer]))
            rendered = _operation(dialect, each, each.error_format, row)
            operation = re.sub(r"\W+", "_", f"{name}_{method.lower()}{each.path}").rstrip("_")
            yield method.lower(), {"operationId": operation, "tags": [name], **rendered}


def _key(dialect: str, settings: Settings, path: str) -> str:
    """The name of this path in the rows."""
    if dialect == "rocketchat":
        return path.removeprefix(rocketchat.PREFIX)
    if dialect == "alekeagle" and (chosen := settings.dialects.alekeagle) is not None:
        return path.removeprefix(chosen.prefix).removeprefix("/user")
    return path.removeprefix(paths.API) if dialect == "api" else path


def _operation(
    dialect: DialectDescription, each: Route, error_format: ErrorFormat, row: Operation
) -> Json:
    rendered: Json = {
        "summary": row.summary,
        "responses": {**_success(row), **_refusals(dialect, error_format, row, each.path)},
        "security": [] if row.public else _carriers(dialect),
    }
    if row.body:
        schema = _list_alternatives(row.body)
        content = {kind: {"schema": schema} for kind in dialect.bodies}
        rendered["requestBody"] = {"required": not row.optional_body, "content": content}
    if parameters := [*_parameters(each.path, row)]:
        rendered["parameters"] = parameters
    return rendered


def _carriers(dialect: DialectDescription) -> list[Json]:
    """The security requirements: one alternative has to be met, with all schemes that it names."""
    if dialect.alone:
        return [{dialect.alone: []}]
    ways = (dialect.carriers, ("bearer",), ("cookie",))
    return [{name: [] for name in either} for either in ways if either]


def _parameters(path: str, row: Operation) -> Iterator[Json]:
    for name in re.findall(r"\{(\w+)\}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    yield from _query(row.query)
    for name in FACTOR if row.factor else ():
        yield {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def _query(shape: type[Shape] | None) -> Iterator[Json]:
    schema = {} if shape is None else shape.model_json_schema()
    for name, inner in schema.get("properties", {}).items():
        required = name in schema.get("required", ())
        yield {"name": name, "in": "query", "required": required, "schema": inner}


def _success(row: Operation) -> Json:
    if not row.status:  # has only errors
        return {}
    said: Json = {"description": "Done."}
    if row.answer is not None:
        said["content"] = {row.media: {"schema": _list_alternatives((row.answer,))}}
    return {str(row.status): said}


def _refusals(
    dialect: DialectDescription, error_format: ErrorFormat, row: Operation, path: str
) -> Json:
    """Each status with which the operation can refuse, and its codes. A path that can be read in
    two ways is refused before its owner is determined."""
    codes: dict[int, set[str]] = {}
    counted = (RateLimited,) if dialect.counted else ()
    answers = [error_format.table[error] for error in (*row.list_refusals(), *counted)]
    for answer in (*answers, *row.more):
        codes.setdefault(answer.status, set()).add(answer.code)
    shapes = {status: (*error_format.shapes, *row.errors) for status in codes}
    if "{" in path:
        codes.setdefault(BAD_REQUEST, set()).add(BAD_PATH)
        shapes[BAD_REQUEST] = (*shapes.get(BAD_REQUEST, ()), BadPathError)
    return {
        str(status): {
            "description": ", ".join(sorted(codes[status])),
            "content": {"application/json": {"schema": _list_alternatives(shapes[status])}},
        }
        for status in sorted(codes)
    }


def _list_alternatives(shapes: Iterable[type[BaseModel]]) -> Json:
    rendered: list[Json] = [{"$ref": REFERENCE.format(model=shape.__name__)} for shape in shapes]
    return rendered[0] if len(rendered) == 1 else {"anyOf": rendered}
