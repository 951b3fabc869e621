"""All checks, in their order. Must not know what they check."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from doorward.doctor import host, login_forms, public, upstreams
from doorward.doctor.findings import Checkup, Finding
from doorward.settings import Settings

Check = Callable[[], Iterable[Finding] | Awaitable[Iterable[Finding]]]


@dataclass(frozen=True, slots=True)
class Visit:
    """The subject of the checks: the settings, the URL that users open (None: not checked), and a
    user to log in with there."""

    settings: Settings
    url: str | None = None
    username: str | None = None
    password: str = ""


async def examine(visit: Visit, addresses: Iterable[str] | None = None) -> list[Checkup]:
    """Run every check. `addresses`: this host's addresses; by default, they are detected."""
    settings = visit.settings
    doors = upstreams.list_doors(settings)
    here = tuple(upstreams.list_addresses() if addresses is None else addresses)
    checks: list[tuple[str, Check]] = [
        ("rules", lambda: host.check_rules(settings)),
        ("keys", lambda: host.check_keys(settings, time.time())),
        ("database", lambda: host.check_database(settings)),
        ("cookie", lambda: host.check_cookie(settings)),
        ("trusted proxies", lambda: host.check_trusted_proxies(settings)),
        ("mail", lambda: host.check_mail(settings)),
        ("upstreams", lambda: upstreams.check_reachable(doors)),
        ("login forms", lambda: login_forms.check_login_forms(settings)),
        ("clock", lambda: upstreams.check_clock(doors)),
        ("around", lambda: upstreams.check_around(doors, here)),
        ("folding", lambda: upstreams.check_folding(doors)),
    ]
    found = [await _make(name, check) for name, check in checks]
    return [*found, *await _from_outside(visit)]


async def _from_outside(visit: Visit) -> list[Checkup]:
    url, username = visit.url, visit.username
    if url is None:
        return [Checkup("address", skipped="use --url to check the address that users open")]
    address = await _make("address", lambda: public.check_public(visit.settings, url))
    if username is None:
        return [address, Checkup("login", skipped="use --user to try a login")]
    login = await _make(
        "login", lambda: public.check_login(visit.settings, url, username, visit.password)
    )
    return [address, login]


async def _make(name: str, check: Check) -> Checkup:
    try:
        made = check()
        found = await made if isinstance(made, Awaitable) else made
        return Checkup(name, tuple(found))
    except Exception as error:  # a failing check must not hide the others
        finding = Finding(f"this check failed: {type(error).__name__}: {error}", "report it")
        return Checkup(name, (finding,))
