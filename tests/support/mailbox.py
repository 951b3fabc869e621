"""A mailbox instead of a mail server."""

from __future__ import annotations

from dataclasses import dataclass, field

from doorward.accounts.refusals import MailFailed


@dataclass
class Mailbox:
    """Implements Mailer: keeps mails, or fails like a server."""

    sent: list[tuple[str, str]] = field(default_factory=list)
    broken: bool = False

    async def send_code(self, address: str, username: str, code: str, lifetime_s: float) -> None:
        if self.broken:
            raise MailFailed
        self.sent.append((address, code))

    async def send_reset(self, address: str, username: str, link: str, lifetime_s: float) -> None:
        await self.send_code(address, username, link, lifetime_s)

    async def send_address_code(
        self, address: str, username: str, code: str, lifetime_s: float
    ) -> None:
        await self.send_code(address, username, code, lifetime_s)
