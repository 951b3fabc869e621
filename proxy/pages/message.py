"""What a refused or failed request is told: one page for people, one JSON object for programs.

Knows words for statuses; must not know why the gate decided as it did.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from proxy.accounts.refusals import StorageUnavailable
from proxy.gate.accept import Client
from proxy.gate.cookies import Header
from proxy.gate.ours import Handler, navigates
from proxy.pages.drawing import guarded, page

_log = structlog.get_logger("doorward.pages")

RETRY_LATER = (b"retry-after", b"5")  # seconds; a full queue of password hashes is through by then


@dataclass(frozen=True, slots=True)
class Words:
    """`code` is for programs; `title` and `text` are for people; `link` is a way on from here."""

    code: str
    title: str
    text: str
    link: tuple[str, str] | None = None


_HOME = ("/", "Go to the start page")
_AGAIN = ("", "Try again")  # the empty reference is this very page (RFC 3986 4.4)

WORDS: Mapping[int, Words] = {
    400: Words("bad_request", "That request makes no sense here", "It was malformed or ambiguous."),
    401: Words(
        "unauthenticated",
        "Please log in",
        "This page is for people who are logged in.",
        ("/.doorward/login", "Log in"),
    ),
    403: Words("forbidden", "You may not open this page", "Ask whoever runs this site.", _HOME),
    404: Words("not_found", "There is nothing here", "The address may be mistyped.", _HOME),
    405: Words("method_not_allowed", "That does not work here", "Use another method."),
    413: Words("body_too_large", "That was too much", "What was sent is too large."),
    415: Words("unsupported_media_type", "That form is unknown here", "Send a form."),
    421: Words("misdirected_request", "Wrong address", "No site of this name is served here."),
    500: Words("internal_error", "Something broke", "It is our fault, not yours.", _AGAIN),
    502: Words(
        "upstream_unreachable",
        "The application does not answer",
        "It may be starting or stopped. Try again in a moment.",
        _AGAIN,
    ),
    503: Words("unavailable", "Not available right now", "Try again in a moment.", _AGAIN),
    504: Words(
        "upstream_timeout",
        "The application takes too long",
        "It was asked and did not answer in time. Try again in a moment.",
        _AGAIN,
    ),
}


def message(
    status: int,
    title: str | None,
    text: str | None,
    client: Client | None,
    *,
    browser: bool,
    code: str | None = None,
    headers: Iterable[Header] = (),
    more: Mapping[str, str] | None = None,
) -> Response:
    """The answer to a request that goes no further; None takes the words of the status.

    For a program (`browser` false) it is `{"error", "message", "request_id"}` and whatever is in
    `more`. `headers` are added as they are.
    """
    words = WORDS.get(status, WORDS[500])
    text = text or words.text
    headers = [*headers, RETRY_LATER] if status == 503 else headers
    request_id = "" if client is None else client.request_id
    if not browser:
        content = {"error": code or words.code, "message": text, **(more or {})}
        return guarded(JSONResponse({**content, "request_id": request_id}, status), headers)
    return page(
        "message.html",
        status,
        headers,
        title=title or words.title,
        text=text,
        link=words.link,
        request_id=request_id,
    )


def answer(request: Request, status: int, text: str | None = None, code: str = "") -> Response:
    """The message in the form that this request can use."""
    client = getattr(request.state, "client", None)  # none on the one path any Host may ask
    return message(status, None, text, client, browser=wants_page(request), code=code or None)


def wants_page(request: Request) -> bool:
    """True for a person's browser, whatever the method; programs get JSON."""
    return navigates("GET", request.headers.raw)


def not_allowed(request: Request, allowed: tuple[str, ...]) -> Response:
    return answer(request, 405)


def safely(handler: Handler) -> Handler:
    """The handler, with an answer where it raises: 503 for storage, 500 for what nobody foresaw."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except StorageUnavailable as refusal:
            return answer(request, 503, str(refusal))
        except Exception:
            _log.exception("page_failed", path=request.url.path)
            return answer(request, 500)

    return answered
