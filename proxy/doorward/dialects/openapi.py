"""The API description (OpenAPI 3.1): drawn once at start from the routes of the dialects in force.

It knows routes and the rows of `described`; how an endpoint works it must not know.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import __version__
from doorward.dialects import alekeagle, datepoll, described, rocketchat, xhr
from doorward.dialects.described import Operation
from doorward.dialects.wire import Answer, Trouble
from doorward.gate.ours import Endpoint, endpoint
from doorward.settings import Settings

PATH = "/.doorward/openapi.json"
Json = dict[str, object]

# Each dialect's words and what it refuses with.
ROWS: dict[str, Mapping[str, Operation]] = {
    "xhr": described.XHR,
    "alekeagle": described.ALEKEAGLE,
    "datepoll": described.DATEPOLL,
    "rocketchat": described.ROCKETCHAT,
}
TABLES: dict[str, Mapping[type[Trouble], Answer]] = {
    "xhr": xhr.TABLE,
    "alekeagle": alekeagle.TABLE,
    "datepoll": datepoll.TABLE,
    "rocketchat": rocketchat.TABLE,
}
TABLES_OF_PATHS = {rocketchat.PREFIX + "login": rocketchat.LOGIN_TABLE}
SCHEMES: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A session's token."},
    "authorization": {"type": "apiKey", "in": "header", "name": "Authorization"},
    "token": {"type": "apiKey", "in": "query", "name": "token"},
    "userId": {"type": "apiKey", "in": "header", "name": "X-User-Id"},
    "authToken": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
}
OWN_CARRIERS: dict[str, tuple[str, ...]] = {
    "alekeagle": ("authorization",),
    "datepoll": ("token",),
    "rocketchat": ("userId", "authToken"),
}
FACTOR = ("x-2fa-code?", "x-2fa-method?")
_FIELD = re.compile(r"(?P<name>[^:?]+)(:(?P<type>[a-z]+))?(?P<optional>\??)")


def route(settings: Settings, tables: Mapping[str, Iterable[Route]]) -> Route:
    """Where the description of these routes, by the name of their dialect, is read."""
    content = json.dumps(describe(settings, tables)).encode()

    async def show(request: Request) -> Response:
        headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
        return Response(content, media_type="application/json", headers=headers)

    return endpoint(PATH, get=show)


def describe(settings: Settings, tables: Mapping[str, Iterable[Route]]) -> Json:
    cookie: Json = {"type": "apiKey", "in": "cookie", "name": _cookie(settings)}
    paths: dict[str, Json] = {}
    for dialect, routes in tables.items():
        for each in routes:
            paths[each.path] = dict(_operations(dialect, settings, each))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Doorward",
            "version": __version__,
            "description": "The session APIs that are switched on here.",
        },
        "servers": [{"url": settings.public_url}],
        "paths": paths,
        "components": {
            "securitySchemes": SCHEMES | {"cookie": cookie},
            "schemas": {f"{name}Error": _object(described.ERRORS[name]) for name in tables},
        },
        "tags": [{"name": name} for name in tables],
    }


def _cookie(settings: Settings) -> str:
    return "__Host-doorward" if settings.secure_cookies else "doorward"


def _operations(dialect: str, settings: Settings, each: Route) -> Iterator[tuple[str, Json]]:
    methods = each.answered if isinstance(each, Endpoint) else ()
    for method in methods:
        if method != "HEAD":
            row = ROWS[dialect].get(f"{method} {_key(dialect, settings, each.path)}")
            yield method.lower(), _operation(dialect, each.path, method, row)


def _key(dialect: str, settings: Settings, path: str) -> str:
    """What the rows call this path."""
    if dialect == "rocketchat":
        return path.removeprefix(rocketchat.PREFIX)
    if dialect == "alekeagle" and (chosen := settings.dialects.alekeagle) is not None:
        return path.removeprefix(chosen.prefix).removeprefix("/user")
    return path


def _operation(dialect: str, path: str, method: str, row: Operation | None) -> Json:
    row = row or Operation(f"{method} {path}")
    drawn: Json = {
        "operationId": re.sub(r"\W+", "_", f"{dialect}_{method.lower()}{path}").rstrip("_"),
        "tags": [dialect],
        "summary": row.summary,
        "responses": {str(row.success): _success(row), **_refusals(dialect, path)},
        "security": [] if row.public else _carriers(dialect),
    }
    if row.body:
        schema = _object(row.body)
        drawn["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    if parameters := [*_parameters(path, row)]:
        drawn["parameters"] = parameters
    return drawn


def _carriers(dialect: str) -> list[Json]:
    """Any of them will do; within one, all that it names."""
    own = OWN_CARRIERS.get(dialect, ())
    return [{name: [] for name in either} for either in (own, ("bearer",), ("cookie",)) if either]


def _parameters(path: str, row: Operation) -> Iterator[Json]:
    for name in re.findall(r"\{(\w+)\}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    headers = FACTOR if row.factor else ()
    for place, fields in (("query", row.query), ("header", headers)):
        for field in fields:
            name, schema, required = _field(field)
            yield {"name": name, "in": place, "required": required, "schema": schema}


def _success(row: Operation) -> Json:
    said: Json = {"description": "Done."}
    if row.success != 204:
        said["content"] = {"application/json": {"schema": {"type": "object"}}}
    return said


def _refusals(dialect: str, path: str) -> Json:
    """Each status with the codes that it goes out with."""
    codes: dict[int, set[str]] = {}
    for answer in TABLES_OF_PATHS.get(path, TABLES[dialect]).values():
        codes.setdefault(answer.status, set()).add(answer.code)
    schema = {"$ref": f"#/components/schemas/{dialect}Error"}
    return {
        str(status): {
            "description": ", ".join(sorted(codes[status])),
            "content": {"application/json": {"schema": schema}},
        }
        for status in sorted(codes)
        if status != 405
    }


def _object(fields: Iterable[str]) -> Json:
    read = [_field(field) for field in fields]
    drawn: Json = {"type": "object", "properties": {name: schema for name, schema, _ in read}}
    if required := [name for name, _, is_required in read if is_required]:
        drawn["required"] = required
    return drawn


def _field(text: str) -> tuple[str, Json, bool]:
    found = _FIELD.fullmatch(text)
    assert found is not None, text
    return found["name"], {"type": found["type"] or "string"}, not found["optional"]
