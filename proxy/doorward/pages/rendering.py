"""Pages as HTML: templates, the stylesheet and the security headers.

Must not know the content of pages. Pages work without scripts and load nothing from other hosts.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.accounts import randomness
from doorward.gate.cookies import Header
from doorward.pages import colours
from doorward.pages.languages import Language, Languages, UnusableCatalogue
from doorward.settings import Fault, InvalidSettings, run_checks
from doorward.settings.pages import PagesSettings
from doorward.web.endpoint import endpoint, get_client
from doorward.web.return_address import find_site

# 'self' in form-action: a password can only be posted to this site. Scripts are allowed by a nonce,
# not by 'self', and only on pages that have some. So neither files that an application serves under
# the same origin nor injected markup can run scripts here (GHSA-gmfg-3v4q-9qr4).
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SCRIPTED = f"{POLICY}; connect-src 'self'; script-src 'nonce-"

# Referrer-Policy: `no-referrer` would make browsers post Doorward's own forms with `Origin: null`.
GUARDS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

PAGE_LINES = tuple((name.encode(), value.encode()) for name, value in GUARDS.items())
_PAGE_NAMES = frozenset(name for name, _ in PAGE_LINES)

# names contain a hash of the content, so browsers may keep the files permanently
YEAR_S = 365 * 24 * 3600
LOGO_BYTES = 64 * 1024

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
}
# An image that is opened on its own is a page. The operator's SVG must not run scripts there
# either.
IMAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@dataclass(frozen=True, slots=True)
class Static:
    """A file that pages load. Its address depends on its content."""

    name: str
    content: bytes

    @property
    def kind(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def address(self) -> str:
        stem = self.name.rpartition(".")[0]
        return f"{paths.STATIC}{stem}.{hashlib.sha256(self.content).hexdigest()[:12]}.{self.kind}"

    def route(self) -> Route:
        return endpoint(self.address, get=_give(self.content, _TYPES[self.kind]))


def _own_file(name: str, more: str = "") -> Static:
    return Static(name, (files("doorward.pages") / "static" / name).read_bytes() + more.encode())


def check_look(look: PagesSettings) -> None:
    """Read every file that changes the look of the pages. Raises InvalidSettings with each invalid
    one."""
    run_checks((_languages, _icon), look)


class PageRenderer:
    """Renders pages with the look in the settings. Raises InvalidSettings for unusable files."""

    def __init__(
        self, look: PagesSettings, is_known: Callable[[str], bool] = lambda host: False
    ) -> None:
        """`is_known` tells which host names pages may show."""
        self._look = look
        self._is_known = is_known
        self.languages = _languages(look)
        accent = "" if look.accent is None else colours.stylesheet(look.accent)
        self._stylesheet = _own_file("doorward.css", accent)
        self._script = _own_file("doorward.js")
        self._icon = _icon(look)
        self._environments = {
            code: self._environment(language, look)
            for code, language in self.languages.known.items()
        }

    def _environment(self, language: Language, look: PagesSettings) -> Environment:
        environment = Environment(
            loader=PackageLoader("doorward.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(  # type: ignore[attr-defined]
            language.translations, newstyle=True
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.filters.update(
            say=language.say,
            span=language.span,
            within=language.within,
            ago=language.ago,
            iso=iso,
        )
        environment.globals.update(
            language=language,
            stylesheet=self._stylesheet.address,
            script=self._script.address,
            icon=self._icon.address,
            look=look,
            site=site,
        )
        return environment

    def prepare(self) -> None:
        """Compile every template and load what is known of each language: otherwise the first page
        of a kind takes some twenty milliseconds. To be called in a thread."""
        for language in self.languages.known.values():
            language.ago(1)
        for environment in self._environments.values():
            for name in environment.list_templates(extensions=["html"]):
                environment.get_template(name)

    def language(self, request: Request) -> Language:
        return self.languages.of(request.headers.get("accept-language"))

    def here(self, request: Request) -> str:
        """The name of this site: from the settings, or its host; empty for a host that is not in
        the settings."""
        host = get_client(request).host
        return self._look.name or (host if self._is_known(host) else "")

    def render_page(
        self,
        request: Request,
        template: str,
        status: int,
        more: Iterable[Header] = (),
        **values: object,
    ) -> Response:
        """A page as HTML; every value is escaped where it is inserted. The value `onward` is the
        final target of the page's form; the content security policy allows it if it is another
        site."""
        nonce = randomness.nonce().hex()
        known = {"nonce": nonce, "here": self.here(request)}
        text = self._fill(template, self.language(request), status, values | known)
        response = add_page_headers(Response(text, status, media_type="text/html"), more)
        policy = f"{SCRIPTED}{nonce}'"
        if site := find_site(str(values.get("onward", "/"))):
            policy = policy.replace("form-action 'self'", f"form-action 'self' {site}")
        response.headers["content-security-policy"] = policy
        return response

    def render_plain(
        self,
        language: Language,
        template: str,
        status: int,
        more: Iterable[Header] = (),
        **values: object,
    ) -> Response:
        """The same without scripts."""
        known = {"nonce": None, "here": self._look.name or ""}
        text = self._fill(template, language, status, values | known)
        return add_page_headers(Response(text, status, media_type="text/html"), more)

    def _fill(
        self, template: str, language: Language, status: int, values: dict[str, object]
    ) -> str:
        environment = self._environments[language.code]
        return environment.get_template(template).render(status=status, **values)

    def routes(self) -> list[Route]:
        return [one.route() for one in (self._stylesheet, self._script, self._icon)]


def add_page_headers(response: Response, more: Iterable[Header] = ()) -> Response:
    """The response with the headers of every page, and with `more`."""
    lines = [line for line in response.raw_headers if line[0] not in _PAGE_NAMES]
    response.raw_headers = [*lines, *PAGE_LINES, *more]
    return response


def allow_frames(response: Response) -> Response:
    """The same, but pages of this site may show it in frames, because it contains only links."""
    framed = POLICY.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
    response.headers["content-security-policy"] = framed
    response.headers["x-frame-options"] = "SAMEORIGIN"
    return response


def redirect(target: str, more: Iterable[Header] = ()) -> Response:
    """303 to `target`, which comes from `ReturnAddresses` or from our own code."""
    return add_page_headers(Response(status_code=303, headers={"location": target}), more)


def _languages(look: PagesSettings) -> Languages:
    try:
        return Languages(look.language, look.translations)
    except UnusableCatalogue as fault:
        raise InvalidSettings([Fault("pages.language", None, str(fault), None)]) from fault


# The first bytes of a file determine its type, because its name may be wrong.
_BEGINNINGS: Sequence[tuple[bytes, str]] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"RIFF", "webp"),
    (b"<", "svg"),
)


def _icon(look: PagesSettings) -> Static:
    return _own_file("doorward.svg") if look.logo is None else _logo(look.logo)


def _logo(path: Path) -> Static:
    def fault(message: str, hint: str | None = None) -> InvalidSettings:
        return InvalidSettings([Fault("pages.logo", None, f"{path} {message}", hint)])

    try:
        content = path.read_bytes()
    except OSError as error:
        raise fault(f"cannot be read: {error.strerror}") from None
    if len(content) > LOGO_BYTES:
        raise fault(f"is larger than {LOGO_BYTES // 1024}KiB", "it is loaded with every login page")
    kind = next((kind for begin, kind in _BEGINNINGS if content.lstrip().startswith(begin)), None)
    if kind is None:
        raise fault("is not one of SVG, PNG, JPEG or WebP")
    return Static(f"logo.{kind}", content)


def _give(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {
        "content-type": kind,
        "cache-control": f"public, max-age={YEAR_S}, immutable",
        "x-content-type-options": "nosniff",
    }
    if kind.startswith("image/"):
        headers["content-security-policy"] = IMAGE_POLICY

    async def give(request: Request) -> Response:
        return Response(content, headers=headers)

    return give


def iso(at: float) -> str:
    """The format of `<time datetime>` (RFC 3339)."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def site(text: str) -> Markup:
    """Isolate a name of any script and length from the sentence around it."""
    return Markup("<bdi>{}</bdi>").format(text)
