"""Knows the settings for an application that does not know its public URL. It must not rewrite
anything; rewriting does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from doorward.settings import addresses
from doorward.settings.faults import Wrong
from doorward.settings.fields import Listed, Parsed, Section, Switch, key, word_from

Authority = Annotated[str, Parsed(addresses.sent_host, {"type": "string"})]
Place = Annotated[
    str, Parsed(addresses.read_origin, {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"})
]
SameSite = Annotated[
    Literal["keep", "lax", "strict", "none"], word_from("keep", "lax", "strict", "none")
]
CacheControl = Annotated[Literal["private", "keep"], word_from("private", "keep")]


class Rewrite(Section):
    strip_path: Switch = key(False, "Whether to remove this route's path before forwarding.")
    host: Authority = key("keep", "Host header to send: keep (the client's), upstream, or a name.")
    answers: Switch = key(
        False, "Whether to correct the application's URLs and cookie paths in response headers."
    )
    elsewhere: Annotated[tuple[Place, ...], Listed()] = key(
        [], "Further base URLs that the application uses for itself, such as http://intranet:8080."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> Rewrite:
        if self.elsewhere and not self.answers:
            raise Wrong("has no effect without answers: true", key="elsewhere")
        return self


class RouteCookies(Section):
    secure: Switch = key(False, "Whether to add Secure if it is missing.")
    http_only: Switch = key(False, "Whether to add HttpOnly if it is missing.")
    same_site: SameSite = key(
        "keep", "SameSite to add if it is missing: lax, strict or none; keep adds nothing."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> RouteCookies:
        if self.same_site == "none" and not self.secure:
            message = "browsers accept SameSite=None only on secure cookies"
            raise Wrong(message, "add secure: true", key="same_site")
        return self
