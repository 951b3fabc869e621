"""What is asked of everybody: one case is one kind of request, and how much of it at once."""

from __future__ import annotations

from dataclasses import dataclass

# wrk's hooks, in Lua. Everything else about a request is on its command line.
UPLOAD = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("x", 1048576)
"""
DIFFERENT = """
local number = 0
function request()
  number = number + 1
  wrk.headers["X-Number"] = tostring(number)
  return wrk.format()
end
"""
# What a browser sends along, so that a request is as long as most are.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "no-cors",
    "Sec-Fetch-Site": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Case:
    """`status`: of every answer. `identified`: with the cookie of a session; `cookie`: with this
    one instead."""

    name: str
    what: str
    path: str = "/"
    script: str = ""
    connections: int | None = None
    status: int = 200
    cookie: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    identified: bool = True
    doorward_only: bool = False


FORGED = "doorward=" + "A" * 43 + "." + "B" * 27

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("page", "1 KiB, the same request again and again"),
        Case("browser", "1 KiB, with the headers of a browser", headers=tuple(BROWSER.items())),
        Case("different", "1 KiB, other headers each time, both ways", "/each", DIFFERENT),
        Case("large", "an answer of 1 MiB", path="/large", connections=16),
        Case("upload", "an upload of 1 MiB", script=UPLOAD, path="/upload", connections=16),
        Case("many", "1 KiB over 500 connections", connections=500),
        Case("anonymous", "refused: nobody", status=401, identified=False, doorward_only=True),
        Case("forged", "refused: a forged cookie", status=401, cookie=FORGED, doorward_only=True),
    )
}
DEFAULT = ("page", "browser", "different", "large", "upload", "many", "anonymous", "forged")
