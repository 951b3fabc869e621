"""Answers to bytes that never became a request: nobody to draw a page for.

Must not know when they are given.
"""

import http

from doorward.server.dates import now_header


def plain_answer(status: int, reason: str) -> bytes:
    """A whole answer, after which the connection ends."""
    body = reason.encode() + b"\n"
    phrase = http.HTTPStatus(status).phrase.encode()
    later = b"retry-after: 5\r\n" if status == http.HTTPStatus.SERVICE_UNAVAILABLE else b""
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
        b"date: %b\r\n%bconnection: close\r\n\r\n%b"
        % (status, phrase, len(body), now_header(), later, body)
    )
