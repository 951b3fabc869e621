"""The core's interface for sending codes by mail. Knows neither texts nor mail servers.

`doorward.mail` implements it.
"""

from __future__ import annotations

from typing import Protocol


class Mailer(Protocol):
    async def send_code(self, address: str, username: str, code: str, lifetime_s: float) -> None:
        """Returns when a mail server has accepted the mail. `code` is formatted for people.

        Raises MailFailed."""

    async def send_address_code(
        self, address: str, username: str, code: str, lifetime_s: float
    ) -> None:
        """The same with a code that proves that the address is the user's."""

    async def send_reset(self, address: str, username: str, link: str, lifetime_s: float) -> None:
        """The same with a token that lets the user set a new password; the mailer makes it a
        link."""
