"""The token of the login form, which proves that a posted form came from Doorward's page.

It is for browsers that have no session yet and do not send the form's origin. The page sets a
cookie and writes a token derived from it into the form (double submit). Another site can neither
read nor set that cookie.
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

FIELD = "form"  # the same name as in the account's forms
NAMES = {True: "__Secure-doorward-form", False: "doorward-form"}
_VALUE = re.compile(r"[0-9a-f]{16,64}")


class FormToken:
    def __init__(self, service: SessionService, keys: Keys) -> None:
        self._service = service
        self._keys = keys.follow(lambda derive: derive("login form"))
        self._is_secure = service.settings.secure_cookies
        self._name = NAMES[self._is_secure]

    def offer(self, request: Request) -> tuple[str, list[Header]]:
        """The token for the form on this page, and the line that sets its cookie. A browser that
        sends the origin of this request sends it with the form, too, and needs neither.

        If the browser has a cookie, it is kept, so that forms in other tabs still work.
        """
        if self._service.sender(request) is not Sender.UNSAID:
            return "", []
        if (browser := self._browser(request)) is not None:
            return self._token(self._keys()[0], browser), []
        browser = randomness.nonce().hex()
        line = page_cookie(self._name, browser, same_site="Lax", secure=self._is_secure)
        return self._token(self._keys()[0], browser), [line]

    def is_due(self, request: Request, form: Mapping[str, str]) -> bool:
        """Whether this form lacks the page's token although it needs it."""
        if self._service.sender(request) is not Sender.UNSAID:
            return False
        given, browser = form.get(FIELD, "").encode(), self._browser(request)
        if browser is None:
            return True
        return not any(
            [hmac.compare_digest(given, self._token(key, browser).encode()) for key in self._keys()]
        )

    def _browser(self, request: Request) -> str | None:
        """The cookie's value. None if there are two different ones, as a sibling host may have set
        one."""
        value = read_cookie(request.headers.raw, self._name)
        return value if value is not None and _VALUE.fullmatch(value) else None

    def _token(self, key: bytes, browser: str) -> str:
        return hmac.digest(key, browser.encode(), hashlib.sha256).hex()
