"""Preserves a form that was posted to the application after the session had ended, across the
login.

The form is sealed into the login form, for one browser and ten minutes. Nothing is stored, and
nothing is sent again without a click. Must not know what the form means.
"""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Receive, Scope

from doorward.accounts import randomness
from doorward.accounts.keys import Keys
from doorward.accounts.sealing import Sealing, UnreadableSecret
from doorward.accounts.session import is_running
from doorward.gate.cookies import Header, read_cookie
from doorward.gate.same_origin import Sender
from doorward.web import forms
from doorward.web.endpoint import BODY_LIMIT_BYTES, BodyCut, BodyTooLarge, media_type
from doorward.web.return_address import safe_return
from doorward.web.session_cookie import page_cookie
from doorward.web.session_service import SessionService

LIFE_S = 600.0
FIELDS = 1000
FIELD = "kept"  # of Doorward's forms while they carry one
# Enough for a form of 64 KiB as JSON with every quote escaped, sealed, in base64, and posted with
# Doorward's own.
PRESERVED_BYTES = 256 * 1024
COOKIE = "doorward-kept"


@dataclass(frozen=True, slots=True)
class PreservedForm:
    """A posted form: its target, and its names and values in order."""

    target: str
    encoding: str
    pairs: tuple[tuple[str, str], ...]


def most_bytes(request: Request) -> int:
    """The maximum size of a page's form. It is larger only for a browser that has a preserved
    form."""
    browser = read_cookie(request.headers.raw, COOKIE)
    return BODY_LIMIT_BYTES if browser is None else PRESERVED_BYTES


class PreservedForms:
    def __init__(self, service: SessionService, keys: Keys) -> None:
        self._service = service
        self._sealing: Callable[[], Sealing] = lambda: Sealing(keys, "kept form")

    async def read(self, scope: Scope, receive: Receive) -> PreservedForm | None:
        """The form of this request. None if it is not a form, is too large, or comes from another
        site: sending that again would make it look like this site's own."""
        request = Request(scope, receive)
        if not self._is_own(request):
            return None
        query = scope["query_string"].decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        kind = media_type(request)
        if safe_return(target) != target:
            return None
        try:
            pairs = await forms.read_pairs(request, FIELDS)
        except (forms.NotAForm, forms.UnreadableForm, BodyTooLarge, BodyCut):
            return None
        return PreservedForm(target, kind, tuple(pairs))

    def _is_own(self, request: Request) -> bool:
        """Only if the browser says so; a missing header is not enough."""
        return self._service.sender(request) is Sender.OWN

    def seal(self, form: PreservedForm) -> tuple[str, Header]:
        """The sealed value for Doorward's form, and the cookie that is needed to open it."""
        browser = randomness.nonce().hex()
        text = json.dumps([form.target, form.encoding, form.pairs, self._now() + LIFE_S])
        sealed = self._sealing().seal(text.encode(), browser)
        secure = self._service.settings.secure_cookies
        line = page_cookie(COOKIE, browser, same_site="Lax", secure=secure, max_age_s=LIFE_S)
        return base64.b64encode(sealed).decode(), line

    def open(self, request: Request, sealed: str) -> PreservedForm | None:
        """None if it belongs to another browser or is too old."""
        browser = read_cookie(request.headers.raw, COOKIE)
        if not sealed or browser is None:
            return None
        try:
            text = self._sealing().open(base64.b64decode(sealed, validate=True), browser)
        except (UnreadableSecret, binascii.Error, ValueError):
            return None
        target, encoding, pairs, until = json.loads(text)
        if not is_running(until, self._now(), LIFE_S):
            return None
        return PreservedForm(target, encoding, tuple((name, value) for name, value in pairs))

    def _now(self) -> float:
        return self._service.clock()
