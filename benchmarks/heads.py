"""The cost of reading one message head: with the compiled reader, with the one in Python, and with
llhttp.

Usage: heads.py [--repeats N]. In one process, without sockets; nanoseconds per head, the minimum of
many short runs, so that other work on the machine does not count. Each way includes everything that
the gate or the connection reads from a head, and the bytes to forward.
"""

from __future__ import annotations

import argparse
import os
import sys
import timeit
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import Any

import httptools
from doorward.http1 import head_tables, heads
from doorward.http1.headers import Header, parse_headers
from doorward.http1.response_head import ResponseHead
from doorward.rewrite.answer_headers import answer_headers
from doorward.rewrite.caching import is_targeted, private_control
from doorward.upstream.framing import body_length, read_terms
from machine import python

RUN = 500  # heads
SPECIAL = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))

REQUESTS = {
    "a page, Chrome": (
        b"GET /projects/1234/issues?page=3&sort=updated HTTP/1.1\r\nHost: app.example.com\r\n"
        b'Connection: keep-alive\r\nsec-ch-ua: "Chromium";v="142", "Google Chrome";v="142"\r\n'
        b'sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\nUpgrade-Insecure-Requests: 1\r\n'
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
        b" Chrome/142.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/"
        b"xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\n"
        b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n"
        b"Referer: https://app.example.com/projects/1234\r\nAccept-Encoding: gzip, deflate, br\r\n"
        b'Accept-Language: de,en;q=0.9\r\nIf-None-Match: W/"33a64df5"\r\nCookie: theme=dark;'
        b" doorward=" + b"a" * 43 + b"." + b"b" * 43 + b"; app_session=0123456789abcdef\r\n\r\n"
    ),
    "a script's POST, Firefox": (
        b"POST /api/items HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux"
        b" x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\nAccept: application/json\r\n"
        b"Accept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\nContent-Type:"
        b" application/json\r\nContent-Length: 57\r\nOrigin: https://app.example.com\r\n"
        b"Connection: keep-alive\r\nReferer: https://app.example.com/\r\nCookie: doorward="
        + b"a" * 43
        + b"."
        + b"b" * 43
        + b"\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n"
        b"Sec-Fetch-Site: same-origin\r\n\r\n"
    ),
    "a program, curl": (
        b"GET /api/items/17 HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: curl/8.14.1\r\n"
        b"Accept: */*\r\nAuthorization: Bearer " + b"a" * 43 + b"\r\n\r\n"
    ),
}
ANSWERS = {
    "a page": (
        b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\n"
        b"Connection: keep-alive\r\nContent-Type: text/html; charset=utf-8\r\nX-Frame-Options:"
        b" DENY\r\nContent-Length: 1024\r\nVary: Cookie, Accept-Language\r\nX-Content-Type-Options:"
        b" nosniff\r\nReferrer-Policy: same-origin\r\nETag: \"33a64df5\"\r\nSet-Cookie: csrftoken="
        + b"c" * 32 + b"; Path=/; SameSite=Lax\r\n\r\n"
    ),
    "a file to be cached": (
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\nContent-Type:"
        b" text/css\r\nContent-Length: 4096\r\nLast-Modified: Sat, 28 Nov 2026 10:00:00 GMT\r\n"
        b"Connection: keep-alive\r\nETag: \"33a64df5-1000\"\r\nExpires: Sun, 29 Nov 2026 12:00:00"
        b" GMT\r\nCache-Control: public, max-age=86400\r\nAccept-Ranges: bytes\r\n\r\n"
    ),
    "unchanged": b"HTTP/1.1 304 Not Modified\r\nServer: nginx\r\nETag: \"33a64df5\"\r\n\r\n",
}  # fmt: skip


class Noted:
    """Records what `server/request_parser.py` and `upstream/answer_parser.py` record when llhttp
    reads a head."""

    def __init__(self) -> None:
        self.request = httptools.HttpRequestParser(self)
        self.answer = httptools.HttpResponseParser(self)
        self.url = b""
        self.headers: list[Header] = []
        self.lowers = False

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.size = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.lowers:
            self._count(len(name) + len(value) + 4)
            name = name.lower()
            if name in SPECIAL:
                value = value.rstrip(b" \t")
        self.headers.append((name, value))

    def _count(self, size: int) -> None:
        self.size += size
        assert self.size <= head_tables.HEAD_BYTES

    def on_headers_complete(self) -> None:
        parser = self.request if self.lowers else self.answer
        self.keep_alive = parser.should_keep_alive()


def by_llhttp(text: bytes) -> Callable[[], object]:
    noted = Noted()
    noted.lowers = True
    body = b"x" * 57 if b"Content-Length" in text else b""

    def read() -> object:
        noted.request.feed_data(text)
        found = parse_headers(noted.headers)
        if body:  # so that the next head begins after it
            noted.request.feed_data(body)
        return b"".join([b"%b: %b\r\n" % line for line in found.passing])

    return read


def answer_by_llhttp(text: bytes) -> Callable[[], object]:
    noted = Noted()
    length = 0 if b" 304 " in text else int(text.partition(b"Content-Length: ")[2].split()[0])
    body = b"x" * length

    def read() -> object:
        noted.answer.feed_data(text)
        if body:
            noted.answer.feed_data(body)
        _, tells = body_length(noted.headers)
        if tells:
            read_terms(noted.headers)
        kept = answer_headers(noted.headers, lambda cookie: False, True)
        return ResponseHead(noted.answer.get_status_code(), kept)

    return read


def action_of(name: bytes) -> int:
    special = {b"set-cookie": head_tables.SET_COOKIE, b"cache-control": head_tables.CACHE_CONTROL}
    if name in special:
        return special[name]
    return head_tables.SHARED_CACHES if is_targeted(name) else head_tables.PASS


def answer_by(module: ModuleType, text: bytes) -> Callable[[], object]:
    read_answer: Any = module.answer_reader(action_of).read

    def read() -> object:
        head = read_answer(text, 0, True)
        control, without_expires = private_control(head.cache_control or b"")
        passing = head.without_expires if without_expires else head.passing_text
        return b"%bcache-control: %b\r\n" % (passing, control)

    return read


def in_python() -> ModuleType:
    """Import `heads` again, with the reader in Python."""
    os.environ[heads.PURE_PYTHON] = "1"
    loader = SourceFileLoader("heads_in_python", str(heads.__file__))
    spec = spec_from_loader("heads_in_python", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def nanoseconds(read: Callable[[], object], repeats: int) -> float:
    return min(timeit.repeat(read, number=RUN, repeat=repeats)) / RUN * 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    modules = {"compiled": heads, "python": in_python()}
    if heads.RUNS == "python":
        print(f"no compiled reader: {heads.REASON}", file=sys.stderr)
        del modules["compiled"]
    print(f"{python()}; ns a head")
    print(f"{'':34}{'bytes':>6}" + "".join(f"{name:>10}" for name in [*modules, "llhttp"]))
    for name, text in REQUESTS.items():
        ways = [lambda read=m.read_request, text=text: read(text) for m in modules.values()]
        show(f"request: {name}", text, [*ways, by_llhttp(text)], repeats)
    for name, text in ANSWERS.items():
        ways = [answer_by(module, text) for module in modules.values()]
        show(f"answer: {name}", text, [*ways, answer_by_llhttp(text)], repeats)
    return 0


def show(what: str, text: bytes, ways: list[Callable[[], object]], repeats: int) -> None:
    assert ways[0]() is not None
    figures = "".join(f"{nanoseconds(way, repeats):10.0f}" for way in ways)
    print(f"{what:34}{len(text):6}{figures}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
