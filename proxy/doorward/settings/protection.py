"""Knows the settings that make an old application safer without changing it. It must not apply
them; rewriting and the relay do."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Literal

from pydantic import model_validator

from doorward.settings import values
from doorward.settings.balance import checked_path
from doorward.settings.faults import Wrong
from doorward.settings.fields import (
    Duration,
    Listed,
    Parsed,
    Section,
    Switch,
    Unless,
    key,
    required,
    whole,
    word_from,
)

_COOKIE = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}")  # RFC 6265 4.1.1
_MOST_PER_S = 1_000_000
FRAMES = ("same-origin", "deny")
# Referrer Policy 3.
REFERRERS = (
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)
# Content Security Policy 3, 6; Upgrade Insecure Requests; Mixed Content; Trusted Types.
_DIRECTIVES = frozenset(
    "default-src child-src connect-src fenced-frame-src font-src frame-src img-src manifest-src"
    " media-src object-src prefetch-src script-src script-src-elem script-src-attr style-src"
    " style-src-elem style-src-attr worker-src base-uri sandbox form-action frame-ancestors"
    " navigate-to report-to report-uri require-trusted-types-for trusted-types"
    " upgrade-insecure-requests block-all-mixed-content webrtc".split()
)


def _policy(value: object) -> str:
    """A Content-Security-Policy of known directives, each once."""
    found = values.label(value)
    if not found.isascii() or "," in found:
        raise Wrong("a policy is ASCII text without commas", "separate directives by ;")
    named = [directive.split(maxsplit=1)[0].lower() for directive in _directives(found)]
    for number, name in enumerate(named):
        if name not in _DIRECTIVES:
            near = difflib.get_close_matches(name, _DIRECTIVES, n=1)
            hint = f"did you mean {near[0]}?" if near else "write it as default-src 'self'"
            raise Wrong(f"{values.quote(name)} is not a directive", hint)
        if name in named[:number]:
            raise Wrong(f"{name} appears twice", "browsers only read the first; remove the others")
    if not named:
        raise Wrong("has no directive", "write it as default-src 'self'")
    return found


def _directives(policy: str) -> list[str]:
    return [stripped for part in policy.split(";") if (stripped := part.strip())]


class RouteRate(Section):
    requests: Annotated[int, whole(1)] = required("Maximum number of requests within that time.")
    per: Duration = key("1m", "Time within which requests count.")
    by: Annotated[Literal["user", "address"], word_from("user", "address")] = key(
        "user", "Whether to count per user (without a session: per address) or always per address."
    )

    @model_validator(mode="after")
    def _divides(self) -> RouteRate:
        if self.requests > self.per.total_seconds() * _MOST_PER_S:
            raise Wrong(f"is more than {_MOST_PER_S} a second", key="requests")
        return self


def _cookie(value: object) -> str:
    found = values.text(value)
    if not _COOKIE.fullmatch(found):
        raise Wrong(f"{values.quote(found)} is not a cookie's name", "write it as PHPSESSID")
    return found


CookieName = Annotated[str, Parsed(_cookie, {"type": "string"})]


class AppLogout(Section):
    url: Annotated[
        Annotated[str, Parsed(checked_path, {"type": "string", "pattern": "^/"})] | None,
        Unless("none"),
    ] = key("none", "Path of the application's own logout, which Doorward calls (GET), or none.")
    cookies: Annotated[tuple[CookieName, ...], Listed()] = key(
        [], "Names of the application's cookies that expire with the session."
    )

    @model_validator(mode="after")
    def _does_something(self) -> AppLogout:
        if self.url is None and not self.cookies:
            raise Wrong("does nothing", "set url, cookies or both, or write off")
        return self


class SecurityHeaders(Section):
    hsts: Annotated[Duration | None, Unless("off")] = key(
        "off", "How long browsers use only https (Strict-Transport-Security), such as 180d, or off."
    )
    frame: Annotated[
        Annotated[Literal["same-origin", "deny"], word_from(*FRAMES)] | None, Unless("off")
    ] = key("off", "Pages that may show this one in a frame: same-origin, deny, or off (any).")
    nosniff: Switch = key(False, "Whether browsers must trust Content-Type.")
    referrer: Annotated[Annotated[str, word_from(*REFERRERS)] | None, Unless("off")] = key(
        "off",
        "Referrer-Policy of links to other sites, such as same-origin, or off.",
    )
    csp: Annotated[
        Annotated[str, Parsed(_policy, {"type": "string", "minLength": 1})] | None, Unless("off")
    ] = key("off", "Content-Security-Policy, such as default-src 'self', or off.")

    @model_validator(mode="after")
    def _adds_something(self) -> SecurityHeaders:
        if self.hsts is not None and self.hsts.total_seconds() < 1:
            raise Wrong("must be at least 1s", key="hsts")
        if not (self.hsts or self.frame or self.nosniff or self.referrer or self.csp):
            raise Wrong("adds no header", "set one, such as {nosniff: true}, or write off")
        return self
