"""The text of every mail, plain and as HTML. It knows neither server nor user.

Mails load nothing, and only one has a link, the one for a forgotten password: mails that ask for
a click teach users to click.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from html import escape

TEXT = """Hello {username},

Your code for {site} is

    {code}

It works once, for {minutes} minutes. Enter it on the page that asks for it. Do not share
it: anyone with this code and your password can log in as you.

If you did not just log in, somebody else knows your password. Change it now.
"""

HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello {username},</p>
<p>Your code for {site} is</p>
<p style="font-size: 2em; letter-spacing: 0.1em"><strong>{code}</strong></p>
<p>It works once, for {minutes} minutes. Enter it on the page that asks for it. Do not share it:
anyone with this code and your password can log in as you.</p>
<p>If you did not just log in, somebody else knows your password. Change it now.</p>
</body>
</html>
"""


ADDRESS_TEXT = """Hello,

The user {username} of {site} wants to use this e-mail address. If this is you,
enter this code on the page that asks for it:

    {code}

It works once, for {minutes} minutes. If this is not you, ignore this mail.
"""

ADDRESS_HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello,</p>
<p>The user {username} of {site} wants to use this e-mail address. If this is you, enter this code
on the page that asks for it:</p>
<p style="font-size: 2em; letter-spacing: 0.1em"><strong>{code}</strong></p>
<p>It works once, for {minutes} minutes. If this is not you, ignore this mail.</p>
</body>
</html>
"""


RESET_TEXT = """Hello {username},

Somebody asked to reset your password for {site}. Use this link to set a new
password. It works once, for {minutes} minutes:

    {code}

A new password logs you out everywhere. If you did not ask for this, ignore this
mail: your password stays the same.
"""

RESET_HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello {username},</p>
<p>Somebody asked to reset your password for {site}. Use this link to set a new password. It
works once, for {minutes} minutes:</p>
<p><a href="{code}">Set a new password</a></p>
<p>A new password logs you out everywhere. If you did not ask for this, ignore this mail: your
password stays the same.</p>
</body>
</html>
"""


def reset_mail(
    sender: str, address: str, username: str, site: str, link: str, lifetime_s: float
) -> EmailMessage:
    """The mail for a user who forgot the password. Raises ValueError as `code_mail` does."""
    values = _values(username, site, link, lifetime_s)
    subject = f"Reset your password for {site}"
    return _mail(sender, address, subject, RESET_TEXT, RESET_HTML, values)


def address_mail(
    sender: str, address: str, username: str, site: str, code: str, lifetime_s: float
) -> EmailMessage:
    """The mail that verifies an address. Raises ValueError as `code_mail` does."""
    subject = f"Confirm your e-mail address for {site}"
    values = _values(username, site, code, lifetime_s)
    return _mail(sender, address, subject, ADDRESS_TEXT, ADDRESS_HTML, values)


def code_mail(
    sender: str, address: str, username: str, site: str, code: str, lifetime_s: float
) -> EmailMessage:
    """The mail with a code. Raises ValueError if a header cannot contain the address."""
    # The code is not in the subject, because locked screens show subjects.
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
