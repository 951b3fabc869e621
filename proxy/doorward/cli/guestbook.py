"""A guest book without a login, like an old application: `doorward demo` protects it.

It knows WSGI and the header `Remote-User`; it must not know Doorward, and needs only the standard
library. It trusts the header `Remote-User` of every request, so it must only be reachable through a
gate.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs, unquote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

FORM_BYTES = 16 * 1024  # a message is a few lines
KEPT = 200  # when the book is full, the oldest entry is removed

Environ = dict[str, Any]
StartResponse = Callable[..., object]

STYLE = """
:root { color-scheme: light dark; --ink: #22303c; --paper: #fbf8f1; --card: #fff; --line: #e4dccb;
  --accent: #8a4b2a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e4da; --paper: #1d2125; --card: #272c31; --line: #3a4047; --accent: #e0a27c } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 42rem; padding: 2rem 1.25rem; background: var(--paper);
  color: var(--ink); font: 1.05rem/1.6 Georgia, 'Times New Roman', serif }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem;
  border-bottom: 3px double var(--line) }
h1 { margin: 0; font-size: 1.7rem } a { color: var(--accent) }
form, article { margin: 1.25rem 0; padding: 1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem }
article p { margin: .25rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere }
label, small { display: block } small { opacity: .7 }
textarea { width: 100%; min-height: 5rem; margin: .4rem 0 .8rem; padding: .6rem; font: inherit;
  color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: .4rem }
button { padding: .5rem 1.2rem; font: inherit; color: var(--paper); background: var(--accent);
  border: 0; border-radius: .4rem; cursor: pointer }
td { padding: .1rem 1rem .1rem 0; vertical-align: top; overflow-wrap: anywhere }
code { font-size: .85rem }
"""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guest book</title>
<style>{style}</style>
<header><h1>Guest book</h1><span>{sign_out}</span></header>
<p>{greeting}</p>
<form method="post" action="/">
<label for="message">Leave a few words</label>
<textarea id="message" name="message" maxlength="2000" required></textarea>
<button>Sign the book</button>
</form>
{entries}
<details><summary>What this application received</summary>
<p>It has no login. It trusts these headers, which the gate in front of it added.
The link <em>Log out</em> leads to <code>/.doorward/logout</code>: that page belongs to the gate,
and this application never sees the request.</p>
<table>{headers}</table></details>
</html>
"""


@dataclass(frozen=True, slots=True)
class GuestBookEntry:
    name: str
    message: str
    written_at: datetime

    def html(self) -> str:
        day = f"{self.written_at:%d %B %Y, %H:%M}"
        return (
            f"<article><strong>{escape(self.name)}</strong><small>{day}</small>"
            f"<p>{escape(self.message)}</p></article>"
        )


@dataclass(slots=True)
class GuestBook:
    """The WSGI application; it keeps its entries in memory."""

    entries: deque[GuestBookEntry] = field(default_factory=lambda: deque(maxlen=KEPT))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "/") != "/":
            return answer(start_response, "404 Not Found", "There is only one page: /")
        match environ["REQUEST_METHOD"]:
            case "GET" | "HEAD":
                return answer(start_response, "200 OK", self.page(environ), kind="text/html")
            case "POST":
                return self.sign(environ, start_response)
            case _:
                allow = ("Allow", "GET, HEAD, POST")
                return answer(start_response, "405 Method Not Allowed", "Read or sign.", allow)

    def sign(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        message = read_message(environ)
        if not message:
            return answer(start_response, "400 Bad Request", "The message is empty or too long.")
        name = remote_user(environ) or "somebody"
        self.entries.appendleft(GuestBookEntry(name, message, datetime.now().astimezone()))
        return answer(start_response, "303 See Other", "Thank you.", ("Location", "/"))

    def page(self, environ: Environ) -> str:
        user = remote_user(environ)
        return PAGE.format(
            style=STYLE,
            sign_out='<a href="/.doorward/logout">Log out</a>' if user else "",
            greeting=greeting(user),
            entries="\n".join(entry.html() for entry in tuple(self.entries)),
            headers="".join(
                f"<tr><td>{n}</td><td>{v}</td></tr>" for n, v in list_identity(environ)
            ),
        )


def remote_user(environ: Environ) -> str | None:
    """The name in `Remote-User`; non-ASCII characters are percent-encoded."""
    return unquote(str(environ.get("HTTP_REMOTE_USER", ""))) or None


def greeting(user: str | None) -> str:
    if user is None:
        return "Hello, stranger. No user name came with your request."
    return f"Hello, <strong>{escape(user)}</strong>. You are logged in."


def list_identity(environ: Environ) -> list[tuple[str, str]]:
    """The identity and forwarding headers of this request, ready for HTML."""
    told_by_gate = ("HTTP_REMOTE_", "HTTP_X_")
    return [
        (escape(name.removeprefix("HTTP_").replace("_", "-").title()), escape(str(value)))
        for name, value in sorted(environ.items())
        if name.startswith(told_by_gate)
    ]


def read_message(environ: Environ) -> str:
    """The form's message; empty if there is none, or if the form is too large."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isascii() or not length.isdigit() or int(length) > FORM_BYTES:
        return ""
    body: bytes = environ["wsgi.input"].read(int(length))
    return parse_qs(body.decode("utf-8", "replace")).get("message", [""])[0].strip()


def answer(
    start_response: StartResponse,
    status: str,
    text: str,
    *more: tuple[str, str],
    kind: str = "text/plain",
) -> Iterable[bytes]:
    body = text.encode()
    headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, ("Cache-Control", "no-store"), *more])
    return [body]


class GuestBookServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Log nothing: the gate has the log."""


application = GuestBook()


def serve(port: int, host: str = "127.0.0.1") -> GuestBookServer:
    """A bound server, whose `serve_forever` the caller runs. Port 0 stands for a free one."""
    return make_server(host, port, GuestBook(), GuestBookServer, QuietHandler)


def end_with_parent(server: GuestBookServer) -> None:
    """Stop the server when standard input ends: the process that started it is gone."""

    def wait() -> None:
        sys.stdin.read()
        server.shutdown()

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="guestbook", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 stands for a free port")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    chosen = parser.parse_args(arguments)
    with serve(chosen.port, chosen.host) as server:
        if chosen.with_parent:
            end_with_parent(server)
        print(f"listening on http://{chosen.host}:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("closed", flush=True)


if __name__ == "__main__":
    main()
