"""The lines that tell an upstream how a request came: Host and X-Forwarded-*.

Knows what was decided of the last hop; must not decide anything.
"""

from doorward.gate.hop import Hop


def write_forwarding(hop: Hop) -> bytes:
    """Host and X-Forwarded-* as they were decided; a trusted peer's chain is carried on."""
    if hop.lines is None:
        values = {
            "host": hop.authority,  # first, as RFC 9110 7.2 asks
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
