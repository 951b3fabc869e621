"""Answers to bytes that never became a request, so there is no page to render.

Must not know when they are given.
"""

import asyncio
import contextlib
import http
import socket

from doorward.http1.dates import write_date

# Closing with unread bytes is a reset, which can overtake the answer (RFC 9112 9.6). So what the
# client still sends is read for a moment, up to a limit. nginx's lingering_timeout is 5 s.
LINGER_BYTES = 1024 * 1024
LINGER_S = 1.0


def plain_answer(status: int, reason: str) -> bytes:
    """A whole answer, after which the connection ends."""
    body = reason.encode() + b"\n"
    phrase = http.HTTPStatus(status).phrase.encode()
    later = b"retry-after: 5\r\n" if status == http.HTTPStatus.SERVICE_UNAVAILABLE else b""
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
        b"%b%bconnection: close\r\n\r\n%b" % (status, phrase, len(body), write_date(), later, body)
    )


async def tell(conn: socket.socket, answer: bytes) -> None:
    """Send an answer over a connection that no protocol reads, and close it."""
    loop = asyncio.get_running_loop()
    with conn, contextlib.suppress(OSError):  # a TimeoutError is one
        async with asyncio.timeout(LINGER_S):
            await loop.sock_sendall(conn, answer)
            conn.shutdown(socket.SHUT_WR)
            taken = 0
            while taken < LINGER_BYTES and (data := await loop.sock_recv(conn, 65536)):
                taken += len(data)
