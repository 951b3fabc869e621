"""The question for a second factor: values without behaviour.

It must not know how a dialect words it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Challenge:
    """`method` is the requested one: totp, email, password, or None if there is none.

    `available` lists the user's usable factors, in the order totp, email; it never contains the
    password or recovery codes. `code_generated`: a mail was just sent; `code_expires` is when the
    newest mailed code expires, in Unix seconds; `email_or_username` is the user's login.
    """

    method: str | None
    available: tuple[str, ...] = ()
    code_generated: bool = False
    email_or_username: str | None = None
    code_expires: float | None = None
