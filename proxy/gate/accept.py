"""Who really connected, and whether the request is fit to decide on.

Knows trusted peers, hosts and request ids; must not know users, rules or routes' upstreams.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: `address` is an IP in text form, empty behind a unix socket without a chain.

    `host` is the authority as asked, lower-case, with its port if it had one.
    """

    address: str
    scheme: str
    host: str
    request_id: str
    user_agent: str
