"""Knows the settings of forward-auth and of logins for several domains: which hosts front proxies
may ask about, where users log in, and for which hosts that counts. It must not know endpoints."""

from __future__ import annotations

from typing import Annotated

from doorward.settings.fields import (
    Host,
    Listed,
    PublicUrl,
    Section,
    Unless,
    key,
    required,
    word_from,
)

ALIASES = ("authelia", "oauth2-proxy", "tinyauth", "authentik", "vouch")

Alias = Annotated[str, word_from(*ALIASES)]


class ForwardAuth(Section):
    hosts: Annotated[tuple[Host, ...], Listed(least=1)] = required(
        "Hosts that front proxies may ask about, exact or *.example.com."
    )
    portal: Annotated[PublicUrl | None, Unless(empty=None)] = key(
        None, "URL of the login page. Default: public_url.", validate_default=False
    )
    aliases: Annotated[tuple[Alias, ...], Listed()] = key(
        [],
        f"Products whose endpoints to serve too: {', '.join(ALIASES)}.",
    )


class Handover(Section):
    hosts: Annotated[tuple[Host, ...], Listed(least=1)] = required(
        "Hosts of other root domains for which a login at the portal also counts."
    )
