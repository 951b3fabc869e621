"""Mails, worded and passed to a mail server. It must not know why somebody gets one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doorward.settings import Settings

if TYPE_CHECKING:
    from doorward.mail.smtp import SmtpMailer

__all__ = ["build_mailer"]


def build_mailer(settings: Settings) -> SmtpMailer | None:
    """The mailer of these settings, None if they name no mail server."""
    if settings.email is None:
        return None
    from doorward.mail.smtp import SmtpMailer, SmtpServer  # with aiosmtplib, 1 MiB

    server = SmtpServer.of(settings.email.smtp.get_secret_value())
    return SmtpMailer(server, settings.email.from_, settings.public_origin)
