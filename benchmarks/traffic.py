"""Requests that differ like those of many people, and the Lua scripts with which wrk sends them.

Each request has one of 20,000 targets, one of eight clients (five browsers, three programs), one of
the given sessions, and its own application cookie and validators. A seed draws the same requests
for every proxy. Must not know what a proxy does with them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import NamedTuple

Header = tuple[str, str]

TARGETS = 20_000
TARGET_SEED = 15


class Client(NamedTuple):
    """`navigates`: with validators and the application's cookies, as a browser sends them."""

    navigates: bool
    headers: tuple[Header, ...]


CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9"
CHROME_HTML = f"{HTML},image/avif,image/webp,image/apng,*/*;q=0.8"
NAVIGATION = (
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-Fetch-Dest", "document"),
)
SCRIPT = (
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Dest", "empty"),
)


def chromium(brand: str, platform: str, mobile: bool = False) -> tuple[Header, ...]:
    return (
        ("sec-ch-ua", f'"Chromium";v="142", "{brand}";v="142", "Not_A Brand";v="99"'),
        ("sec-ch-ua-mobile", "?1" if mobile else "?0"),
        ("sec-ch-ua-platform", f'"{platform}"'),
    )


BROWSERS = (
    Client(True, (  # Chrome
        ("Connection", "keep-alive"),
        *chromium("Google Chrome", "Linux"),
        ("User-Agent", f"Mozilla/5.0 (X11; Linux x86_64) {CHROME} Safari/537.36"),
        ("Accept", CHROME_HTML),
        *NAVIGATION,
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    )),
    Client(True, (  # Firefox
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
        ("Accept", f"{HTML},*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Connection", "keep-alive"),
        *NAVIGATION,
        ("Priority", "u=0, i"),
    )),
    Client(True, (  # Safari, fetching from a script
        ("Accept", "application/json, text/plain, */*"),
        *SCRIPT,
        ("Accept-Language", "fr-FR,fr;q=0.9"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("User-Agent", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15"
                       " (KHTML, like Gecko) Version/26.0 Safari/605.1.15"),
        ("Connection", "keep-alive"),
    )),
    Client(True, (  # Edge, fetching from a script
        ("Connection", "keep-alive"),
        *chromium("Microsoft Edge", "Windows"),
        ("X-Requested-With", "XMLHttpRequest"),
        ("User-Agent", f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36"
                       " Edg/142.0.0.0"),
        ("Accept", "application/json"),
        *SCRIPT,
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "de,de-DE;q=0.9,en;q=0.8"),
    )),
    Client(True, (  # Chrome on a telephone
        ("Connection", "keep-alive"),
        *chromium("Google Chrome", "Android", mobile=True),
        ("User-Agent", f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36"),
        ("Accept", CHROME_HTML),
        *NAVIGATION,
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "es-ES,es;q=0.9"),
    )),
)  # fmt: skip
PROGRAMS = (
    Client(False, (("User-Agent", "curl/8.14.1"), ("Accept", "*/*"))),
    Client(False, (
        ("User-Agent", "python-requests/2.32.5"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Accept", "application/json"),
        ("Connection", "keep-alive"),
    )),
    Client(False, (("User-Agent", "Go-http-client/1.1"), ("Accept-Encoding", "gzip"))),
)  # fmt: skip

SHAPES = (
    "/projects/{a}/issues?page={b}&sort=updated",
    "/projects/{a}/issues/{b}",
    "/api/v1/projects/{a}/members?per_page=50&page={b}",
    "/api/v1/search?q=term%20{a}&scope=all&cursor={c}",
    "/static/js/chunk-{c}.js",
    "/avatars/{a}/{b}.png?size=64",
    "/wiki/Handbook/Chapter_{a}/Page_{b}",
    "/{a}",
)


def targets() -> list[str]:
    draw = random.Random(TARGET_SEED)  # noqa: S311  chance for a benchmark
    found: dict[str, None] = {}
    while len(found) < TARGETS:
        shape = SHAPES[len(found) % len(SHAPES)]
        a, b, c = draw.randrange(100_000), draw.randrange(500), draw.getrandbits(48)
        found[shape.format(a=a, b=b, c=f"{c:012x}")] = None
    return list(found)


LUA = """
local function lines(path)
  local found = {}
  for line in io.lines(path) do found[#found + 1] = line end
  return found
end
local targets, sessions = lines(%(targets)s), lines(%(sessions)s)
local browsers, programs = %(browsers)s, %(programs)s
local pick, only_programs = math.random, %(only_programs)s
math.randomseed(%(seed)d)

-- A session is the lines that carry it behind the application's cookies, and those alone.
local behind, alone = {}, {}
for number, line in ipairs(sessions) do
  local name, value = line:match("^(.-): (.*)$")
  if name == "Cookie" then
    behind[number] = "; " .. value .. "\\r\\n\\r\\n"
  else
    behind[number] = "\\r\\n" .. (name and line .. "\\r\\n" or "") .. "\\r\\n"
  end
  alone[number] = (name and line .. "\\r\\n" or "") .. "\\r\\n"
end

function request()
  local target, session = targets[pick(#targets)], pick(#sessions)
  local number = pick(#browsers + #programs)
  if only_programs or number > #browsers then
    return "GET " .. target .. programs[number %% #programs + 1] .. alone[session]
  end
  return "GET " .. target .. browsers[number]
    .. "Referer: http://127.0.0.1" .. targets[pick(#targets)]
    .. string.format('\\r\\nIf-None-Match: "%%x"', pick(2147483647))
    .. string.format("\\r\\nCookie: theme=dark; app_session=%%08x%%08x", session, pick(2147483647))
    .. behind[session]
end
"""


def lua_request(folder: Path, sessions: list[Header | None], seed: int, only_programs: bool) -> str:
    """A wrk script that draws requests. A session that is None means a request without one."""
    target_file, session_file = folder / "targets.txt", folder / "sessions.txt"
    target_file.write_text("\n".join(targets()) + "\n")
    session_file.write_text("".join(f"{': '.join(header or ())}\n" for header in sessions))
    return LUA % {
        "targets": json.dumps(str(target_file)),
        "sessions": json.dumps(str(session_file)),
        "browsers": lua_heads(BROWSERS),
        "programs": lua_heads(PROGRAMS),
        "only_programs": str(only_programs).lower(),
        "seed": seed,
    }


def lua_heads(clients: tuple[Client, ...]) -> str:
    """The part of a head after the target, up to the session's header. JSON strings are valid Lua
    strings."""
    heads = (
        " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in client.headers)
        for client in clients
    )
    return "{" + ", ".join(json.dumps(head) for head in heads) + "}"
