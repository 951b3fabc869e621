"""The connection to a mail server: verified TLS unless the URL says otherwise. The only importer of
aiosmtplib.

It implements the core's Mailer; it must not know when a mail is sent, or to whom.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog

from doorward import paths
from doorward.accounts.refusals import MailFailed
from doorward.mail.letters import address_mail, code_mail, reset_mail

_log = structlog.get_logger("doorward.mail")

Letter = Callable[[str, str, str, str, str, float], EmailMessage]


TIMEOUT_S = 20.0  # for all of it; a user is waiting for a page meanwhile

PLAIN = "plain"
STARTTLS = "starttls"
TLS = "tls"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """`security` is PLAIN, STARTTLS (which the server must offer) or TLS from the first byte."""

    host: str
    port: int | None
    security: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str) -> SmtpServer:
        """What `smtp://`, `smtps://` or `smtp+plain://` says. Nothing is sent unencrypted to
        another machine unless the URL begins with `smtp+plain` (RFC 8314 3)."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        security = {"smtps": TLS, "smtp+plain": PLAIN}.get(parts.scheme, STARTTLS)
        if security == STARTTLS and _is_loopback(host):
            security = PLAIN
        username = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(host, parts.port, security, username, password)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _build_client(server: SmtpServer, tls: ssl.SSLContext | None) -> aiosmtplib.SMTP:
    """A context manager that connects, and logs in if there is a name."""
    return aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.username,
        password=server.password,
        use_tls=server.security == TLS,
        start_tls=server.security == STARTTLS,
        tls_context=tls,
        timeout=TIMEOUT_S,
    )


async def try_login(server: SmtpServer, tls: ssl.SSLContext | None = None) -> str | None:
    """Connect, log in if there is a name, and disconnect. Returns why that failed, or None."""
    try:
        async with asyncio.timeout(TIMEOUT_S), _build_client(server, tls) as client:
            await client.noop()
    except (aiosmtplib.SMTPException, OSError, ValueError, UnicodeError) as error:
        return _reason(error)
    return None


class SmtpMailer:
    """Implements `doorward.accounts.mailer.Mailer`. `tls` replaces the system's authorities in
    tests."""

    __slots__ = ("_origin", "_sender", "_server", "_site", "_tls")

    def __init__(
        self, server: SmtpServer, sender: str, origin: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._server = server
        self._sender = sender
        self._origin = origin  # from the settings: the host in a request may be an attacker's
        self._site = origin.partition("://")[2]
        self._tls = tls

    async def send_code(self, address: str, username: str, code: str, lifetime_s: float) -> None:
        await self._send(code_mail, address, username, code, lifetime_s)

    async def send_address_code(
        self, address: str, username: str, code: str, lifetime_s: float
    ) -> None:
        await self._send(address_mail, address, username, code, lifetime_s)

    async def send_reset(self, address: str, username: str, link: str, lifetime_s: float) -> None:
        whole = f"{self._origin}{paths.RESET}?token={link}"
        await self._send(reset_mail, address, username, whole, lifetime_s)

    async def _send(
        self, write: Letter, address: str, username: str, code: str, lifetime_s: float
    ) -> None:
        try:
            mail = write(self._sender, address, username, self._site, code, lifetime_s)
            async with (
                asyncio.timeout(TIMEOUT_S),
                _build_client(self._server, self._tls) as client,
            ):
                await client.send_message(mail)
        except (aiosmtplib.SMTPException, OSError, ValueError, UnicodeError) as error:
            # The server's answer may quote the address, but nothing from the mail.
            _log.error("mail_failed", server=self._server.host, reason=_reason(error))
            raise MailFailed from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no answer in time"
    return f"{type(error).__name__}: {text[:200]}"
