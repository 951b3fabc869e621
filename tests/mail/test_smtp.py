"""Mails with codes: their text, and that they are only sent unencrypted where this is allowed."""

from __future__ import annotations

import ssl
from dataclasses import replace
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from doorward.accounts.refusals import MailFailed
from doorward.mail.smtp import PLAIN, STARTTLS, TLS, SmtpMailer, SmtpServer

from tests.support.mail_server import Certificate, Serve, Sink


def mailer(
    sink: Sink, security: str = PLAIN, tls: ssl.SSLContext | None = None, **more: Any
) -> SmtpMailer:
    server = replace(SmtpServer("127.0.0.1", sink.port, security), **more)
    return SmtpMailer(server, "door@example.com", "https://wiki.example.com", tls)


async def send(by: SmtpMailer, address: str = "alice@example.com", username: str = "alice") -> None:
    await by.send_code(address, username, "123-456", 3600.0)


def parts(mail: EmailMessage) -> tuple[str, str]:
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None and page is not None
    return text.get_content(), page.get_content()


async def test_a_mail_has_the_code_as_text_and_as_html(serve: Serve) -> None:
    sink = await serve()
    await send(mailer(sink))
    (mail,) = sink.mails
    assert mail.get_content_type() == "multipart/alternative"
    for part in parts(mail):
        assert "123-456" in part and "alice" in part and "60 minutes" in part
        assert "wiki.example.com" in part and "http" not in part
    assert mail["From"] == "door@example.com" and mail["To"] == "alice@example.com"
    assert "123" not in mail["Subject"], "subjects show on locked screens"
    assert mail["Auto-Submitted"] == "auto-generated" and mail["Message-ID"].endswith(
        "@example.com>"
    )
    assert parsedate_to_datetime(mail["Date"]) is not None
    assert sink.recipients == ["alice@example.com"]


async def test_the_link_of_a_forgotten_password_leads_to_the_address_of_the_settings(
    serve: Serve,
) -> None:
    sink = await serve()
    key = "gAAA-_" * 25 + "=="
    await mailer(sink).send_reset("alice@example.com", "<alice>", key, 1800.0)
    (mail,) = sink.mails
    link = f"https://wiki.example.com/.doorward/reset?token={key}"
    text, page = parts(mail)
    assert link in text and f'href="{link}"' in page and "30 minutes" in text
    assert "&lt;alice&gt;" in page and key not in mail["Subject"]


async def test_a_name_is_text_and_never_markup(serve: Serve) -> None:
    sink = await serve()
    await send(mailer(sink), username="<img src=x> {code} & Zoë")
    text, page = parts(sink.mails[0])
    assert "<img src=x> {code} & Zoë" in text
    assert "&lt;img src=x&gt; {code} &amp; Zoë" in page


@pytest.mark.parametrize("address", ["a@example.com\r\nBcc: b@example.com", "a@x\nDATA", "\x00@x"])
async def test_an_address_cannot_add_a_header(serve: Serve, address: str) -> None:
    sink = await serve()
    with pytest.raises(MailFailed):
        await send(mailer(sink), address=address)
    assert not sink.mails


async def test_starttls_encrypts_before_a_mail_is_sent(
    serve: Serve, certificate: Certificate
) -> None:
    sink = await serve(starttls=certificate.server)
    await send(mailer(sink, STARTTLS, certificate.trusting))
    assert sink.encrypted == [True]


async def test_tls_from_the_first_byte(serve: Serve, certificate: Certificate) -> None:
    sink = await serve(tls=certificate.server)
    await send(mailer(sink, TLS, certificate.trusting))
    assert sink.encrypted == [True]


async def test_without_the_required_starttls_nothing_is_sent(serve: Serve) -> None:
    sink = await serve()
    with pytest.raises(MailFailed):
        await send(mailer(sink, STARTTLS))
    assert not sink.mails


@pytest.mark.parametrize("security", [STARTTLS, TLS])
async def test_an_untrusted_certificate_prevents_sending(
    serve: Serve, certificate: Certificate, security: str
) -> None:
    how = "starttls" if security == STARTTLS else "tls"
    sink = await serve(**{how: certificate.server})
    with pytest.raises(MailFailed):
        await send(mailer(sink, security))
    assert not sink.mails


async def test_a_certificate_for_another_name_prevents_sending(
    serve: Serve, certificate: Certificate
) -> None:
    sink = await serve(tls=certificate.server)
    with pytest.raises(MailFailed):
        await send(mailer(sink, TLS, certificate.trusting, host="localhost"))
    assert not sink.mails


async def test_user_and_password_of_the_url_log_in(serve: Serve, certificate: Certificate) -> None:
    sink = await serve(tls=certificate.server)
    await send(mailer(sink, TLS, certificate.trusting, username="u", password="p@ss"))
    assert sink.logins == [(b"u", b"p@ss")] and len(sink.mails) == 1


@pytest.mark.parametrize("answer", ["451 later", "550 no such user", "554 spam"])
async def test_a_mail_that_is_refused_is_a_refusal_and_a_line_in_the_log(
    serve: Serve, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = await serve()
    sink.answer = answer
    with pytest.raises(MailFailed):
        await send(mailer(sink, password="hidden"))
    logged = capsys.readouterr().out
    assert "mail_failed" in logged and answer[4:] in logged
    assert "123-456" not in logged and "hidden" not in logged


async def test_an_unreachable_server_is_a_refusal(serve: Serve) -> None:
    sink = await serve()
    with pytest.raises(MailFailed):
        await send(mailer(replace(sink, port=1)))


URLS = [
    ("smtp://mail.example.com", SmtpServer("mail.example.com", None, STARTTLS)),
    ("smtp://mail.example.com:25", SmtpServer("mail.example.com", 25, STARTTLS)),
    ("smtp://127.0.0.1:2525", SmtpServer("127.0.0.1", 2525, PLAIN)),
    ("smtp://127.9.9.9", SmtpServer("127.9.9.9", None, PLAIN)),
    ("smtp://[::1]:2525", SmtpServer("::1", 2525, PLAIN)),
    ("smtp://localhost", SmtpServer("localhost", None, PLAIN)),
    ("smtp://localhost.example.com", SmtpServer("localhost.example.com", None, STARTTLS)),
    ("smtp://10.0.0.1", SmtpServer("10.0.0.1", None, STARTTLS)),
    ("smtp+plain://relay:25", SmtpServer("relay", 25, PLAIN)),
    ("smtps://mail.example.com", SmtpServer("mail.example.com", None, TLS)),
    ("smtps://127.0.0.1", SmtpServer("127.0.0.1", None, TLS)),
    ("smtp://u%40x:p%3A%2F@h:587", SmtpServer("h", 587, STARTTLS, "u@x", "p:/")),
]


@pytest.mark.parametrize(("url", "server"), URLS)
def test_a_url_selects_the_encryption(url: str, server: SmtpServer) -> None:
    assert SmtpServer.of(url) == server


def test_a_server_does_not_show_its_password() -> None:
    assert "secret" not in repr(SmtpServer.of("smtp://u:secret@h"))
