"""The answer to a refused or failed request: a page for people, a JSON object for programs.

Knows texts for statuses; must not know why the gate decided as it did.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring as _quote

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts.refusals import StorageUnavailable
from doorward.gate.accept import Client
from doorward.gate.client_kind import ClientKind, detect_request_kind
from doorward.gate.cookies import Header
from doorward.gate.decision import Refuse
from doorward.http1.response_head import ResponseHead, write_lines
from doorward.pages.languages import N_
from doorward.pages.rendering import PAGE_LINES, PageRenderer, allow_frames
from doorward.web.answers import Answer
from doorward.web.endpoint import BodyCut, Handler, endpoint, unchanged
from doorward.web.refusal_headers import RETRY_LATER

_log = structlog.get_logger("doorward.pages")


@dataclass(frozen=True, slots=True)
class Words:
    """`code` is for programs; `title` and `text` are for people; `link` leads to a page that
    helps."""

    code: str
    title: str
    text: str
    link: tuple[str, str] | None = None


JSON_LINES: tuple[Header, ...] = ((b"content-type", b"application/json"), *PAGE_LINES)


@lru_cache(maxsize=256)
def _write_program(status: int, headers: tuple[Header, ...]) -> bytes:
    """What follows Content-Length. Strangers are refused often, with the same headers."""
    later = (RETRY_LATER,) if status == 503 else ()
    return write_lines((*JSON_LINES, *headers, *later))


_HOME = ("/", N_("Go to the start page"))
_ACCOUNT = (paths.ACCOUNT, N_("Your account"))
_AGAIN = ("", N_("Try again"))  # an empty reference is the current page (RFC 3986 4.4)

_LOG_IN = N_("Log in")
# What a person can do about a refusal other than log in, by the refusal's code.
_WAYS: Mapping[str, str] = {"second_factor_required": N_("Enter a code")}

WORDS: Mapping[int, Words] = {
    400: Words(
        "bad_request",
        N_("This request is not valid"),
        N_("It was malformed or ambiguous."),
    ),
    401: Words(
        "unauthenticated",
        N_("Please log in"),
        N_("You need to be logged in to see this page."),
        (paths.LOGIN, _LOG_IN),
    ),
    403: Words(
        "forbidden",
        N_("You do not have access to this page"),
        N_("Ask the people who run this site."),
        _HOME,
    ),
    404: Words(
        "not_found", N_("There is nothing here"), N_("Check the address for typing errors."), _HOME
    ),
    405: Words("method_not_allowed", N_("This does not work here"), N_("Use another method.")),
    413: Words("body_too_large", N_("This is too large"), N_("What was sent is too large.")),
    415: Words(
        "unsupported_media_type", N_("This type of content is not accepted"), N_("Send a form.")
    ),
    421: Words(
        "misdirected_request",
        N_("Wrong address"),
        N_("There is no site with this name here."),
    ),
    429: Words(
        "too_many_requests", N_("Too many requests"), N_("Wait a while and try again."), _AGAIN
    ),
    500: Words(
        "internal_error", N_("Something went wrong"), N_("This is our fault, not yours."), _AGAIN
    ),
    502: Words(
        "upstream_unreachable",
        N_("The application does not answer"),
        N_("It may be starting or stopped. Try again in a moment."),
        _AGAIN,
    ),
    503: Words("unavailable", N_("Not available right now"), N_("Try again in a moment."), _AGAIN),
    504: Words(
        "upstream_timeout",
        N_("The application takes too long"),
        N_("It did not answer in time. Try again in a moment."),
        _AGAIN,
    ),
}


def _respond(answer: Answer) -> Response:
    response = Response(answer.body, answer.head.status)
    response.raw_headers = answer.head.headers
    return response


def _links(words: Words, refusal: Refuse) -> list[tuple[str, str]]:
    """The links on a refusal's page, the most useful one first."""
    login, switch = refusal.login, refusal.switch
    first = words.link if login is None else (login, _WAYS.get(refusal.code, _LOG_IN))
    if first is _HOME and not refusal.home:
        first = _ACCOUNT
    second = None if switch is None else (switch, N_("Log in as someone else"))
    return [link for link in (first, second) if link is not None]


def replace_lines(request: Request, lines: Iterable[Header]) -> None:
    """Add these lines to whatever answers this request, in place of any set before. If a later step
    fails, the browser still gets its new token; otherwise it would be logged out."""
    request.state.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Messages:
    renderer: PageRenderer

    def message(
        self, refusal: Refuse, client: Client | None, *, client_kind: ClientKind, languages: str
    ) -> Response:
        """The answer to a request that is not forwarded. If the code or message is empty, those of
        the status are used; headers are added unchanged; `languages` is the request's
        Accept-Language.

        A program gets `{"error", "message", "request_id"}` in English, with `login` if there is
        one, and `max_age` if a factor has to be given again.
        """
        status, login = refusal.status, refusal.login
        words = WORDS.get(status, WORDS[500])
        text = refusal.message or words.text
        headers = [*refusal.headers, RETRY_LATER] if status == 503 else refusal.headers
        request_id = "" if client is None else client.request_id
        if not client_kind.is_person:
            return _respond(self.answer_program(refusal, request_id))
        language = self.renderer.languages.of(languages)
        page = self.renderer.render_plain(
            language,
            "message.html",
            status,
            headers,
            title=language.say(words.title),
            text=language.say(text),
            links=_links(words, refusal),
            is_framed=client_kind is ClientKind.FRAME,
            lost=login is not None and client_kind is ClientKind.FORM,
            request_id=request_id,
        )
        return allow_frames(page) if client_kind is ClientKind.FRAME else page

    def answer_program(self, refusal: Refuse, request_id: str) -> Answer:
        """The complete answer for a program."""
        status = refusal.status
        words = WORDS.get(status, WORDS[500])
        code, message = refusal.code or words.code, refusal.message or words.text
        text = f'{{"error":{_quote(code)},"message":{_quote(message)}'
        if refusal.login is not None:
            text += f',"login":{_quote(refusal.login)}'
        if refusal.max_age_s is not None:
            text += f',"max_age":{int(refusal.max_age_s)}'
        body = f'{text},"request_id":{_quote(request_id)}}}'.encode()
        lines = b"content-length: %d\r\n" % len(body) + _write_program(status, refusal.headers)
        return Answer(ResponseHead.of_lines(status, lines, len(body), is_dated=False), body)

    def answer(
        self, request: Request, status: int, text: str | None = None, code: str = ""
    ) -> Response:
        """The message as a page or as JSON, depending on the request."""
        client = getattr(request.state, "client", None)  # none where any Host may ask
        languages = request.headers.get("accept-language", "")
        refusal = Refuse(status, code, text or "")
        return self.message(
            refusal, client, client_kind=detect_request_kind(request), languages=languages
        )

    def not_allowed(self, request: Request, allowed: tuple[str, ...]) -> Response:
        return self.answer(request, 405)

    def safely(self, handler: Handler) -> Handler:
        """The handler, with an answer for exceptions: 503 for storage, 500 for anything else."""

        async def answered(request: Request) -> Response:
            try:
                response = await handler(request)
            except StorageUnavailable as refusal:
                response = self.answer(request, 503, str(refusal))
            except BodyCut:
                raise
            except Exception:
                _log.exception("page_failed", path=request.url.path)
                response = self.answer(request, 500)
            response.raw_headers.extend(getattr(request.state, "lines", ()))
            return response

        return answered

    def endpoint(self, path: str, get: Handler, post: Handler | None = None) -> Route:
        """The route of a page."""
        handlers = {"get": self.safely(get)}
        if post is not None:
            handlers["post"] = self.safely(post)
        return endpoint(path, not_allowed=self.not_allowed, around=unchanged, **handlers)
