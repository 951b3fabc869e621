"""Authentication schemes that authenticate a connection, not a request.

After them, all requests over the connection count as that user's, whichever client sent them. Must
not know connections or users.
"""

from collections.abc import Iterable

# RFC 4559 6, and other names for the same mechanisms.
CONNECTION_SCHEMES = frozenset((b"ntlm", b"negotiate", b"nego2", b"kerberos", b"pku2u"))


def authenticates_connection(values: Iterable[bytes]) -> bool:
    """Whether credentials or challenges contain such a scheme (RFC 9110 11.3, 11.4)."""
    offered = (part.split() for value in values for part in value.split(b","))
    return any(words and words[0].lower() in CONNECTION_SCHEMES for words in offered)
