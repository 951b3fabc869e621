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

It works once, for {minutes} minutes. Enter it on the page that asks for it, and do not
share it: somebody with this code and your password can log in as you.

If you did not just log in, somebody else knows your password. Change it.
"""

HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello {username},</p>
<p>your code for {site} is</p>
<p style="font-size: 2em; letter-spacing: 0.1em"><strong>{code}</strong></p>
<p>It works once, for {minutes} minutes. Enter it on the page that asks for it, and do not share it:
somebody with this code and your password can log in as you.</p>
<p>If you did not just log in, somebody else knows your password. Change it.</p>
</body>
</html>
"""


ADDRESS_TEXT = """Hello,

the user {username} of {site} wants to use this e-mail address. If that is you,
enter this code on the page that asks for it:

    {code}

It works once, for {minutes} minutes. If that is not you, ignore this mail.
"""

ADDRESS_HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello,</p>
<p>the user {username} of {site} wants to use this e-mail address. If that is you, enter this code
on the page that asks for it:</p>
<p style="font-size: 2em; letter-spacing: 0.1em"><strong>{code}</strong></p>
<p>It works once, for {minutes} minutes. If that is not you, ignore this mail.</p>
</body>
</html>
"""


RESET_TEXT = """Hello {username},

somebody asked to reset your password for {site}. This link lets you set a new
one. It works once, for {minutes} minutes:

    {code}

A new password logs you out everywhere. If you did not ask for this, ignore this
mail: your password stays the same.
"""

RESET_HTML = """<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello {username},</p>
<p>somebody asked to reset your password for {site}. This link lets you set a new one. It works
once, for {minutes} minutes:</p>
<p><a href="{code}">Set a new password</a></p>
<p>A new password logs you out everywhere. If you did not ask for this, ignore this mail: your
password stays the same.</p>
</body>
</html>
"""


def reset_mail(
    sender: str, address: str, username: str, site: str, link: str, lifetime_s: float
) -> EmailMessage:
    """The mail for a user who forgot the password. Raises ValueError likewise."""
    values = _values(username, site, link, lifetime_s)
    subject = f"Reset your password for {site}"
    return _mail(sender, address, subject, RESET_TEXT, RESET_HTML, values)


def address_mail(
    sender: str, address: str, username: str, site: str, code: str, lifetime_s: float
) -> EmailMessage:
    """The mail that asks whether an address is its reader's. Raises ValueError likewise."""
    subject = f"Confirm your e-mail address for {site}"
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
