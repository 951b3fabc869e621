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
        [], "Origins that may call this dialect, or '*' for all."
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
    cookie: Switch = key(True, "Whether a login also sets the session cookie.")
    cors: Cors = key({}, "Cross-origin requests from browsers.")

    def session_lifetimes(self) -> tuple[timedelta | None, timedelta | None]:
        """Its own lifetimes, plain and remembered; None if `sessions` applies."""
        lifetime: timedelta | None = getattr(self, "lifetime", None)
        return lifetime, getattr(self, "remember_lifetime", None) or lifetime


class DialectXhr(Dialect):
    pass


class DialectAlekeagle(Dialect):
    prefix: Prefix = key("/api", "Path prefix of the endpoints.")
    sample_paths: Switch = key(
        True, "Whether to serve /session and /sessions too, as in the samples of its document."
    )
    conceal_unknown_users: Switch = key(
        False, "Whether an unknown user gets the same answer as a wrong password."
    )
    lifetime: Duration = key("30d", "How long sessions last.")
    remember_lifetime: Duration = key("87660h", "How long sessions with rememberMe last.")
    idle_timeout: OptionalDuration = key("none", "How long unused sessions last, or none.")
    rate_limit: RateLimit = key({"requests": 100, "per": "5m"}, "Rate limit per client.")
    login_limit: RateLimit = key(
        "off", "Rate limit for logins, per client, such as {requests: 1, per: 1m}."
    )


class DialectDatepoll(Dialect):
    token_lifetime: Duration = key("1h", "How long an access token is valid.")
    lifetime: Duration = key("400d", "How long sessions last after the last refresh.")
    remember_lifetime: OptionalDuration = key(
        "none", "How long remembered sessions last, or none for the value of lifetime."
    )
    idle_timeout: OptionalDuration = key("none", "How long unused sessions last, or none.")
    token_on_upstream: Switch = key(
        False, "Whether ?token= in a link to the application also logs in."
    )


class DialectRocketchat(Dialect):
    lifetime: Duration = key("90d", "How long sessions last.")
    remember_lifetime: OptionalDuration = key(
        "none", "How long remembered sessions last, or none for the value of lifetime."
    )
    idle_timeout: OptionalDuration = key("none", "How long unused sessions last, or none.")
    rate_limit: RateLimit = key({"requests": 10, "per": "60s"}, "Rate limit per client.")


class Dialects(Section):
    xhr: Annotated[DialectXhr | None, Unless("off", empty={})] = key(
        None, "Login API for scripts, under /xhr.", validate_default=False
    )
    alekeagle: Annotated[DialectAlekeagle | None, Unless("off", empty={})] = key(
        None, "Endpoints of alekeagle's session API.", validate_default=False
    )
    datepoll: Annotated[DialectDatepoll | None, Unless("off", empty={})] = key(
        None, "Endpoints of DatePoll's session API.", validate_default=False
    )
    rocketchat: Annotated[DialectRocketchat | None, Unless("off", empty={})] = key(
        None, "Endpoints of Rocket.Chat's login and second-factor API.", validate_default=False
    )
