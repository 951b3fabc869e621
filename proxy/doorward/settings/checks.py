"""Knows the conditions between settings that are each valid on their own. It must not parse; each
check takes settings and yields the places that are wrong, with the reason."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from urllib.parse import urlsplit

from doorward.settings.access import ConfigUser, Route
from doorward.settings.addresses import Listen, Network, Upstream, is_within
from doorward.settings.credentials import WAYS, list_ways
from doorward.settings.faults import KeyPath, Wrong, format_path
from doorward.settings.identity import VALUES
from doorward.settings.models import Settings
from doorward.settings.tls import UpstreamTls
from doorward.settings.values import quote
from doorward.text import fold_address, fold_name

Found = Iterator[tuple[KeyPath, Wrong]]
_EVERYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def some_route(settings: Settings) -> Found:
    if not settings.routes:
        hint = "name the application to protect: routes: [{upstream: http://127.0.0.1:9000}]"
        yield ("routes",), Wrong("there is no route", hint)


def upstreams_given(settings: Settings) -> Found:
    """A route needs an upstream unless front proxies ask about it and forward the requests
    themselves."""
    if settings.forward_auth is None:
        for number, route in enumerate(settings.routes):
            if not route.upstream:
                given = "upstream" in route.model_fields_set
                message = "must not be empty" if given else "is required"
                yield ("routes", number, "upstream"), Wrong(message)


# Settings of a route that only apply to answers that Doorward itself forwards.
_OF_ANSWERS = ("security_headers", "session_expires", "close_websockets", "logout")


def answers_carried(settings: Settings) -> Found:
    """Without an upstream, the front proxy forwards the application's answers."""
    if settings.forward_auth is not None:
        for number, route in enumerate(settings.routes):
            for name in () if route.upstream else _OF_ANSWERS:
                if getattr(route, name):
                    message = "has no effect, because the front proxy carries the answers"
                    hint = "let the front proxy do it, or give the route its upstream"
                    yield ("routes", number, name), Wrong(message, hint)


def logout_cookies_foreign(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        for position, name in enumerate(() if route.logout is None else route.logout.cookies):
            plain = name.removeprefix("__Host-").removeprefix("__Secure-")
            if plain in ("doorward", settings.cookie_name):
                message = f"{name} is Doorward's own cookie, which expires anyway"
                place: KeyPath = ("routes", number, "logout", "cookies", position)
                yield place, Wrong(message, "name the application's cookies")


def public_url_given(settings: Settings) -> Found:
    if settings.listen.is_unnamed and "public_url" not in settings.model_fields_set:
        hint = "write what people type, such as https://wiki.example.com"
        yield ("public_url",), Wrong(f"is required, as listen is {settings.listen}", hint)


def listeners_apart(settings: Settings) -> Found:
    if settings.admin_listen and _clash(settings.listen, settings.admin_listen):
        yield (
            ("admin_listen",),
            Wrong("is the same address as listen", "give it another port, or off"),
        )


def _clash(one: Listen, other: Listen) -> bool:
    if one.is_unix or other.is_unix:
        return one == other
    overlap = one.host == other.host or one.is_everywhere or other.is_everywhere
    return overlap and one.port == other.port != 0


def proxies_few(settings: Settings) -> Found:
    hint = "name the proxies in front of it"
    everybody = [network for network in _EVERYBODY if network in _together(settings)]
    for number, peers in enumerate(settings.trusted_proxies):
        if peers == "unix":
            if not settings.listen.is_unix:
                message = "unix has no effect, because listen is no unix socket"
                yield ("trusted_proxies", number), Wrong(message, "remove it")
        elif peers in everybody and not settings.listen.is_local:
            everybody.remove(peers)
            message = f"{peers} lets every client choose its own address"
            yield ("trusted_proxies", number), Wrong(message, hint)
    if everybody and not settings.listen.is_local:
        yield (
            ("trusted_proxies",),
            Wrong("together, these networks let every client choose its own address", hint),
        )


def proxies_named(settings: Settings) -> Found:
    if settings.proxy_protocol and not settings.trusted_proxies:
        hint = "list the proxies that send the header in trusted_proxies"
        yield ("proxy_protocol",), Wrong("no proxy would be trusted", hint)


def trusted_headers_have_a_sender(settings: Settings) -> Found:
    if settings.trusted_headers and not settings.trusted_proxies:
        hint = "list the proxies that set these headers in trusted_proxies"
        yield ("trusted_headers",), Wrong("there is no trusted proxy", hint)


def _together(settings: Settings) -> set[Network]:
    """The trusted networks, with adjacent ones merged."""
    v4 = [peers for peers in settings.trusted_proxies if isinstance(peers, IPv4Network)]
    v6 = [peers for peers in settings.trusted_proxies if isinstance(peers, IPv6Network)]
    return {*collapse_addresses(v4), *collapse_addresses(v6)}


def routes_differ(settings: Settings) -> Found:
    first: dict[tuple[str | None, str], int] = {}
    for number, route in enumerate(settings.routes):
        earlier = first.setdefault((route.host, route.path), number)
        if earlier != number:
            message = f"has the host and path of routes[{earlier}]"
            yield ("routes", number), Wrong(message, "change one, or remove it")


def upstreams_differ(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        for position, upstream in enumerate(route.upstream):
            if upstream in route.upstream[:position]:
                yield ("routes", number, "upstream", position), Wrong("is given twice")
            if _is_ours(upstream, settings):
                place = _upstream_place(number, route, position)
                yield place, Wrong("is where Doorward itself listens", "name the application")


def _upstream_place(number: int, route: Route, position: int) -> KeyPath:
    place: KeyPath = ("routes", number, "upstream")
    return (*place, position) if len(route.upstream) > 1 else place


def _is_ours(upstream: Upstream, settings: Settings) -> bool:
    for listen in (settings.listen, settings.admin_listen):
        if listen is None or upstream.scheme == "https":
            continue
        theirs = Listen(upstream.host, upstream.port, upstream.path)
        if theirs == listen or (theirs.is_local and _clash(listen, theirs)):
            return True
    return False


def cookie_possible(settings: Settings) -> Found:
    cookie = settings.sessions.cookie
    https = settings.public_origin.startswith("https:")
    if cookie.secure is True and not https:
        hint = "write auto, or use an https public_url"
        message = "browsers drop such a cookie, as public_url is http"
        yield ("sessions", "cookie", "secure"), Wrong(message, hint)
    elif cookie.same_site == "none" and not settings.secure_cookies:
        hint = "write lax, or use an https public_url and leave secure at auto"
        message = "browsers accept SameSite=None only on secure cookies"
        yield ("sessions", "cookie", "same_site"), Wrong(message, hint)


def cookie_domain_reaches(settings: Settings) -> Found:
    """Browsers accept a cookie for a domain only from hosts of that domain."""
    domain = settings.sessions.cookie.domain
    if domain is None:
        return
    for key, site in (
        (("public_url",), settings.public_origin),
        (("forward_auth", "portal"), settings.portal_origin),
    ):
        if not is_within(urlsplit(site).hostname or "", domain):
            message = f"{site} is outside of {domain}, which sessions.cookie.domain names"
            yield key, Wrong(message, f"give it a host of {domain}, as browsers drop the cookie")
            return


def handover_possible(settings: Settings) -> Found:
    """Sessions can only be handed over to hosts of routes that the cookie does not reach."""
    domain, portal = settings.sessions.cookie.domain, urlsplit(settings.portal_origin).hostname
    served = [route.host for route in settings.routes]
    if settings.forward_auth is not None and not settings.routes:
        served.append(None)
    for number, host in enumerate(settings.handover_hosts):
        key: KeyPath = ("handover", "hosts", number)
        if host == portal:
            yield key, Wrong("is the portal itself", "leave it out")
        elif domain is not None and is_within(host, domain):
            hint = "remove it: the cookie of sessions.cookie.domain reaches it"
            yield key, Wrong(f"is within {domain}", hint)
        elif None not in served and not any(_covers(one, host) for one in served if one):
            yield key, Wrong("is not the host of a route", "add a route for it, or correct it")
    if settings.handover is not None and settings.sessions.cookie.same_site == "strict":
        message = "browsers send no such cookie after a hand-over from another domain"
        yield ("sessions", "cookie", "same_site"), Wrong(message, "write lax")


def _covers(pattern: str, host: str) -> bool:
    """Whether a route's host matches this host, or everything that this pattern matches."""
    return pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def tls_where_spoken(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        spoken = any(upstream.scheme == "https" for upstream in route.upstream)
        if route.tls != UpstreamTls() and not spoken:
            message = "has no effect, because no upstream here is https"
            yield ("routes", number, "tls"), Wrong(message, "write https://, or remove it")


def credentials_say_one_thing(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        if route.credentials is None:
            continue
        place, given = ("routes", number, "credentials"), list_ways(route.credentials)
        if not given:
            yield (
                place,
                Wrong("has no credentials to send", f"give one of {', '.join(WAYS)}, or off"),
            )
        for other in given[1:]:
            yield (*place, other), Wrong(f"cannot be combined with {given[0]}", "give one of them")


def forms_possible(settings: Settings) -> Found:
    """The application's cookies are kept in one process: two would be two sessions there."""
    for number, route in enumerate(settings.routes):
        form = None if route.credentials is None else route.credentials.form
        if form is None:
            continue
        place: KeyPath = ("routes", number, "credentials", "form")
        if settings.workers > 1:
            message = "needs workers: 1, because one process keeps the application's cookies"
            yield place, Wrong(message, "set workers to 1")
        if settings.in_process:
            message = "needs an upstream, but the application is in this process"
            yield place, Wrong(message, "use `doorward serve` in front of it")
        if (form.username is None) != (form.password_file is None):
            missing = "username" if form.username is None else "password_file"
            yield (*place, missing), Wrong("is required with the other", "give both, or neither")


def credentials_have_a_way(settings: Settings) -> Found:
    """If the front proxy forwards requests itself, Doorward cannot send credentials."""
    for number, route in enumerate(settings.routes):
        if route.credentials is not None and not route.upstream:
            message = "has no effect, because this route has no upstream"
            hint = "name the upstream, or let the front proxy send credentials"
            yield ("routes", number, "credentials"), Wrong(message, hint)


def bases_agree(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        if len({upstream.base for upstream in route.upstream}) > 1:
            message = "the upstreams have different paths"
            yield ("routes", number, "upstream"), Wrong(message, "give all of them the same")


def rewriting_possible(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        place: KeyPath = ("routes", number, "rewrite")
        if route.rewrite.strip_path and route.path == "/":
            yield (*place, "strip_path"), Wrong("has no effect, because the route's path is /")
        if route.rewrite.host == "upstream":
            hint = "write the host that the application expects"
            if any(upstream.scheme == "unix" for upstream in route.upstream):
                yield (*place, "host"), Wrong("a unix socket has no host", hint)
            elif len({(upstream.host, upstream.port) for upstream in route.upstream}) > 1:
                yield (*place, "host"), Wrong("the upstreams have different hosts", hint)


def route_cookies_possible(settings: Settings) -> Found:
    for number, route in enumerate(settings.routes):
        if route.cookies.secure and settings.public_origin.startswith("http:"):
            message = "browsers drop such cookies, as public_url is http"
            hint = "use an https public_url"
            yield ("routes", number, "cookies", "secure"), Wrong(message, hint)


# Other dialects' paths `…/session`: below these prefixes, alekeagle's sample paths are the same.
_SESSION_PLACES = (("xhr", "/xhr"), ("datepoll", "/api/v1/user/myself"))


def dialects_apart(settings: Settings) -> Found:
    alekeagle = settings.dialects.alekeagle
    if alekeagle is None or not alekeagle.sample_paths:
        return
    for name, prefix in _SESSION_PLACES:
        if alekeagle.prefix == prefix and getattr(settings.dialects, name) is not None:
            message = f"{prefix}/session belongs to the {name} dialect"
            hint = "choose another prefix, or set sample_paths to false"
            yield ("dialects", "alekeagle", "prefix"), Wrong(message, hint)


def users_differ(settings: Settings) -> Found:
    first: dict[str, ConfigUser] = {}
    for number, user in enumerate(settings.users):
        other = first.setdefault(fold_name(user.username), user)
        if other is not user:
            message = f"is also the name of another user, spelt {quote(other.username)}"
            yield ("users", number, "username"), Wrong(message, "rename or remove one")


def groups_hold_no_delimiter(settings: Settings) -> Found:
    delimiters = settings.list_delimiters.replace(",", "")  # no name contains a comma
    for number, user in enumerate(settings.users):
        for name, values in (("groups", user.groups), ("roles", user.roles)):
            for position, value in enumerate(values):
                if inside := next((one for one in delimiters if one in value), None):
                    message = f"{quote(value)} contains {quote(inside)}"
                    hint = "in its header, an application would read it as two"
                    yield ("users", number, name, position), Wrong(message, hint)


def emails_differ(settings: Settings) -> Found:
    first: dict[str, ConfigUser] = {}
    names = {fold_name(user.username): user for user in settings.users}
    for number, user in enumerate(settings.users):
        if user.email is None:
            continue
        address = fold_address(user.email)
        other = first.setdefault(address, user)
        if other is not user:
            message = f"is also the address of user {quote(other.username)}"
            yield ("users", number, "email"), Wrong(message, "an address belongs to one user")
        if names.get(address, user) is not user:
            message = f"is the name of user {quote(names[address].username)}"
            yield ("users", number, "email"), Wrong(message, "rename that user")


def key_files_differ(settings: Settings) -> Found:
    for number, path in enumerate(settings.secret_files):
        if path in settings.secret_files[:number]:
            yield ("secret_files", number), Wrong("is given twice")


# A check, with the settings that it reads. It is skipped if one of them is invalid, because the
# default that replaces the invalid value could cause an error.
CHECKS: tuple[tuple[Callable[[Settings], Found], tuple[str, ...]], ...] = (
    (public_url_given, ("listen", "public_url")),
    (listeners_apart, ("listen", "admin_listen")),
    (proxies_few, ("listen",)),
    (proxies_named, ("trusted_proxies",)),
    (trusted_headers_have_a_sender, ("trusted_proxies",)),
    (key_files_differ, ()),
    (some_route, ("routes",)),
    (upstreams_given, ("routes", "forward_auth")),
    (answers_carried, ("routes", "forward_auth")),
    (logout_cookies_foreign, ("routes", "listen", "public_url", "sessions.cookie")),
    (routes_differ, ("routes",)),
    (upstreams_differ, ("listen", "admin_listen")),
    (credentials_say_one_thing, ("routes",)),
    (forms_possible, ("routes", "workers", "in_process")),
    (credentials_have_a_way, ("routes",)),
    (bases_agree, ("routes",)),
    (tls_where_spoken, ("routes",)),
    (rewriting_possible, ("routes",)),
    (route_cookies_possible, ("listen", "public_url", "tls", "routes")),
    (dialects_apart, ("dialects",)),
    (users_differ, ()),
    (groups_hold_no_delimiter, ("routes",)),
    (emails_differ, ()),
    (cookie_possible, ("listen", "public_url", "sessions.cookie")),
    (cookie_domain_reaches, ("listen", "public_url", "forward_auth", "sessions.cookie")),
    (
        handover_possible,
        ("listen", "public_url", "routes", "forward_auth", "handover", "sessions.cookie"),
    ),
)


def run(settings: Settings, faulty: frozenset[str]) -> Iterator[tuple[KeyPath, Wrong]]:
    """Yields the violations. `faulty` are the dotted keys that are already known to be wrong."""
    for check, reads in CHECKS:
        if not any(_beneath(key, read) for key in faulty for read in reads):
            yield from check(settings)


def _beneath(key: str, read: str) -> bool:
    return key == read or key.startswith((f"{read}.", f"{read}[")) or read.startswith(f"{key}.")


def _mistyped_values(settings: Settings) -> Iterator[str]:
    """Fixed texts that were probably meant to be the name of a user attribute."""
    for number, route in enumerate(settings.routes):
        for position, told in enumerate(route.identity):
            if isinstance(told, str) or told.value in VALUES:
                continue
            if near := difflib.get_close_matches(told.value.lower(), VALUES, n=1):
                place = format_path(("routes", number, "identity", position, "value"))
                yield f"{place}: {quote(told.value)} is sent as it is; did you mean {near[0]}?"


def _unreached_hosts(settings: Settings) -> Iterator[str]:
    """Hosts to which browsers do not send the session cookie of the portal."""
    asked = settings.forward_auth
    for number, host in enumerate(() if asked is None else asked.hosts):
        if host not in settings.login_hosts:
            place = format_path(("forward_auth", "hosts", number))
            reason = "a login at the portal does not reach it; see sessions.cookie.domain"
            reason += " and handover"
            yield f"{place}: {host}: {reason}"


def _unsent_hsts(settings: Settings) -> Iterator[str]:
    for number, route in enumerate(settings.routes):
        headers = route.security_headers
        if headers is not None and headers.hsts and settings.public_origin.startswith("http:"):
            place = format_path(("routes", number, "security_headers", "hsts"))
            yield f"{place}: has no effect, because public_url is http"


def _list_basic(settings: Settings) -> Iterator[KeyPath]:
    for number, route in enumerate(settings.routes):
        if route.basic is not None:
            yield "routes", number, "basic"
        for at, rule in enumerate(route.rules):
            if rule.basic is not None:
                yield "routes", number, "rules", at, "basic"
    for number, rule in enumerate(settings.access.rules):
        if rule.basic is not None:
            yield "access", "rules", number, "basic"


def warnings(settings: Settings) -> Iterator[str]:
    """Yields settings that are unusual but may be intended."""
    if settings.public_origin.startswith("https:") and not settings.secure_cookies:
        place = format_path(("sessions", "cookie", "secure"))
        yield f"{place}: false on https lets the cookie travel over http as well"
    if settings.tls and settings.public_origin.startswith("http:"):
        yield "public_url: is http, but with tls Doorward only answers https"
    if settings.public_origin.startswith("http:"):
        for found in _list_basic(settings):
            said = "public_url is http, so tokens and passwords are sent unencrypted"
            yield f"{format_path(found)}: {said}"
    if settings.forward_auth is not None and not settings.trusted_proxies:
        yield "forward_auth: no front proxy may ask, because trusted_proxies is empty"
    yield from _unreached_hosts(settings)
    yield from _unsent_hsts(settings)
    for number, route in enumerate(settings.routes):
        if not route.tls.verify:
            place = format_path(("routes", number, "tls", "verify"))
            yield f"{place}: false lets anybody on the network path pose as the upstream"
    yield from _mistyped_values(settings)
