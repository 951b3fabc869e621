"""The headers that tell an application who is asking: presets, spelled once, values made safe.

Knows users' fields; must not know how a session was found.
"""

from collections.abc import Callable

from doorward.accounts.sessions.sessions import Session
from doorward.accounts.user import User

Lines = list[tuple[str, str]]


def _remote_user(user: User) -> Lines:
    return [
        ("Remote-User", user.username),
        ("Remote-Groups", ",".join(user.groups)),
        ("Remote-Name", user.name or ""),
        ("Remote-Email", user.email or ""),
    ]


def _x_forwarded(user: User) -> Lines:
    return [
        ("X-Forwarded-User", user.username),
        ("X-Forwarded-Preferred-Username", user.username),
        ("X-Forwarded-Email", user.email or ""),
        ("X-Forwarded-Groups", ",".join(user.groups)),
    ]


def _x_remote(user: User) -> Lines:
    groups = [("X-Remote-Group", group) for group in user.groups]
    return [("X-Remote-User", user.username), *groups]


PRESETS: dict[str, Callable[[User], Lines]] = {
    "remote-user": _remote_user,
    "x-forwarded": _x_forwarded,
    "x-remote": _x_remote,
    "none": lambda user: [],
}


def encode(value: str) -> bytes:
    """Visible ASCII as it is; every other byte of its UTF-8, and `%`, percent-encoded.

    `%` too, because a user named `%C3%A9` must not look like the user named `é`.
    """
    return b"".join(
        b"%c" % byte if 0x20 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte
        for byte in value.encode("utf-8", "surrogatepass")
    )


def identity_lines(session: Session, presets: tuple[str, ...]) -> bytes:
    """The header lines of these presets for a session; computed once per session.

    Empty values are left out, so that an application cannot take one for a name.
    """
    known = session.derived.get(presets)
    if isinstance(known, bytes):
        return known
    pairs = dict.fromkeys(
        (name, encode(value).strip(b" "))
        for preset in presets
        for name, value in PRESETS[preset](session.user)
    )
    lines = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in pairs if value)
    session.derived[presets] = lines
    return lines
