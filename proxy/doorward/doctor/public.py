"""Checks from the users' side: the URL that they open, and a login there.

Knows a browser's HTTP; must not know how Doorward answers.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from doorward import paths
from doorward.doctor import front_proxies
from doorward.doctor.findings import Finding, note
from doorward.doctor.upstreams import (
    AGENT,
    CLOCKS_DIFFER_S,
    TIMEOUT_S,
    clock_finding,
    read_difference_s,
)
from doorward.settings import Settings
from doorward.settings.addresses import origin

if TYPE_CHECKING:
    import httpx

# Cookies that are only for Doorward's own pages, whatever the session cookie's domain is.
_PAGE_COOKIES = ("-form", "-browser", "-handover")
_BROWSER = {
    "accept": "text/html",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "user-agent": AGENT,
}


async def check_public(settings: Settings, url: str) -> list[Finding]:
    """Check that Doorward answers at the URL that users open, and that it is `public_url`."""
    import httpx

    if front_proxies.is_asked_about(settings, url):
        async with _client(url) as client:
            return await front_proxies.check_host(settings, client, url)
    found: list[Finding] = []
    if origin(url) != settings.public_origin:
        message = f"users open {origin(url)}, but public_url is {settings.public_origin}"
        found.append(Finding(message, "set public_url to the URL that users open"))
    async with _client(url) as client:
        try:
            answer = await client.get(paths.HEALTH)
        except (httpx.HTTPError, OSError) as error:
            reason = str(error) or type(error).__name__
            return [
                *found,
                Finding(f"{url} does not answer: {reason}", "start its server"),
            ]
    if answer.status_code != httpx.codes.OK:
        message = f"{url} answers, but not Doorward: {paths.HEALTH} is {answer.status_code}"
        found.append(Finding(message, "let the proxy in front pass every path to Doorward"))
    differs_s = read_difference_s(answer, time.time())
    if differs_s is not None and abs(differs_s) > CLOCKS_DIFFER_S:
        found.append(clock_finding(url, differs_s))
    return found


async def check_login(settings: Settings, url: str, username: str, password: str) -> list[Finding]:
    """Log in as a browser does, and check whether the requested page opens afterwards."""
    import httpx

    if front_proxies.is_asked_about(settings, url):
        return [note(f"users of {url} log in at the portal", f"use --url {settings.portal_origin}")]
    target, domain = urlsplit(url).path or "/", settings.sessions.cookie.domain
    async with _client(url) as client:
        try:
            return [each async for each in _log_in(client, url, target, username, password, domain)]
        except (httpx.HTTPError, OSError) as error:
            return [Finding(f"the login fails: {error}", "see the check of --url")]


async def _log_in(
    client: httpx.AsyncClient,
    url: str,
    target: str,
    username: str,
    password: str,
    domain: str | None,
) -> AsyncIterator[Finding]:
    form = {"username": username, "password": password}
    sent = {"origin": origin(url)}
    answer = await client.post(f"{paths.LOGIN}?rd={target}", data=form, headers=sent)
    if answer.status_code != 303:
        message = f"the login of {username} is answered {answer.status_code}"
        yield Finding(message, "check name and password; use a user without a second factor")
        return
    lines = answer.headers.get_list("set-cookie")
    for finding in _judge_cookies(url, lines, domain):
        yield finding
    cookie = "; ".join(line.partition(";")[0] for line in lines if _is_kept(url, line))
    page = await client.get(target, headers={"cookie": cookie} if cookie else {})
    onward = page.headers.get("location", "")
    if page.status_code in (302, 303, 307) and paths.LOGIN in onward:
        message = f"after the login {target} redirects to the login again"
        yield Finding(message, "the cookie was not sent back: check its attributes and public_url")


def _judge_cookies(url: str, lines: list[str], domain: str | None = None) -> Iterator[Finding]:
    """`domain`: the one in the settings; without it, no cookie may have a Domain."""
    if not lines:
        yield Finding("the login sets no cookie", "let the proxy in front pass Set-Cookie")
    for line in lines:
        name = line.partition("=")[0]
        if not _is_kept(url, line):
            message = f"browsers drop the cookie {name}, as it is Secure and {url} is http"
            yield Finding(message, "serve https, or change public_url to http://")
        said = next((p for p in line.split(";") if p.strip().lower().startswith("domain=")), "")
        is_ours = said.partition("=")[2].strip() == (domain or "")
        if not is_ours and "Max-Age=0" not in line and not name.endswith(_PAGE_COOKIES):
            message = f"the cookie {name} has{said or f' no Domain, which should be {domain}'}"
            yield Finding(message, "let the proxy in front leave Set-Cookie unchanged")


def _is_kept(url: str, line: str) -> bool:
    """Whether a browser accepts this cookie from there, which it always does from this machine."""
    is_secure = any(part.strip().lower() == "secure" for part in line.split(";")[1:])
    host = urlsplit(url).hostname or ""
    return not is_secure or url.startswith("https:") or host in ("localhost", "127.0.0.1", "::1")


def _client(url: str) -> httpx.AsyncClient:
    import httpx

    base = origin(url)
    return httpx.AsyncClient(
        base_url=base, headers=_BROWSER, timeout=TIMEOUT_S, trust_env=False, verify=True
    )
