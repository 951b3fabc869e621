"""The token of the login form: shows that a posted form came from our own page.

It is for browsers that do not say where a form came from and have no session yet: the page sets a
cookie and writes a token made from it into the form (double submit). A client that posts a form
from another site can neither read nor set that cookie.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping

from starlette.requests import Request

from doorward.accounts import randomness
from doorward.accounts.keys import Keys
from doorward.gate.cookies import Header, read_cookie
from doorward.gate.same_origin import Sender
from doorward.web.session_cookie import page_cookie
from doorward.web.session_service import SessionService

FIELD = "form"  # as in the forms of the account
NAMES = {True: "__Secure-doorward-form", False: "doorward-form"}
_VALUE = re.compile(r"[0-9a-f]{16,64}")


class FormToken:
    def __init__(self, service: SessionService, keys: Keys) -> None:
        self._service = service
        self._keys = keys.follow(lambda derive: derive("login form"))
        self._is_secure = service.settings.secure_cookies
        self._name = NAMES[self._is_secure]

    def offer(self, request: Request) -> tuple[str, list[Header]]:
        """The token for the form on this page and the line that sets its cookie. A browser that
        says whose page sent this request says so of the form, too, and needs neither.

        A cookie that the browser has is kept, so that the forms of all its tabs go on to work.
        """
        if self._service.sender(request) is not Sender.UNSAID:
            return "", []
        if (browser := self._browser(request)) is not None:
            return self._token(self._keys()[0], browser), []
        browser = randomness.nonce().hex()
        line = page_cookie(self._name, browser, same_site="Lax", secure=self._is_secure)
        return self._token(self._keys()[0], browser), [line]

    def is_due(self, request: Request, form: Mapping[str, str]) -> bool:
        """Whether this form should have had the token of its page, and has not."""
        if self._service.sender(request) is not Sender.UNSAID:
            return False
        given, browser = form.get(FIELD, "").encode(), self._browser(request)
        if browser is None:
            return True
        return not any(
            [hmac.compare_digest(given, self._token(key, browser).encode()) for key in self._keys()]
        )

    def _browser(self, request: Request) -> str | None:
        """The cookie's value; two that differ are none: a sibling host may have set one of them."""
        value = read_cookie(request.headers.raw, self._name)
        return value if value is not None and _VALUE.fullmatch(value) else None

    def _token(self, key: bytes, browser: str) -> str:
        return hmac.digest(key, browser.encode(), hashlib.sha256).hex()
