"""The words of every mail, as text and as HTML. It knows neither server nor user.

Nothing in a mail is loaded, and but one has a link: a mail that asks for a click teaches people to
click. The one is asked for by a user who forgot the password.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from html import escape

TEXT = """Hello {username},

your code for {site} is

    {code}

It is good once, for {minutes} minutes. Enter it where you were asked for it, and give
it to nobody: whoever has it and your password can log in as you.

If you did not just log in, somebody else has your password. Change it.
"""

HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello {username},</p>
<p>your code for {site} is</p>
<p style="font-size: 2em; letter-spacing: 0.1em"><strong>{code}</strong></p>
<p>It is good once, for {minutes} minutes. Enter it where you were asked for it, and give it to
nobody: whoever has it and your password can log in as you.</p>
<p>If you did not just log in, somebody else has your password. Change it.</p>
</body>
</html>
"""


ADDRESS_TEXT = """Hello,

somebody who is logged in to {site} as {username} says that this is their
e-mail address. If that was you, enter this code where you were asked for it:

    {code}

It is good once, for {minutes} minutes. If it was not you, do nothing.
"""

ADDRESS_HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello,</p>
<p>somebody who is logged in to {site} as {username} says that this is their e-mail address. If
that was you, enter this code where you were asked for it:</p>
<p style="font-size: 2em; letter-spacing: 0.1em"><strong>{code}</strong></p>
<p>It is good once, for {minutes} minutes. If it was not you, do nothing.</p>
</body>
</html>
"""


RESET_TEXT = """Hello {username},

somebody, hopefully you, forgot the password for {site}. This link lets you
set another one; it works once, for {minutes} minutes:

    {code}

All sessions of yours are ended then. If you did not ask for it, do nothing: your
password stays as it is.
"""

RESET_HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello {username},</p>
<p>somebody, hopefully you, forgot the password for {site}. This link lets you set another one; it
works once, for {minutes} minutes:</p>
<p><a href="{code}">Set another password</a></p>
<p>All sessions of yours are ended then. If you did not ask for it, do nothing: your password stays
as it is.</p>
</body>
</html>
"""


def reset_mail(
    sender: str, address: str, username: str, site: str, link: str, lifetime_s: float
) -> EmailMessage:
    """The mail for a user who forgot the password. Raises ValueError likewise."""
    values = _values(username, site, link, lifetime_s)
    subject = f"Another password for {site}"
    return _mail(sender, address, subject, RESET_TEXT, RESET_HTML, values)


def address_mail(
    sender: str, address: str, username: str, site: str, code: str, lifetime_s: float
) -> EmailMessage:
    """The mail that asks whether an address is its reader's. Raises ValueError likewise."""
    subject = f"Is this your e-mail address? A code for {site}"
    values = _values(username, site, code, lifetime_s)
    return _mail(sender, address, subject, ADDRESS_TEXT, ADDRESS_HTML, values)


def code_mail(
    sender: str, address: str, username: str, site: str, code: str, lifetime_s: float
) -> EmailMessage:
    """The mail with a code. Raises ValueError when the address cannot stand in a header."""
    # The code stays out of the subject: subjects show on locked screens.
    subject = f"Your code for {site}"
    return _mail(sender, address, subject, TEXT, HTML, _values(username, site, code, lifetime_s))


def _values(username: str, site: str, code: str, lifetime_s: float) -> dict[str, str]:
    minutes = str(int(lifetime_s // 60))
    return {"username": username, "site": site, "code": code, "minutes": minutes}


def _mail(
    sender: str, address: str, subject: str, text: str, html: str, values: dict[str, str]
) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = subject
    mail["From"] = sender
    mail["To"] = address
    mail["Date"] = formatdate(usegmt=True)
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: no vacation answers
    mail.set_content(text.format(**values))
    escaped = {name: escape(value) for name, value in values.items()}
    mail.add_alternative(html.format(**escaped), subtype="html")
    return mail
