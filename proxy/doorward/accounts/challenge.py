"""What somebody is asked for when a second factor is due. It holds values and no behaviour.

It must not know how a dialect words the question.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Challenge:
    """`method` is the one that is asked for: totp, email, password, or None when there is none.

    `available` are the user's factors that can be used, in the order totp, email; the password and
    recovery codes are never named there. `code_generated`: a mail was just sent; `code_expires` is
    when the newest mailed code dies, in Unix seconds; `email_or_username` is who was asked for.
    """

    method: str | None
    available: tuple[str, ...] = ()
    code_generated: bool = False
    email_or_username: str | None = None
    code_expires: float | None = None
