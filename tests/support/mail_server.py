"""A mail server in this event loop, with or without TLS, that keeps the mails it gets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as POLICY
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope


@dataclass
class Sink:
    """Keeps mails; `answer` is its reply to a mail."""

    port: int = 0
    answer: str = "250 OK"
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        assert server.transport is not None
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        self.recipients += envelope.rcpt_tos
        mail = BytesParser(policy=POLICY).parsebytes(content)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return self.answer

    def authenticate(self, *about: Any) -> AuthResult:
        self.logins.append((about[-1].login, about[-1].password))
        return AuthResult(success=True)


Serve = Callable[..., Awaitable[Sink]]


@asynccontextmanager
async def serving(
    starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Sink]:
    sink = Sink()
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(
            sink,
            loop=loop,
            hostname="mail.test",
            tls_context=starttls,
            enable_SMTPUTF8=True,
            authenticator=sink.authenticate,
            auth_require_tls=False,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()


@dataclass(frozen=True)
class Certificate:
    server: ssl.SSLContext
    trusting: ssl.SSLContext
