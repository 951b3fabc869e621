"""Knows every setting: its name, default, meaning, in the order of config/doorward.yaml.
It must not read files or the environment; load.py does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import PrivateAttr

from doorward.settings import addresses
from doorward.settings.access import AccessSettings, ConfigUser, Route
from doorward.settings.credentials import needs_users_own
from doorward.settings.dialects import Dialects
from doorward.settings.document import Node
from doorward.settings.faults import KeyPath, Wrong
from doorward.settings.fields import (
    AuditFile,
    Duration,
    DurationOrZero,
    EmailAddress,
    Listed,
    Listener,
    Parsed,
    Place,
    PublicUrl,
    Section,
    ServerName,
    SmtpUrl,
    StorageUrl,
    Switch,
    TrustedHeader,
    TrustedPeers,
    Unless,
    key,
    required,
    whole,
)
from doorward.settings.forward_auth import ForwardAuth, Handover
from doorward.settings.identity import LINES
from doorward.settings.limits import LimitSettings
from doorward.settings.log import LogSettings
from doorward.settings.pages import PagesSettings
from doorward.settings.tls import Tls
from doorward.settings.values import boolean, choice, label, quote, text

OptionalDuration = Annotated[Duration | None, Unless("none")]


def _secure(value: object) -> bool | str:
    return "auto" if value == "auto" else boolean(value)


def _issuer(value: object) -> str:
    if ":" in (found := label(value)):
        raise Wrong("must not contain ':', which separates issuer and user in authenticator apps")
    return found


def _cookie_name(value: object) -> str:
    found = text(value)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", found):
        raise Wrong(f"{quote(found)} is not a cookie's name", "use letters, digits, . _ and -")
    if found.startswith("__"):
        raise Wrong("must not begin with __", "with https, Doorward itself adds __Host-")
    return found


def _cookie_domain(value: object) -> str:
    found = addresses.host_pattern(value)
    if found.startswith(("*.", "[")) or found.rpartition(".")[2].isdigit():
        raise Wrong(f"{quote(found)} is not a domain", "write it as example.com")
    if "." not in found:
        raise Wrong(f"{quote(found)} is a whole top-level domain", "write it as example.com")
    return found


class Cookie(Section):
    name: Annotated[
        str,
        Parsed(_cookie_name, {"type": ["string", "integer"], "pattern": "^[A-Za-z0-9._-]{1,64}$"}),
    ] = key("auto", "Name of the session cookie; auto is doorward, or doorward-PORT.")
    domain: Annotated[
        Annotated[str, Parsed(_cookie_domain, {"type": "string"})] | None, Unless("none")
    ] = key("none", "Domain whose hosts share the cookie, or none for the host of the login only.")
    same_site: Annotated[
        Literal["lax", "strict", "none"],
        Parsed(choice("lax", "strict", "none"), {"enum": ["lax", "strict", "none"]}),
    ] = key("lax", "SameSite attribute: lax, strict or none.")
    secure: Annotated[
        bool | Literal["auto"], Parsed(_secure, {"enum": ["auto", True, False, "on", "off"]})
    ] = key("auto", "Secure attribute: auto (when public_url is https), true or false.")


class SessionSettings(Section):
    idle_timeout: OptionalDuration = key(
        "2h", "How long an unused session lasts, or none. Remembered sessions are exempt."
    )
    lifetime: Duration = key("24h", "How long a session lasts after the login.")
    remember_lifetime: Duration = key("30d", "How long a remembered session lasts.")
    max_lifetime: OptionalDuration = key(
        "none", "Upper limit on the lifetime of every session, in every dialect, or none."
    )
    max_per_user: Annotated[Annotated[int, whole(1)] | None, Unless("none")] = key(
        100, "Maximum number of sessions per user, or none. One more login ends the oldest."
    )
    cookie: Cookie = key({}, "Attributes of the session cookie.")


class SecondFactor(Section):
    issuer: Annotated[str, Parsed(_issuer, {"type": "string", "pattern": "^[^:]+$"})] = key(
        "Doorward", "Name that authenticator apps show for this site."
    )
    trust_period: DurationOrZero = key(
        "5m", "How long a session counts as freshly confirmed after a code."
    )
    remember_browser: Annotated[Duration | None, Unless("off")] = key(
        "off", "How long a browser may skip the code at later logins, or off."
    )
    attempts: Annotated[int, whole(1, 1000)] = key(
        5, "Number of wrong codes after which the user has to wait."
    )
    lock: Duration = key("5m", "How long the user has to wait.")


class RegulationSettings(Section):
    enabled: Switch = key(True, "Whether to lock out clients after too many wrong passwords.")
    attempts: Annotated[int, whole(1)] = key(
        5,
        "Number of wrong passwords for one user after which a network is locked out for that user.",
    )
    network_attempts: Annotated[int, whole(1)] = key(
        50, "Number of wrong passwords for all users after which a network is locked out."
    )
    window: Duration = key("2m", "Time within which wrong passwords count.")
    ban: Duration = key("5m", "How long a lock-out lasts.")


class Shutdown(Section):
    grace: DurationOrZero = key(
        "8s", "How long open requests may take to finish when Doorward stops."
    )


class Audit(Section):
    file: Annotated[AuditFile | None, Unless("none")] = key(
        "none",
        "Where to write a copy, one JSON object per line: a file, stdout, or none.",
    )
    keep: OptionalDuration = key(
        "400d", "How long the database keeps records; none keeps them forever."
    )


class EmailSettings(Section):
    smtp: SmtpUrl = required("Mail server, such as smtp://user:password@host:587 or smtps://host.")
    from_: EmailAddress = required("Sender address.", alias="from")


class ApiSettings(Section):
    enabled: Switch = key(False, "Whether to serve it. It accepts tokens with an admin scope.")


class Settings(Section):
    """All settings, valid. Build it with load_settings or settings_from."""

    listen: Listener = key(
        "127.0.0.1:8080", "Address to accept requests on: host:port, [v6]:port or unix:/path."
    )
    public_url: PublicUrl = key(
        "",
        "URL that users open. Default: http:// and the address of listen, or https:// with tls.",
        validate_default=False,
    )
    tls: Annotated[Tls | None, Unless("off", empty=None)] = key(
        None,
        "TLS certificate for listen. If unset, Doorward serves plain HTTP.",
        validate_default=False,
    )
    admin_listen: Annotated[Listener | None, Unless("off")] = key(
        "127.0.0.1:8079", "Address of /metrics, /healthz and /readyz, or off."
    )
    admin_hosts: Annotated[tuple[ServerName, ...], Listed()] = key(
        [], "Further host names and addresses that admin_listen accepts in Host."
    )
    trusted_proxies: Annotated[tuple[TrustedPeers, ...], Listed()] = key(
        [], "Networks of proxies whose X-Forwarded-* and Forwarded headers are trusted."
    )
    trusted_headers: Annotated[tuple[TrustedHeader, ...], Listed()] = key(
        [],
        "Further headers to trust: x-forwarded-port, x-forwarded-prefix.",
    )
    proxy_protocol: Switch = key(
        False, "Whether trusted_proxies start each connection with a PROXY header (v1 or v2)."
    )
    workers: Annotated[int, whole(1, 1024)] = key(1, "Number of worker processes.")
    data_dir: Place = key(
        "./data",
        "Directory for doorward.db and generated keys; /var/lib/doorward for a file under /etc.",
    )
    storage: StorageUrl = key(
        "sqlite", "Database: sqlite, or postgresql://user@host/database.", repr=False
    )
    secret_files: Annotated[tuple[Place, ...], Listed()] = key(
        [], "Key files. The first signs, all verify. If empty, a key is created in data_dir."
    )
    routes: Annotated[tuple[Route, ...], Listed(single=False)] = key(
        [], "Applications to protect. The longest host wins, then the longest path."
    )
    in_process: Switch = key(
        False, "Whether doorward.middleware wraps the application; routes then have no upstream."
    )
    forward_auth: Annotated[ForwardAuth | None, Unless("off", empty=None)] = key(
        None,
        "Forward-auth: answer front proxies that ask whether to allow a request.",
        validate_default=False,
    )
    handover: Annotated[Handover | None, Unless("off", empty=None)] = key(
        None,
        "One login for hosts of other root domains. If unset, none.",
        validate_default=False,
    )
    limits: LimitSettings = key({}, "Limits for clients.")
    fast_lane: Switch = key(
        True, "Whether to handle a request without an asyncio task if nothing has to be awaited."
    )
    access: AccessSettings = key({}, "Access rules.")
    users: Annotated[tuple[ConfigUser, ...], Listed(single=False)] = key(
        [], "Users defined in this file. They cannot be changed on the pages."
    )
    htpasswd: Annotated[Place | None, Unless("none")] = key(
        "none", "htpasswd file with more users, or none. It is read again when it changes."
    )
    sessions: SessionSettings = key({}, "Sessions of the login page and of the xhr dialect.")
    second_factor: SecondFactor = key({}, "Codes from authenticator apps and e-mail.")
    regulation: RegulationSettings = key({}, "Brute-force protection.")
    shutdown: Shutdown = key({}, "Stopping on SIGTERM.")
    log: LogSettings = key({}, "Log on standard error. For security events, see audit.")
    audit: Audit = key(
        {}, "Audit records of logins, failures and changes. `doorward audit` shows them."
    )
    email: Annotated[EmailSettings | None, Unless("off", empty=None)] = key(
        None,
        "Mail server for codes and notices. If unset, no mail is sent.",
        validate_default=False,
    )
    api: ApiSettings = key({}, "Administration API under /.doorward/api/v1/.")
    pages: PagesSettings = key({}, "Appearance and language of the pages.")
    dialects: Dialects = key({}, "Login APIs for programs. Each is off unless it is named here.")

    _file: Path | None = PrivateAttr(default=None)
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _environment: tuple[str, ...] = PrivateAttr(default=())
    _root: Node | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The configuration file, if there is one."""
        return self._file

    @property
    def environment(self) -> tuple[str, ...]:
        """The environment variables that override settings."""
        return self._environment

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about settings that are valid but unusual."""
        return self._warnings

    def find_line(self, path: KeyPath) -> int | None:
        """The line in the file with this setting; None if the file does not set it."""
        node, steps = (None, 0) if self._root is None else self._root.nearest(path)
        return node.line if node is not None and steps == len(path) else None

    @property
    def public_origin(self) -> str:
        """Scheme, lower-case host and port of public_url, without the scheme's default port."""
        return addresses.origin(self.public_url)

    @property
    def portal_origin(self) -> str:
        """The origin of the login page for requests that come through a front proxy."""
        asked = self.forward_auth
        if asked is None or asked.portal is None:
            return self.public_origin
        return addresses.origin(asked.portal)

    @property
    def login_hosts(self) -> tuple[str, ...]:
        """The hosts for which a login at the portal is valid: those of `forward_auth` that the
        cookie reaches, and those that sessions are handed over to."""
        domain, portal = self.sessions.cookie.domain, urlsplit(self.portal_origin).hostname
        asked = () if self.forward_auth is None else self.forward_auth.hosts
        reached = tuple(
            host
            for host in asked
            if host == portal or (domain is not None and addresses.is_within(host, domain))
        )
        return reached + self.handover_hosts

    @property
    def handover_hosts(self) -> tuple[str, ...]:
        """Hosts of other root domains that sessions are handed over to."""
        return () if self.handover is None else self.handover.hosts

    @property
    def list_delimiters(self) -> str:
        """The delimiters between groups or roles in the headers of all routes, and always the
        comma. No name of a group or role may contain one."""
        headers = [header for route in self.routes for header in route.identity_headers]
        found = {header.delimiter for header in headers if header.is_list} - {LINES}
        return "".join(sorted(found | {","}))

    @property
    def user_routes(self) -> tuple[str, ...]:
        """The names of routes at whose application users have credentials of their own."""
        return tuple(route.name for route in self.routes if needs_users_own(route.credentials))

    def body_bytes(self, route: Route) -> int | None:
        """Maximum size of a request's body on this route in bytes, or None."""
        if route.body_bytes == "auto":
            return self.limits.body_bytes
        return None if route.body_bytes == "none" else route.body_bytes

    @property
    def cookie_name(self) -> str:
        """Name of the session cookie without a prefix. Browsers send cookies to every port of a
        host, so if public_url has a port other than its scheme's default, the name contains it."""
        if self.sessions.cookie.name != "auto":
            return self.sessions.cookie.name
        port = self.public_origin.rpartition(":")[2]
        return f"doorward-{port}" if port.isdigit() else "doorward"

    @property
    def prefers_default_cookie(self) -> bool:
        """Whether the name has no port until another instance uses that name in a browser: if
        public_url is this machine, programs and examples look for `doorward`."""
        return self.sessions.cookie.name == "auto" and addresses.is_local_origin(self.public_origin)

    @property
    def secure_cookies(self) -> bool:
        if self.sessions.cookie.secure == "auto":
            return self.public_origin.startswith("https:")
        return self.sessions.cookie.secure
