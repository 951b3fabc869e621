"""The forward-auth endpoints for each kind of front proxy, how it describes the request, and how it
handles answers.

Tables; must not know rules, sessions, or how headers are read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto

from doorward import paths
from doorward.gate.narrowing import Narrowing, read_narrowing


class NamedBy(Enum):
    """The headers in which a front proxy describes the request that it asks about."""

    FORWARDED = auto()  # X-Forwarded-Method, -Proto, -Host and -Uri
    ORIGINAL = auto()  # X-Original-Method and X-Original-URL
    EITHER = auto()  # FORWARDED, or ORIGINAL if only that is present
    HOST = auto()  # only Host, X-Forwarded-Uri and X-Real-IP: the client may have sent the others
    ITSELF = auto()  # the verification request has the method, Host and, after a prefix, the target


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How one kind of front proxy asks, and how it handles answers.

    `redirects`: it forwards a redirect with the status `redirect` to browsers, or with
    `redirects_programs` to all clients. `any_status`: it forwards every answer; others replace all
    but 401 and 403 with an error of their own. `allowed`: the status that allows a request.
    `preset`: identity headers to add to those of the route. `login_header`: has the URL of the
    login, like X-Doorward-Location. `reason_header`: has one word for the reason.
    """

    name: str
    named_by: NamedBy
    redirects: bool = True
    any_status: bool = True
    redirect: int = 303
    redirects_programs: bool = False
    allowed: int = 200
    preset: str = ""
    login_header: bytes = b""
    reason_header: bytes = b""
    is_narrowed: bool = False  # by the query of its endpoint

    def without_redirects(self) -> "FrontProxy":
        """The same for nginx, which only handles 401 and 403."""
        return replace(self, redirects=False, redirects_programs=False, any_status=False)

    def named(self, by: NamedBy) -> "FrontProxy":
        return replace(self, named_by=by)


ANY = FrontProxy("any", NamedBy.EITHER).without_redirects()
FRONT_PROXIES = (
    FrontProxy("traefik", NamedBy.FORWARDED),
    FrontProxy("caddy", NamedBy.FORWARDED),
    FrontProxy("nginx", NamedBy.ORIGINAL).without_redirects(),
    FrontProxy("haproxy", NamedBy.FORWARDED),
)
ENVOY = FrontProxy("envoy", NamedBy.ITSELF)

# Endpoints of other programs, so that Doorward can replace one without a change of the front proxy:
# exact paths, or, if they end with a slash or `=`, prefixes of the target in question.
Table = tuple[tuple[str, FrontProxy], ...]

_AUTHELIA = FrontProxy("authelia", NamedBy.FORWARDED, redirect=302)
# Usually configured with `?rd=` for Traefik and Caddy, and without for nginx.
_LEGACY = replace(_AUTHELIA, name="authelia-verify", named_by=NamedBy.EITHER).without_redirects()
_LEGACY_REDIRECTING = replace(_AUTHELIA, name="authelia-verify-rd", named_by=NamedBy.EITHER)
_OAUTH2_PROXY = FrontProxy(
    "oauth2-proxy", NamedBy.HOST, allowed=202, preset="x-auth-request", is_narrowed=True
).without_redirects()
_TINYAUTH = FrontProxy(
    "tinyauth",
    NamedBy.FORWARDED,
    redirect=307,
    preset="tinyauth",
    login_header=b"x-tinyauth-location",
)
_AUTHENTIK = FrontProxy(
    "authentik", NamedBy.FORWARDED, redirect=302, redirects_programs=True, preset="authentik"
)
_VOUCH = FrontProxy(
    "vouch", NamedBy.EITHER, preset="vouch", reason_header=b"x-vouch-err"
).without_redirects()

ALIASES: dict[str, Table] = {
    "authelia": (
        ("/api/authz/forward-auth", _AUTHELIA),
        ("/api/authz/auth-request", _AUTHELIA.named(NamedBy.ORIGINAL).without_redirects()),
        ("/api/authz/ext-authz/", _AUTHELIA.named(NamedBy.ITSELF)),
        ("/api/verify", _LEGACY),
    ),
    "oauth2-proxy": ((paths.OAUTH2_PROXY + "auth", _OAUTH2_PROXY),),
    "tinyauth": (
        ("/api/auth/traefik", _TINYAUTH),
        ("/api/auth/caddy", _TINYAUTH),
        ("/api/auth/nginx", _TINYAUTH.named(NamedBy.EITHER).without_redirects()),
        ("/api/auth/envoy?path=", _TINYAUTH.named(NamedBy.ITSELF)),
    ),
    "authentik": (
        (paths.AUTHENTIK + "auth/traefik", _AUTHENTIK),
        (paths.AUTHENTIK + "auth/caddy", _AUTHENTIK),
        (paths.AUTHENTIK + "auth/nginx", _AUTHENTIK.named(NamedBy.ORIGINAL).without_redirects()),
        (paths.AUTHENTIK + "auth/envoy/", _AUTHENTIK.named(NamedBy.ITSELF)),
    ),
    "vouch": (("/validate", _VOUCH),),
}


def list_presets(aliases: Iterable[str]) -> tuple[str, ...]:
    """The identity presets in the answers of these programs' endpoints, each once."""
    fronts = [front for alias in aliases for _, front in ALIASES[alias]]
    return tuple(dict.fromkeys(front.preset for front in fronts if front.preset))


@dataclass(frozen=True, slots=True)
class Subrequest:
    """A verification request: the kind of front proxy, the target after the endpoint's prefix, if
    it has one, and the users that it asks for. `names_method`: if False, no rule may depend on the
    method of the request in question."""

    front: FrontProxy
    rest: bytes = b""
    narrowing: Narrowing | None = None
    names_method: bool = True


class Endpoints:
    """The forward-auth endpoints, including those of the programs named in `aliases`."""

    def __init__(self, aliases: Iterable[str] = ()) -> None:
        under = paths.VERIFY
        table = [(under, ANY), (f"{under}/envoy/", ENVOY)]
        table += [(f"{under}/{one.name}", one) for one in FRONT_PROXIES]
        table += [row for alias in aliases for row in ALIASES[alias]]
        fronts = [(path.encode(), front) for path, front in table]
        self._exact = {path: Subrequest(front) for path, front in fronts if path[-1:] not in b"/="}
        # The length of the prefix before the target; the target's first byte is a slash.
        self._prefixes = tuple(
            (path, len(path.removesuffix(b"/")), front)
            for path, front in fronts
            if path[-1:] in b"/="
        )

    def find(self, target: bytes) -> Subrequest | None:
        """The verification request that has this target, if it is one of these paths."""
        path, _, query = target.partition(b"?")
        found = self._exact.get(path)
        if found is not None:
            if query and found.front is _LEGACY and query.startswith(b"rd="):
                return Subrequest(_LEGACY_REDIRECTING)
            if query and found.front.is_narrowed:
                return replace(found, narrowing=read_narrowing(query))
            return found
        for prefix, length, front in self._prefixes:
            if target.startswith(prefix):
                return Subrequest(front, target[length:])
        return None

    def is_among(self, path: bytes) -> bool:
        """Whether this path, without its query, is one of these."""
        return path in self._exact or any(
            path.startswith(prefix) or path == prefix.partition(b"?")[0]
            for prefix, _, _ in self._prefixes
        )
