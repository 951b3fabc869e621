"""The login form of an application: the request that fills it in, and what its answer means.

Knows bytes of heads and forms; must not know how they are sent. Names and passwords are values of
fields and nothing else.
"""

from collections.abc import Sequence
from urllib.parse import quote_plus, urljoin, urlsplit

from doorward.accounts.application_credentials import ApplicationCredential
from doorward.gate.accept import Accepted
from doorward.http1.headers import Header
from doorward.rewrite.cookie_jar import CookieJar
from doorward.rewrite.forwarding import write_forwarding
from doorward.rewrite.route_rewriting import build_rewriting
from doorward.settings import Route
from doorward.settings.credentials import FormLogin

REDIRECTS = frozenset((301, 302, 303, 307, 308))


class ApplicationForm:
    """That of one route's application."""

    def __init__(self, route: Route, form: FormLogin) -> None:
        self._fields = form.fields
        self._success = form.success
        self._rewriting = build_rewriting(route)
        prefix = route.path if route.rewrite.strip_path else ""
        self._target = (prefix + form.url).encode()
        self._path = urlsplit(route.base + form.url).path

    def write(self, account: ApplicationCredential, request: Accepted) -> bytes:
        """The whole request that logs in, as the route sends others of `request`'s client."""
        body = "&".join(
            f"{quote_plus(name)}={quote_plus(_fill(value, account))}"
            for name, value in self._fields
        ).encode()
        head = (
            b"POST %b HTTP/1.1\r\n%bx-request-id: %b\r\naccept: text/html, */*;q=0.1\r\n"
            b"content-type: application/x-www-form-urlencoded\r\ncontent-length: %d\r\n\r\n"
        ) % (self._target, write_forwarding(request.hop), request.request_id.encode(), len(body))
        if self._rewriting is not None:
            head = self._rewriting.head(head, request)
        return head + body

    def find_fault(self, status: int, headers: Sequence[Header], jar: CookieJar) -> str | None:
        """Why an answer is not that of a login which succeeded, or None."""
        success = self._success
        if self.is_redirect(status, headers):
            return "it leads back to the form"
        if status not in success.status:
            return f"its status is {status}"
        if success.location is not None and success.location not in self._list_places(headers):
            return "it does not lead where success.location says"
        if success.cookie is not None and success.cookie.encode() not in jar.names:
            return "it does not set the cookie of success.cookie"
        return None if jar.names else "it sets no cookie"

    def is_redirect(self, status: int, headers: Sequence[Header]) -> bool:
        """Whether an answer leads to the form."""
        return status in REDIRECTS and self._path in self._list_places(headers)

    def _list_places(self, headers: Sequence[Header]) -> list[str]:
        """The path that an answer leads to, if it names one."""
        found = []
        for name, value in headers:
            if name.lower() == b"location":
                try:
                    found.append(urlsplit(urljoin(self._path, value.decode("latin-1"))).path)
                except ValueError:
                    continue
        return found


def _fill(value: str, account: ApplicationCredential) -> str:
    """What a field says: the two are put in at once, so that neither is looked into."""
    parts = value.split("{username}")
    filled = [part.replace("{password}", account.password) for part in parts]
    return account.account.join(filled)
