"""Checks of forward-auth: whether a front proxy asks, and whether a login reaches its hosts.

Knows the settings and a browser's HTTP; must not know front proxies' configurations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from doorward import paths
from doorward.doctor.findings import Finding
from doorward.gate.authorize import Authorize, Verdict
from doorward.gate.rules import host_matches
from doorward.settings import Settings
from doorward.settings.addresses import origin

if TYPE_CHECKING:
    import httpx

FAILED = 500


def is_asked_about(settings: Settings, url: str) -> bool:
    """Whether a front proxy serves this URL and asks Doorward about it. The portal only has
    Doorward's own pages."""
    asked = settings.forward_auth
    if asked is None or origin(url) == settings.portal_origin:
        return False
    return _is_among(asked.hosts, url)


async def check_host(settings: Settings, client: httpx.AsyncClient, url: str) -> list[Finding]:
    """Check that the front proxy asks about a request without a session, and forwards the
    refusal."""
    import httpx

    found: list[Finding] = []
    if not _is_among(settings.login_hosts, url):
        host = urlsplit(url).hostname
        message = f"a login at {settings.portal_origin} is not valid for {host}"
        advice = "set sessions.cookie.domain to a domain of both, or name the host in handover"
        found.append(Finding(message, advice))
    try:
        answer = await client.get(urlsplit(url).path or "/")
    except (httpx.HTTPError, OSError) as error:
        reason = str(error) or type(error).__name__
        return [*found, Finding(f"{url} does not answer: {reason}", "start the front proxy")]
    return [*found, *_judge(settings, url, answer)]


def _judge(settings: Settings, url: str, answer: httpx.Response) -> Iterator[Finding]:
    onward = answer.headers.get("location", "")
    if answer.status_code >= FAILED:
        message = f"{url} answers {answer.status_code}: the front proxy cannot reach Doorward"
        advice = "check its address of Doorward, and look for verification_refused in the log"
        yield Finding(message, advice)
    elif answer.is_success and not _is_public(settings, url):
        message = f"{url} opens without a login, although the rules require one"
        yield Finding(message, f"let the front proxy ask Doorward at {paths.VERIFY}/…")
    elif answer.is_redirect and "://" in onward:
        if origin(onward) not in (settings.portal_origin, origin(url)):
            message = f"{url} redirects to {origin(onward)}, but users log in elsewhere"
            yield Finding(message, f"the login page is {settings.portal_origin}{paths.LOGIN}")


def _is_public(settings: Settings, url: str) -> bool:
    """Whether the rules make this public."""
    authorize = Authorize(settings.routes, settings.access)
    host, path = urlsplit(url).hostname or "", (urlsplit(url).path or "/").encode()
    target = authorize.locate_at(b"GET", host, path, None)
    return target is not None and authorize.judge(target, None, None, 0.0) is Verdict.ALLOWED


def _is_among(hosts: tuple[str, ...], url: str) -> bool:
    return any(host_matches(one, urlsplit(url).hostname or "") for one in hosts)
