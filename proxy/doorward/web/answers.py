"""The answer to a refusal: a page for people, JSON for programs, and the link to the login.

Knows refusals and kinds of clients; must not know how an answer is rendered or sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import structlog
from starlette.responses import Response

from doorward.accounts.randomness import request_id
from doorward.gate.accept import Accepted, Client
from doorward.gate.client_kind import (
    FETCH_METADATA,
    OTHER_HINTS,
    ClientKind,
    detect_client_kind,
)
from doorward.gate.decision import (
    MAX_AGE,
    MOVED,
    UNAUTHENTICATED,
    Refuse,
    bad_request,
    last_hop,
    misdirected,
    unknown_expectation,
)
from doorward.gate.targets import LastHop, Unfit
from doorward.http1.arrival import Received
from doorward.http1.headers import Header, UnknownExpectation
from doorward.http1.heads import RequestHead
from doorward.http1.response_head import ResponseHead, check_lines, write_lines
from doorward.upstream.failures import Page, UpstreamFailure
from doorward.web.return_address import LOST, address, referring_page

_EMPTY: Header = (b"content-length", b"0")
_NO_STORE: Header = (b"cache-control", b"no-store")
# What longer heads say is looked at each time, to keep the cache small.
REMEMBERED_BYTES = 4096
# When to retry, sent with a maintenance page.
MAINTAINED_S = 30

_log = structlog.get_logger("doorward.gate")


@dataclass(slots=True)
class Answer:
    """A complete answer. A flood causes many refusals, and a framework's response takes longer to
    make than the decision."""

    head: ResponseHead
    body: bytes = b""

    @classmethod
    def of(cls, status: int, headers: Sequence[Header], body: bytes = b"") -> "Answer":
        return cls(ResponseHead(status, headers), body)


class RefusalMessages(Protocol):
    """Makes a refusal's answer: a page for people, JSON for programs."""

    def message(
        self, refusal: Refuse, client: Client | None, *, client_kind: ClientKind, languages: str
    ) -> Response: ...

    def answer_program(self, refusal: Refuse, request_id: str) -> Answer: ...


class Answers:
    """The gate's own answers."""

    def __init__(self, messages: RefusalMessages, page_bytes: int) -> None:
        """`page_bytes` is the maximum length of an internal page's target."""
        self._messages = messages
        self._page_bytes = page_bytes

    def to(self, refusal: Refuse, arrival: Received, asked: Accepted | Client) -> Answer:
        """`asked` is the request, or what is known of the client of a request that was not
        accepted."""
        if refusal.status == MOVED:
            return Answer.of(MOVED, (_EMPTY, *refusal.headers))
        who = get_client_kind(arrival.method, arrival)
        if who is ClientKind.PROGRAM:
            return self._messages.answer_program(refusal, asked.request_id)
        login = refusal.login
        if login is not None and who is ClientKind.NAVIGATION:
            if len(login) > self._page_bytes:
                login = link_with_age(f"{login.partition('?')[0]}?{LOST}=1", refusal)
            return _redirect(refusal, login)
        client = asked if isinstance(asked, Client) else asked.client
        if login is not None:
            # The target of a form or a frame is not a page to return to; the page that contained it
            # may be.
            onward = referring_page(arrival.headers, client.host)
            login = link_with_age(address(login.partition("?")[0], onward), refusal)
            refusal = replace(refusal, login=login)
        return self._render(refusal, arrival, client, who)

    def render(
        self, refusal: Refuse, arrival: Received, asked: Accepted, client_kind: ClientKind
    ) -> Answer:
        """A refusal, for this kind of client."""
        if client_kind is ClientKind.PROGRAM:
            return self._messages.answer_program(refusal, asked.request_id)
        return self._render(refusal, arrival, asked.client, client_kind)

    def _render(
        self, refusal: Refuse, arrival: Received, client: Client, client_kind: ClientKind
    ) -> Answer:
        page = self._messages.message(
            refusal, client, client_kind=client_kind, languages=_languages(arrival)
        )
        return Answer.of(page.status_code, page.raw_headers, bytes(page.body))

    def failure(self, failure: UpstreamFailure, arrival: Received, request: Accepted) -> Answer:
        """The answer to a request whose upstream gave none."""
        _log.warning("upstream_failed", reason=str(failure), request=request.request_id)
        if failure.page is not None:
            return _maintenance(failure.page)
        later = failure.retry_after_s
        headers = () if later is None else ((b"retry-after", b"%d" % later),)
        refusal = Refuse(failure.status, failure.code, failure.message, headers=headers)
        return self.to(refusal, arrival, request)

    def may_keep(self, refusal: Refuse, arrival: Received) -> bool:
        """Whether this is a form that a person sent without a session, which the login page may
        keep and offer to send again."""
        is_form = refusal.code == UNAUTHENTICATED and arrival.method == b"POST"
        return is_form and get_client_kind(arrival.method, arrival) is ClientKind.FORM


def get_client_kind(method: bytes, arrival: Received) -> ClientKind:
    """The kind of client that sent a request of this method with the headers of `arrival`."""
    head = arrival.parsed
    if not isinstance(head, RequestHead):
        return detect_client_kind(method.decode("latin-1"), arrival.headers)
    hints = tuple(head.select(FETCH_METADATA) or head.select(OTHER_HINTS))
    detect = _detect_again if len(head.text) <= REMEMBERED_BYTES else _detect
    return detect(method, hints)


def _detect(method: bytes, hints: tuple[Header, ...]) -> ClientKind:
    return detect_client_kind(method.decode("latin-1"), hints)


# Programs and browsers send one of a few values; judging them takes 3 microseconds.
_detect_again = lru_cache(maxsize=256)(_detect)


def link_with_age(login: str, refusal: Refuse) -> str:
    """The page for codes shows no form to a user whose last code is recent enough."""
    if refusal.max_age_s is None:
        return login
    return f"{login}{'&' if '?' in login else '?'}{MAX_AGE}={refusal.max_age_s:.0f}"


def _maintenance(page: Page) -> Answer:
    headers = {"retry-after": str(MAINTAINED_S), "cache-control": "no-store"}
    response = Response(page.body, 503, headers, page.media_type)
    return Answer.of(503, response.raw_headers, page.body)


def _redirect(refusal: Refuse, to: str) -> Answer:
    location = check_lines([b"location: %b\r\n" % to.encode()])
    lines = location + _write_redirect(refusal.headers)
    return Answer(ResponseHead.of_lines(303, lines, 0, is_dated=False))


@lru_cache(maxsize=256)
def _write_redirect(headers: tuple[Header, ...]) -> bytes:
    """What follows Location. Most refusals have the same headers."""
    kept = [line for line in headers if line[0] != b"www-authenticate"]
    return write_lines((_EMPTY, *kept, _NO_STORE))


def unfit(fault: Exception, arrival: Received) -> Refuse:
    """The answer to a request that was not accepted, with the reason."""
    if isinstance(fault, LastHop):
        return last_hop(arrival.method)
    if isinstance(fault, UnknownExpectation):
        return unknown_expectation()
    if isinstance(fault, Unfit) and fault.status == 421:
        return misdirected()
    return bad_request(str(fault))


def stranger(arrival: Received) -> Client:
    """The client of a request that was not accepted: only its connection is known."""
    return Client(arrival.peer, arrival.scheme, "", request_id(), "")


def _languages(arrival: Received) -> str:
    """The languages that the client understands (RFC 9110 12.5.4)."""
    lines = (value for name, value in arrival.headers if name.lower() == b"accept-language")
    return next(lines, b"").decode("latin-1")
