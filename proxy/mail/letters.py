"""The words of every mail, as text and as HTML. It knows neither server nor user.

Nothing in a mail is a link or is loaded: a mail that asks for a click teaches people to click.
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


def code_mail(
    sender: str, address: str, username: str, site: str, code: str, lifetime_s: float
) -> EmailMessage:
    """The mail with a code. Raises ValueError when the address cannot stand in a header."""
    values = {
        "username": username,
        "site": site,
        "code": code,
        "minutes": str(int(lifetime_s // 60)),
    }
    mail = EmailMessage()
    # The code stays out of the subject: subjects show on locked screens.
    mail["Subject"] = f"Your code for {site}"
    mail["From"] = sender
    mail["To"] = address
    mail["Date"] = formatdate(usegmt=True)
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 5: no vacation answers
    mail.set_content(TEXT.format(**values))
    escaped = {name: escape(value) for name, value in values.items()}
    mail.add_alternative(HTML.format(**escaped), subtype="html")
    return mail
