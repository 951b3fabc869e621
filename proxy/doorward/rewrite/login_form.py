"""The login form of an application: the request that submits it, and how to read the answer.

Knows bytes of heads and forms; must not know how they are sent. Names and passwords can only become
values of fields.
"""

from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qsl, quote_plus, urljoin, urlsplit

from doorward.accounts.application_credentials import ApplicationCredential
from doorward.gate.accept import Accepted
from doorward.http1.headers import Header
from doorward.rewrite.cookie_jar import CookieJar
from doorward.rewrite.form_page import REDIRECTS, FormPage, OpenedForm
from doorward.rewrite.login_request import LoginRequests
from doorward.settings import Route
from doorward.settings.credentials import FormLogin

_TYPE = b"content-type: application/x-www-form-urlencoded\r\n"
# How frameworks refuse a form without a valid token: Flask-WTF, Django, Laravel, Rails.
TOKEN_REFUSALS = frozenset((400, 403, 419, 422))


class ApplicationForm:
    """The login form of one route's application. `page` is None if the form is posted without
    opening its page."""

    def __init__(self, route: Route, form: FormLogin) -> None:
        self._fields = form.fields
        self._success = form.success
        self._requests = LoginRequests(route)
        prefix = route.path if route.rewrite.strip_path else ""
        self._target = (prefix + form.url).encode()
        self._base = urlsplit(route.base + form.url).path
        # Applications that read X-Forwarded-Prefix put it in front.
        shown = [form.url] if form.page is None else [form.url, form.page]
        self._paths = frozenset(
            urlsplit(before + path).path for path in shown for before in (route.base, prefix)
        )
        passwords = frozenset(name for name, value in form.fields if "{password}" in value)
        self.page = None if form.page is None else FormPage(route, form.page, form.url, passwords)

    def write(
        self, account: ApplicationCredential, request: Accepted, opened: OpenedForm | None
    ) -> bytes:
        """The complete login request, in the form in which the route sends requests of `request`'s
        client."""
        opened = opened or OpenedForm((), "utf_8", b"", CookieJar())
        names = {name for name, _ in self._fields}
        pairs = [pair for pair in opened.hidden if pair[0] not in names]
        pairs += [(name, _fill(value, account)) for name, value in self._fields]
        body = "&".join(
            f"{_encode(name, opened.charset)}={_encode(value, opened.charset)}"
            for name, value in pairs
        ).encode()
        lines = b"%b%bcontent-length: %d\r\n" % (opened.lines, _TYPE, len(body))
        return self._requests.write(b"POST", self._target, request, lines, opened.jar) + body

    def find_fault(
        self, status: int, headers: Sequence[Header], answered: CookieJar, jar: CookieJar
    ) -> str | None:
        """The reason why an answer is not that of a successful login, or None. `answered` has the
        cookies that it sets, `jar` also those of the page."""
        success = self._success
        if self.is_redirect(status, headers):
            return "it redirects back to the form"
        if status not in success.status:
            hint = status in TOKEN_REFUSALS and self.page is None
            advice = "; if the form has hidden fields, set page" if hint else ""
            return f"its status is {status}{advice}"
        if success.location is not None and not self._is_success(headers):
            return "it does not redirect to success.location"
        if success.cookie is not None and success.cookie.encode() not in answered.names:
            return "it does not set the cookie of success.cookie"
        return None if jar.names else "it sets no cookie"

    def is_redirect(self, status: int, headers: Sequence[Header]) -> bool:
        """Whether an answer redirects to the form. The target of a successful login is not the
        form, even if both have one path."""
        if status not in REDIRECTS or self._is_success(headers):
            return False
        return any(place.path in self._paths for place in self._list_places(headers))

    def _is_success(self, headers: Sequence[Header]) -> bool:
        """Whether an answer redirects to `success.location`. Its query may contain more."""
        if self._success.location is None:
            return False
        wanted = urlsplit(self._success.location)
        pairs = set(parse_qsl(wanted.query, keep_blank_values=True))
        return any(
            place.path == wanted.path
            and pairs <= set(parse_qsl(place.query, keep_blank_values=True))
            for place in self._list_places(headers)
        )

    def _list_places(self, headers: Sequence[Header]) -> list[SplitResult]:
        """The URLs that an answer redirects to, if any."""
        found = []
        for name, value in headers:
            if name.lower() == b"location":
                try:
                    found.append(urlsplit(urljoin(self._base, value.decode("latin-1"))))
                except ValueError:
                    continue
        return found


def _encode(text: str, charset: str) -> str:
    """Text of a form, as browsers send it (HTML 4.10.21.8, URL Standard 5.2)."""
    return quote_plus(text, encoding=charset, errors="xmlcharrefreplace")


def _fill(value: str, account: ApplicationCredential) -> str:
    """The value of a field. Both placeholders are replaced in one pass, so that a placeholder
    within a name or password is not replaced."""
    parts = value.split("{username}")
    filled = [part.replace("{password}", account.password) for part in parts]
    return account.account.join(filled)
