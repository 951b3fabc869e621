"""How a page of ours is drawn: templates, the stylesheet and the headers that guard them.

Knows nothing of what a page says. Works without script; nothing is loaded from anywhere else.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.gate.cookies import Header
from proxy.gate.ours import endpoint

# 'self' in form-action: a posted password goes nowhere but here. No script is allowed at all, so
# that markup which slipped through could not run any (GHSA-gmfg-3v4q-9qr4).
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

# Referrer-Policy: `no-referrer` would make browsers post our own forms with `Origin: null`.
GUARDS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

STATIC = "/.doorward/static/"
YEAR_S = 365 * 24 * 3600  # names carry a hash of what they name, so they may be kept for good

_TYPES = {"css": "text/css; charset=utf-8", "svg": "image/svg+xml"}


def _content(name: str) -> bytes:
    return (files("proxy.pages") / "static" / name).read_bytes()


def _address(name: str) -> str:
    stem, _, kind = name.partition(".")
    return f"{STATIC}{stem}.{hashlib.sha256(_content(name)).hexdigest()[:12]}.{kind}"


STYLESHEET = _address("doorward.css")
ICON = _address("doorward.svg")

_templates = Environment(
    loader=PackageLoader("proxy.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(stylesheet=STYLESHEET, icon=ICON)


def guarded(response: Response, more: Iterable[Header] = ()) -> Response:
    """The response with the headers of every page of ours, and `more` of them."""
    response.headers.update(GUARDS)
    response.raw_headers.extend(more)
    return response


def page(template: str, status: int, more: Iterable[Header] = (), **values: object) -> Response:
    """A page as HTML; every value is escaped where it is written."""
    text = _templates.get_template(template).render(status=status, **values)
    return guarded(Response(text, status, media_type="text/html"), more)


def moved(target: str, more: Iterable[Header] = ()) -> Response:
    """303 to a path of this host; `target` comes from `safe_return` or from our own code."""
    return guarded(Response(status_code=303, headers={"location": target}), more)


def static_routes() -> list[Route]:
    return [_static("doorward.css", STYLESHEET), _static("doorward.svg", ICON)]


def _static(name: str, address: str) -> Route:
    return endpoint(address, get=_giver(_content(name), _TYPES[name.rpartition(".")[2]]))


def _giver(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {
        "content-type": kind,
        "cache-control": f"public, max-age={YEAR_S}, immutable",
        "x-content-type-options": "nosniff",
    }

    async def give(request: Request) -> Response:
        return Response(content, headers=headers)

    return give
