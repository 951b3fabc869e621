"""Knows the settings of the four dialects.
It must not know their endpoints."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import model_validator

from doorward.settings.faults import Wrong
from doorward.settings.fields import (
    CorsOrigin,
    Duration,
    Listed,
    Prefix,
    Section,
    Switch,
    Unless,
    key,
    required,
    whole,
)


class Cors(Section):
    origins: Annotated[tuple[CorsOrigin, ...], Listed()] = key(
        [], "Origins whose scripts may call this dialect, or '*'."
    )

    @model_validator(mode="after")
    def _star_alone(self) -> Cors:
        if "*" in self.origins and len(self.origins) > 1:
            raise Wrong(
                "'*' cannot be combined with other origins",
                "leave one or the others out",
                key="origins",
            )
        return self


class Rate(Section):
    requests: Annotated[int, whole(1)] = required("Number of requests.")
    per: Duration = required("Time within which requests count.")


RateLimit = Annotated[Rate | None, Unless("off")]
OptionalDuration = Annotated[Duration | None, Unless("none")]


class Dialect(Section):
    cookie: Switch = key(True, "Whether a login through it also sets the session cookie.")
    cors: Cors = key({}, "Calls from scripts of other sites.")

    def session_lifetimes(self) -> tuple[timedelta | None, timedelta | None]:
        """Returns its own lifetimes, plain and remembered; None where `sessions` governs."""
        lifetime: timedelta | None = getattr(self, "lifetime", None)
        return lifetime, getattr(self, "remember_lifetime", None) or lifetime


class DialectXhr(Dialect):
    pass


class DialectAlekeagle(Dialect):
    prefix: Prefix = key("/api", "Path prefix of its endpoints.")
    sample_paths: Switch = key(
        True, "Whether to serve the paths of its document's samples too: /session and /sessions."
    )
    conceal_unknown_users: Switch = key(
        False, "Whether an unknown user gets the same answer as a wrong password."
    )
    lifetime: Duration = key("30d", "How long its sessions last.")
    remember_lifetime: Duration = key("87660h", "How long its sessions last with rememberMe.")
    idle_timeout: OptionalDuration = key("none", "How long its unused sessions last, or none.")
    rate_limit: RateLimit = key({"requests": 100, "per": "5m"}, "Rate limit for each client.")
    login_limit: RateLimit = key(
        "off", "Rate limit for logins of each client, such as {requests: 1, per: 1m}."
    )


class DialectDatepoll(Dialect):
    token_lifetime: Duration = key("1h", "How long an access token is valid.")
    lifetime: Duration = key("400d", "How long its sessions last after the last refresh.")
    remember_lifetime: OptionalDuration = key(
        "none", "The same for remembered sessions; none: no difference."
    )
    idle_timeout: OptionalDuration = key("none", "How long its unused sessions last, or none.")
    token_on_upstream: Switch = key(
        False, "Whether ?token= also logs in on proxied paths, so that a link logs in."
    )


class DialectRocketchat(Dialect):
    lifetime: Duration = key("90d", "How long its sessions last.")
    remember_lifetime: OptionalDuration = key(
        "none", "The same for remembered sessions; none: no difference."
    )
    idle_timeout: OptionalDuration = key("none", "How long its unused sessions last, or none.")
    rate_limit: RateLimit = key({"requests": 10, "per": "60s"}, "Rate limit for each client.")


class Dialects(Section):
    xhr: Annotated[DialectXhr | None, Unless("off", empty={})] = key(
        None, "Login for scripts under /xhr.", validate_default=False
    )
    alekeagle: Annotated[DialectAlekeagle | None, Unless("off", empty={})] = key(
        None, "Sessions as in alekeagle's API.", validate_default=False
    )
    datepoll: Annotated[DialectDatepoll | None, Unless("off", empty={})] = key(
        None, "Sessions as in DatePoll's API.", validate_default=False
    )
    rocketchat: Annotated[DialectRocketchat | None, Unless("off", empty={})] = key(
        None, "Sessions and second factors as in Rocket.Chat's API.", validate_default=False
    )
