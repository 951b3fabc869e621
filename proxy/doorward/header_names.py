"""Names of headers: which ones identify the user or describe a request's path to an application,
and which ones clients and servers use among themselves.

Knows names alone; must not know what is done with a header.
"""

import re
from collections.abc import Callable, Iterable

# RFC 9110 7.6.1, and those that older clients and proxies treat in the same way. `proxy` is
# httpoxy.
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer"
    b" transfer-encoding upgrade proxy http2-settings".split()
)

# Names that tell one application or another who is asking: never a client's to send. The ones of
# other gateways are here because an application may have stood behind those before.
# docs/reference/headers.md lists them for deployers.
IDENTITY_NAMES = frozenset(
    b"x-forwarded-user x-forwarded-email x-forwarded-groups x-forwarded-preferred-username"
    b" x-forwarded-access-token"
    b" x-auth-username x-auth-userid x-auth-email x-auth-groups x-auth-roles x-auth-subject"
    b" x-auth-audience x-auth-expiresin"
    b" x-userinfo sm-user iv-user wl-proxy-client-cert".split()
)
IDENTITY_PREFIXES = (
    b"remote-",
    b"x-remote-",
    b"x-auth-request-",
    b"x-webauth-",
    b"x-doorward-",
    b"x-authentik-",
    b"x-token-",
    b"x-vouch-",
    b"x-pomerium-",
    b"cf-access-",
    b"x-goog-authenticated-user-",
    b"x-amzn-oidc-",
    b"x-ms-client-principal",
    b"tailscale-user-",
    b"oidc-",
    b"shib-",
    b"mellon-",
    b"x-consumer-",
    b"x-authenticated-",
    # Client certificates (RFC 9440 and older names): no proxy before us is asked to verify one.
    b"client-cert",
    b"x-client-cert",
    b"x-arr-clientcert",
    b"x-ssl-client-",
    b"ssl-client-",
)
# The way the request came: rebuilt by us, or dropped because an application might act on it.
# Gunicorn takes what SCRIPT_NAME says off the path of a request from its own host.
FORWARDING_NAMES = frozenset(
    b"forwarded x-real-ip x-client-ip x-cluster-client-ip true-client-ip x-original-forwarded-for"
    b" cf-connecting-ip cf-connecting-ipv6 cf-pseudo-ipv4 fastly-client-ip fly-client-ip"
    b" x-azure-clientip x-azure-socketip x-appengine-user-ip proxy-client-ip wl-proxy-client-ip"
    b" wl-proxy-ssl"
    b" x-original-url x-original-uri x-original-host x-original-method x-rewrite-url"
    b" x-request-id x-http-host-override x-host x-url-scheme x-scheme front-end-https"
    b" client-ip script-name path-info x-script-name x-envoy-original-path".split()
)
FORWARDING_PREFIX = b"x-forwarded-"
METHOD_OVERRIDES = frozenset(b"x-http-method-override x-http-method x-method-override".split())
# Harmless as written, but an application that folds `_` to `-` would see a second one.
FRAMING_LOOKALIKES = frozenset(b"content-length content-type transfer-encoding".split())

# Looked up once, at the start. Others are found a little later.
USUAL_REQUEST_NAMES = (
    b"accept accept-charset accept-encoding accept-language access-control-request-headers"
    b" access-control-request-method authorization baggage cache-control connection"
    b" content-encoding content-language content-length content-type cookie date dnt expect"
    b" forwarded from host if-match if-modified-since if-none-match if-range"
    b" if-unmodified-since keep-alive last-event-id origin pragma priority proxy-connection"
    b" purpose range referer save-data sec-ch-ua sec-ch-ua-arch sec-ch-ua-mobile"
    b" sec-ch-ua-model sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site"
    b" sec-fetch-user sec-gpc sec-purpose te traceparent tracestate transfer-encoding upgrade"
    b" upgrade-insecure-requests user-agent via x-auth-token x-csrf-token x-csrftoken"
    b" x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto"
    b" x-real-ip x-request-id x-requested-with x-user-id x-xsrf-token"
).split()
USUAL_ANSWER_NAMES = (
    b"accept-ranges access-control-allow-credentials access-control-allow-headers"
    b" access-control-allow-methods access-control-allow-origin access-control-expose-headers"
    b" access-control-max-age age allow alt-svc cache-control connection content-disposition"
    b" content-encoding content-language content-length content-location content-range"
    b" content-security-policy content-type cross-origin-embedder-policy"
    b" cross-origin-opener-policy cross-origin-resource-policy date etag expires keep-alive"
    b" last-modified link location nel permissions-policy pragma referrer-policy report-to"
    b" retry-after server server-timing set-cookie strict-transport-security surrogate-control"
    b" trailer transfer-encoding vary via www-authenticate x-accel-buffering x-cache"
    b" x-content-type-options x-frame-options x-powered-by x-request-id x-robots-tag x-runtime"
    b" x-ua-compatible x-xss-protection"
).split()

# Names whose values are few, none of them a secret: the messages of one client or application have
# the same lines of these again and again.
REPEATING_REQUEST_NAMES = (
    b"accept accept-charset accept-encoding accept-language access-control-request-headers"
    b" access-control-request-method cache-control connection content-encoding content-type"
    b" dnt host origin pragma priority purpose save-data sec-ch-ua sec-ch-ua-arch"
    b" sec-ch-ua-mobile sec-ch-ua-model sec-ch-ua-platform sec-fetch-dest sec-fetch-mode"
    b" sec-fetch-site sec-fetch-user sec-gpc sec-purpose te upgrade-insecure-requests"
    b" user-agent via x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto"
    b" x-requested-with"
).split()
REPEATING_ANSWER_NAMES = (
    b"accept-ranges access-control-allow-credentials access-control-allow-headers"
    b" access-control-allow-methods access-control-allow-origin access-control-expose-headers"
    b" access-control-max-age allow alt-svc cache-control connection content-encoding"
    b" content-language content-type cross-origin-embedder-policy cross-origin-opener-policy"
    b" cross-origin-resource-policy date keep-alive permissions-policy pragma referrer-policy"
    b" server strict-transport-security transfer-encoding vary via x-accel-buffering x-cache"
    b" x-content-type-options x-frame-options x-powered-by x-robots-tag x-ua-compatible"
    b" x-xss-protection"
).split()

_PUNCTUATION = re.compile(rb"[^a-z0-9]")


def normalize_name(name: bytes) -> bytes:
    """The spelling under which names are compared: lower-case, every punctuation a hyphen."""
    return _PUNCTUATION.sub(b"-", name.lower())


def is_identity_name(name: bytes) -> bool:
    """Whether a header of this name, in whatever spelling, says who somebody is."""
    normal = normalize_name(name)
    return normal in IDENTITY_NAMES or normal.startswith(IDENTITY_PREFIXES) or normal in _added


# What clients, servers and we ourselves say by these names must not be replaced by who somebody is.
_TAKEN = frozenset(
    b"authorization content-length cookie depth destination expect host if lock-token max-forwards"
    b" overwrite sec-websocket-accept sec-websocket-extensions sec-websocket-key"
    b" sec-websocket-protocol sec-websocket-version timeout x-forwarded-for".split()
)


def can_identify(name: bytes) -> bool:
    """Whether a header of this name may say who somebody is: no name that already means something
    else, in any spelling."""
    normal = normalize_name(name)
    if is_identity_name(normal):
        return True
    return not (
        normal in _TAKEN
        or normal in HOP_BY_HOP
        or normal in METHOD_OVERRIDES
        or normal in FORWARDING_NAMES
        or normal in USUAL_REQUEST_NAMES
        or normal in USUAL_ANSWER_NAMES
        or normal.startswith(FORWARDING_PREFIX)
    )


# kept per process, too, for the hot path; it is cleared when a name is added.
_added: set[bytes] = set()
_learners: list[Callable[[], None]] = []


def add_identity_names(names: Iterable[bytes]) -> None:
    """Have no client and no application send headers of these names, in any spelling, from now on.

    Raises ValueError for names that cannot identify."""
    normal = {normalize_name(name) for name in names}
    if taken := sorted(name for name in normal if not can_identify(name)):
        raise ValueError(f"already mean something else: {taken}")
    if normal <= _added:
        return
    _added.update(normal)
    for forget in _learners:
        forget()


def forget_with(forget: Callable[[], None]) -> None:
    """Have `forget` called whenever names are added, for those who keep what names mean."""
    _learners.append(forget)
