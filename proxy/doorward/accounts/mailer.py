"""What the core asks of the mail: to bring a code to somebody. It knows no wording and no server.

`doorward.mail` fills it.
"""

from __future__ import annotations

from typing import Protocol


class Mailer(Protocol):
    async def send_code(self, address: str, username: str, code: str, lifetime_s: float) -> None:
        """Returns when a mail server has taken the mail; `code` is as people shall read it.

        Raises MailFailed."""

    async def send_address_code(
        self, address: str, username: str, code: str, lifetime_s: float
    ) -> None:
        """The same with a code that tells whether the address is the user's."""

    async def send_reset(self, address: str, username: str, link: str, lifetime_s: float) -> None:
        """The same with what lets the user set another password; the mailer makes it a link."""
