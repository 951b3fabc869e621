"""The headers that describe the request's path to an upstream: Host and X-Forwarded-*.

Knows the decided values of the last hop; must not decide anything.
"""

from doorward.gate.hop import Hop


def write_forwarding(hop: Hop) -> bytes:
    """Host and X-Forwarded-* with the decided values; a trusted peer's chain is continued."""
    if hop.lines is None:
        values = {
            "host": hop.authority,  # first, as RFC 9110 7.2 recommends
            "x-forwarded-for": hop.forwarded_for,
            "x-real-ip": hop.address_text,
            "x-forwarded-proto": hop.scheme,
            "x-forwarded-host": hop.authority,
            "x-forwarded-port": hop.port,
            "x-forwarded-prefix": hop.prefix,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in values.items() if value)
        hop.lines = lines.encode("latin-1")
    return hop.lines
