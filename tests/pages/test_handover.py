"""One login for hosts of other root domains: what a browser gets at each step, and what an attacker
can do with it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from doorward.accounts.audit.audit_log import Kind, RecordFilter
from doorward.accounts.permissions import OWNER
from doorward.accounts.refusals import SessionNotFound
from doorward.accounts.session import PENDING
from doorward.accounts.sessions.handover import HostTokens, build_challenge, make_nonce
from doorward.settings import InvalidSettings, settings_from

from tests.support.asgi import ask, scope
from tests.support.front import Build, Front
from tests.support.origin import Origin
from tests.support.verifying import PROXY, forwarded
from tests.support.wire import Answer, Header
from tests.web.test_safe_returns import ATTACKS

PORTAL, OTHER, THIRD = "auth.example.com", "other.example.org", "third.example.net"
HANDOVER, LOGIN, LOGOUT = "/.doorward/handover", "/.doorward/login", "/.doorward/logout"
NAVIGATES: tuple[Header, ...] = ((b"sec-fetch-mode", b"navigate"), (b"accept", b"text/html"))
FORM: Header = (b"content-type", b"application/x-www-form-urlencoded")
HOST_COOKIE, NONCE = "__Host-doorward-host", "__Host-doorward-handover"


async def build(fronts: Build, origin: Origin | None = None, **more: Any) -> Front:
    upstream = {} if origin is None else {"upstream": origin.url}
    chosen: dict[str, Any] = {
        "public_url": f"https://{PORTAL}",
        "trusted_proxies": ["10.0.0.0/8"],
        "sessions": {"cookie": {"domain": "example.com"}},
        "handover": {"hosts": [OTHER, THIRD]},
        "routes": [{"host": PORTAL}, {"host": OTHER, **upstream}, {"host": THIRD, **upstream}],
        "forward_auth": {"hosts": [OTHER, THIRD]},
        "access": {"rules": [{"path": "/public/*", "require": "public"}]},
    }
    return await fronts(**chosen | more)


@dataclass
class Browser:
    """A browser that keeps cookies for each host, according to their attributes."""

    front: Front
    jar: dict[str, dict[str, str]] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)  # attributes of cookies, by name

    async def send(self, url: str, *headers: Header, form: dict[str, str] | None = None) -> Answer:
        parts = urlsplit(url)
        host, target = parts.netloc, url.partition(parts.netloc)[2] or "/"
        lines: list[Header] = [(b"host", host.encode()), (b"x-forwarded-for", b"192.0.2.9")]
        lines += [(b"x-forwarded-proto", b"https"), *(headers or NAVIGATES)]
        if cookies := self.cookies(host):
            lines.append(cookies)
        body = b""
        if form is not None:
            body = urlencode(form).encode()
            lines += [FORM, (b"content-length", b"%d" % len(body))]
        method = "GET" if form is None else "POST"
        answer = await ask(self.front.app, scope(target, lines, method, PROXY), body)
        self.keep(host, answer)
        return answer

    def cookies(self, host: str) -> Header | None:
        pairs = self.jar.get(host, {})
        line = "; ".join(f"{name}={value}" for name, value in pairs.items())
        return (b"cookie", line.encode()) if line else None

    def keep(self, host: str, answer: Answer) -> None:
        for line in answer.values(b"set-cookie"):
            pair, _, attributes = line.decode().partition("; ")
            name, _, value = pair.partition("=")
            self.last[name] = attributes
            jar = self.jar.setdefault(host, {})
            if "Max-Age=0" in attributes:
                jar.pop(name, None)
            else:
                jar[name] = value

    async def log_in(self, rd: str) -> Answer:
        page = f"https://{PORTAL}{LOGIN}?rd={quote(rd, safe='/')}"
        form = {"username": "alice", "password": "correct horse"}
        site = (b"sec-fetch-site", b"same-origin")
        return await self.send(page, site, *NAVIGATES, form=form)

    async def start(self, target: str = "/page?x=1", host: str = OTHER) -> str:
        """The address of the portal to which a host redirects."""
        answer = await self.send(f"https://{host}{LOGIN}?rd={quote(target, safe='/')}")
        assert answer.status == 303, answer
        return where(answer)

    async def fetch_form(self, target: str = "/page?x=1", host: str = OTHER) -> dict[str, str]:
        """The portal's form, with its action."""
        answer = await self.send(await self.start(target, host))
        assert answer.status == 200, answer
        return read_form(answer)

    async def post(self, form: dict[str, str], to: str = "") -> Answer:
        fields = {name: form[name] for name in ("code", "rd")}
        site = (b"sec-fetch-site", b"cross-site"), (b"origin", b"null")
        return await self.send(to or form["action"], *site, *NAVIGATES, form=fields)

    async def come_in(self, target: str = "/page?x=1", host: str = OTHER) -> Answer:
        return await self.post(await self.fetch_form(target, host))

    async def may(self, host: str, path: str = "/page") -> bool:
        """Whether the front proxy of a host may forward a request of this browser."""
        lines: list[Header] = [(b"host", b"doorward"), (b"x-forwarded-for", b"192.0.2.9")]
        lines += forwarded(target=path, host=host)
        if cookies := self.cookies(host):
            lines.append(cookies)
        asked = scope("/.doorward/verify/traefik", lines, peer=PROXY)
        return (await ask(self.front.app, asked)).status == 200


def where(answer: Answer) -> str:
    return answer.values(b"location")[0].decode()


def read_form(answer: Answer) -> dict[str, str]:
    text = answer.body.decode()
    found = {"action": unescape(re.findall(r'<form method="post" action="([^"]*)"', text)[0])}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text):
        found[name] = unescape(value)
    return found


async def arrived(fronts: Build, **more: Any) -> tuple[Front, Browser]:
    """A browser that is logged in at the portal."""
    front = await build(fronts, **more)
    await front.accounts.users.add("alice", "correct horse", now=front.clock())
    browser = Browser(front)
    assert (await browser.log_in("/")).status == 303
    return front, browser


# The steps


async def test_a_client_without_a_session_logs_in_at_the_portal_and_returns(fronts: Build) -> None:
    front = await build(fronts)
    await front.accounts.users.add("alice", "correct horse", now=front.clock())
    browser = Browser(front)
    lines = [(b"host", b"d"), (b"x-forwarded-for", b"192.0.2.9"), *NAVIGATES]
    lines += forwarded(target="/page?x=1", host=OTHER)
    refused = await ask(front.app, scope("/.doorward/verify/traefik", lines, peer=PROXY))
    assert where(refused) == f"https://{OTHER}{LOGIN}?rd=/page%3Fx%3D1"
    onward = where(await browser.send(where(refused)))
    assert onward.startswith(f"https://{PORTAL}{HANDOVER}?challenge=")
    login = where(await browser.send(onward))
    assert login.startswith(f"{LOGIN}?rd=/.doorward/handover%3F")
    form = {"username": "alice", "password": "correct horse"}
    site = (b"sec-fetch-site", b"same-origin")
    back = where(await browser.send(f"https://{PORTAL}{login}", site, *NAVIGATES, form=form))
    page = await browser.send(f"https://{PORTAL}{back}")
    fields = read_form(page)
    assert fields["action"] == f"https://{OTHER}{HANDOVER}"
    policy = page.values(b"content-security-policy")[0].decode()
    assert f"form-action 'self' https://{OTHER};" in policy
    assert page.values(b"cache-control") == [b"no-store"]
    done = await browser.post(fields)
    assert (done.status, where(done)) == (303, "/page?x=1")
    assert await browser.may(OTHER)
    assert not await browser.may(THIRD)
    assert (await browser.come_in("/", THIRD)).status == 303
    assert await browser.may(THIRD) and await browser.may(OTHER)


async def test_no_address_contains_the_code_the_nonce_or_a_token(fronts: Build) -> None:
    _, browser = await arrived(fronts)
    onward = await browser.start()
    nonce = browser.jar[OTHER][NONCE]
    page = await browser.send(onward)
    code = read_form(page)["code"]
    done = await browser.post(read_form(page))
    token = browser.jar[OTHER][HOST_COOKIE].partition(".")[0]
    for address in (onward, where(done)):
        assert not [secret for secret in (nonce, code, token) if secret in address]
    assert len({nonce, code, token}) == 3


async def test_the_cookie_is_limited_to_its_host(fronts: Build) -> None:
    _, browser = await arrived(fronts)
    await browser.come_in()
    attributes = browser.last[HOST_COOKIE]
    assert attributes == "Path=/; HttpOnly; SameSite=Lax; Secure"
    assert browser.last[NONCE].startswith("Max-Age=0")
    assert not [name for name in browser.jar[OTHER] if name != HOST_COOKIE]


async def test_a_remembered_session_is_remembered_there(fronts: Build) -> None:
    front = await build(fronts)
    await front.accounts.users.add("alice", "correct horse", now=front.clock())
    browser = Browser(front)
    form = {"username": "alice", "password": "correct horse", "remember": "1"}
    site = (b"sec-fetch-site", b"same-origin")
    await browser.send(f"https://{PORTAL}{LOGIN}", site, *NAVIGATES, form=form)
    await browser.come_in()
    assert "Max-Age=2592000;" in browser.last[HOST_COOKIE]


async def test_a_proxied_host_is_handed_sessions_too(fronts: Build, origin: Origin) -> None:
    _, browser = await arrived(fronts, origin=origin)
    refused = await browser.send(f"https://{OTHER}/page")
    assert where(refused) == f"{LOGIN}?rd=/page"
    await browser.come_in("/page")
    assert (await browser.send(f"https://{OTHER}/page")).status == 200
    (head,) = origin.heads
    assert b"\r\nRemote-User: alice\r\n" in head
    assert b"doorward" not in head.lower().partition(b"\r\ncookie:")[2]


async def test_the_signature_of_the_cookie_there_is_checked_once(
    fronts: Build, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, browser = await arrived(fronts, origin=origin)
    await browser.come_in()
    checked = []
    unsign = HostTokens.unsign

    def count(tokens: HostTokens, value: bytes, host: str) -> str | None:
        checked.append(value.decode())
        return unsign(tokens, value, host)

    monkeypatch.setattr(HostTokens, "unsign", count)
    for _ in range(2):  # from storage, then from memory
        assert (await browser.send(f"https://{OTHER}/page")).status == 200
    assert checked == [browser.jar[OTHER][HOST_COOKIE]]


async def test_an_application_never_sees_the_nonce(fronts: Build, origin: Origin) -> None:
    """With the nonce, an application could use a code that was meant for this browser
    (CVE-2025-52553)."""
    _, browser = await arrived(fronts, origin=origin)
    await browser.start()
    browser.jar[OTHER] |= {"a": "b", "doorward-handover": "c" * 43}
    assert NONCE in browser.jar[OTHER]
    assert (await browser.send(f"https://{OTHER}/public/")).status == 200
    (head,) = origin.heads
    assert b"a=b" in head and b"handover" not in head


async def test_several_tabs_can_log_in_one_after_another(fronts: Build) -> None:
    _, browser = await arrived(fronts)
    first = await browser.fetch_form("/one")
    second = await browser.fetch_form("/two")
    assert where(await browser.post(second)) == "/two"
    assert where(await browser.post(first)) == "/one"
    again = await browser.send(f"https://{OTHER}{LOGIN}?rd=/three")
    assert where(again) == "/three"


# One session


@pytest.mark.parametrize("at", [PORTAL, OTHER])
async def test_a_logout_anywhere_ends_the_session_everywhere(fronts: Build, at: str) -> None:
    _, browser = await arrived(fronts)
    for host in (OTHER, THIRD):
        await browser.come_in("/", host)
    page = await browser.send(f"https://{at}{LOGOUT}")
    assert b"alice" in page.body
    rd = quote(f"https://{THIRD}/public/", safe="")
    site = (b"sec-fetch-site", b"same-origin")
    out = await browser.send(f"https://{at}{LOGOUT}?rd={rd}", site, *NAVIGATES, form={"a": "b"})
    assert (out.status, where(out)) == (303, f"https://{THIRD}/public/")
    for host in (OTHER, THIRD):
        assert not await browser.may(host)
    onward = await browser.start()
    assert where(await browser.send(onward)).startswith(LOGIN)


@pytest.mark.parametrize("attack", [*ATTACKS, f"http://{OTHER}/", f"https://{OTHER}.evil.test/"])
async def test_a_logout_leads_to_no_other_place(fronts: Build, attack: str) -> None:
    """CVE-2021-29456."""
    browser = Browser(await build(fronts))
    site = (b"sec-fetch-site", b"same-origin")
    for host in (PORTAL, OTHER):
        page = f"https://{host}{LOGOUT}?{urlencode({'rd': attack})}"
        out = await browser.send(page, site, *NAVIGATES, form={"a": "b"})
        assert (out.status, where(out)) == (303, LOGIN)


async def test_the_end_of_a_session_ends_it_on_other_hosts(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    await browser.come_in()
    user = await front.accounts.users.get("alice")
    (session,) = await front.accounts.sessions.list(user, front.clock())
    await front.accounts.users.ban("alice", front.clock(), actor=OWNER)
    assert not await browser.may(OTHER)
    await front.accounts.users.unban("alice", front.clock(), actor=OWNER)
    assert await browser.may(OTHER)
    await front.accounts.sessions.end(session, front.clock())
    assert not await browser.may(OTHER)


async def test_a_new_token_invalidates_codes_and_tokens_of_other_hosts(
    fronts: Build,
) -> None:
    """Like every other copy of the old token, after a changed password or a second factor."""
    front, browser = await arrived(fronts)
    await browser.come_in()
    form = await browser.fetch_form("/", THIRD)
    user = await front.accounts.users.get("alice")
    (session,) = await front.accounts.sessions.list(user, front.clock())
    await front.accounts.sessions.prove(session, front.clock(), renew=True)
    assert not await browser.may(OTHER)
    assert (await browser.post(form)).status == 403


async def test_activity_on_any_host_keeps_the_session_alive(fronts: Build) -> None:
    front, browser = await arrived(fronts, sessions={"idle_timeout": "1h"})
    await browser.come_in()
    for _ in range(3):
        front.clock.now += 1800
        assert await browser.may(OTHER)
        await front.app._flush()
    front.clock.now += 3700
    assert not await browser.may(OTHER)


# A stolen cookie


async def test_a_cookie_is_invalid_on_another_host(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    await browser.come_in()
    value = browser.jar[OTHER][HOST_COOKIE]
    for name in (HOST_COOKIE, "__Secure-doorward", "__Host-doorward", "doorward"):
        thief = Browser(front, {host: {name: value} for host in (PORTAL, THIRD)})
        assert not await thief.may(THIRD)
        page = await thief.send(f"https://{PORTAL}/.doorward/account")
        assert where(page).startswith(LOGIN)
    token = value.partition(".")[0].encode()
    for host in (PORTAL, OTHER, THIRD):
        bearer = (b"authorization", b"Bearer " + token)
        lines = [(b"host", b"d"), (b"x-forwarded-for", b"192.0.2.9"), bearer]
        lines += forwarded(host=host)
        asked = scope("/.doorward/verify/traefik", lines, peer=PROXY)
        assert (await ask(front.app, asked)).status in (401, 403)


async def test_the_cookie_of_a_host_gives_no_access_to_doorwards_pages(
    fronts: Build, origin: Origin
) -> None:
    _, browser = await arrived(fronts, origin=origin)
    await browser.come_in()
    page = await browser.send(f"https://{OTHER}/.doorward/account")
    assert where(page).startswith(LOGIN)
    led = await browser.send(f"https://{OTHER}{where(page)}")
    assert where(led) == f"https://{PORTAL}/.doorward/account"
    factor = await browser.send(f"https://{OTHER}/.doorward/second-factor?rd=/x")
    rd = quote(f"https://{OTHER}/x", safe="/")
    assert where(factor) == f"https://{PORTAL}/.doorward/second-factor?rd={rd}"
    listed = await browser.send(f"https://{OTHER}/xhr/session", (b"accept", b"application/json"))
    assert listed.status == 401


async def test_the_portals_cookie_is_invalid_as_a_host_cookie(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    value = browser.jar[PORTAL]["__Secure-doorward"]
    thief = Browser(front, {OTHER: {HOST_COOKIE: value}})
    assert not await thief.may(OTHER)


# A code


async def test_a_code_works_once(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    form = await browser.fetch_form()
    nonce = browser.jar[OTHER][NONCE]
    assert (await browser.post(form)).status == 303
    again = Browser(front, {OTHER: {NONCE: nonce}})
    refused = await again.post(form)
    assert refused.status == 403
    assert HOST_COOKIE not in again.jar[OTHER]


async def test_concurrent_uses_of_a_code_succeed_once(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    form = await browser.fetch_form()
    nonce = browser.jar[OTHER][NONCE]
    many = [Browser(front, {OTHER: {NONCE: nonce}}) for _ in range(8)]
    statuses = await asyncio.gather(*(one.post(form) for one in many))
    assert sorted(one.status for one in statuses) == [303, *[403] * 7]


async def test_a_code_expires_after_a_minute(fronts: Build) -> None:
    """CVE-2025-64708: expiry must not depend on a clean-up."""
    front, browser = await arrived(fronts)
    form = await browser.fetch_form()
    front.clock.now += 59
    late = await browser.fetch_form()
    front.clock.now += 2
    assert (await browser.post(form)).status == 403
    assert (await Browser(front, browser.jar).post(late)).status == 403  # its nonce was deleted


async def test_a_code_issued_while_the_clock_was_ahead_is_expired(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    form = await browser.fetch_form()
    front.clock.now -= 600
    assert (await browser.post(form)).status == 403


async def test_a_code_is_for_one_host(fronts: Build) -> None:
    _, browser = await arrived(fronts)
    form = await browser.fetch_form("/", OTHER)
    browser.jar[THIRD] = {NONCE: browser.jar[OTHER][NONCE]}
    assert (await browser.post(form, f"https://{THIRD}{HANDOVER}")).status == 403
    assert (await browser.post(form)).status == 403  # and it is used up
    assert (await browser.post(form, f"https://{PORTAL}{HANDOVER}")).status == 404


async def test_an_attackers_link_does_not_log_in_its_visitor(fronts: Build) -> None:
    """CVE-2017-1000069: an attacker's own code in another user's browser."""
    front, attacker = await arrived(fronts)
    form = await attacker.fetch_form()
    victim = Browser(front)
    assert (await victim.post(form)).status == 403
    assert (await attacker.post(form)).status == 403  # used up, although the victim had no nonce
    await attacker.start()
    form = await attacker.fetch_form()
    await victim.start()  # it has its own nonce
    assert (await victim.post(form)).status == 403
    assert HOST_COOKIE not in victim.jar[OTHER]
    assert not await victim.may(OTHER)


async def test_a_code_is_bound_to_the_browser_of_its_challenge(fronts: Build) -> None:
    """CVE-2025-52553: the victim's code is bound to the victim's browser."""
    _, victim = await arrived(fronts)
    query = urlencode({"challenge": build_challenge(make_nonce()), "rd": f"https://{OTHER}/"})
    page = await victim.send(f"https://{PORTAL}{HANDOVER}?{query}")
    assert (await victim.post(read_form(page))).status == 403


@pytest.mark.parametrize("nonces", [["a" * 43, "b" * 43], ["x"], ["a" * 43]])
async def test_a_missing_wrong_or_repeated_nonce_is_refused(
    fronts: Build, nonces: list[str]
) -> None:
    _, browser = await arrived(fronts)
    form = await browser.fetch_form()
    nonce = browser.jar[OTHER].pop(NONCE)
    line = "; ".join(f"{NONCE}={one}" for one in (*nonces, nonce)[-2:])
    fields = {name: form[name] for name in ("code", "rd")}
    answer = await browser.send(form["action"], (b"cookie", line.encode()), form=fields)
    assert answer.status == 403


async def test_a_pending_session_is_not_handed_over(fronts: Build) -> None:
    """CVE-2026-32246."""
    front, _ = await arrived(fronts)
    pending = replace((await front.opened()).session, level=PENDING)
    with pytest.raises(SessionNotFound):
        await front.accounts.handovers.issue(pending, OTHER, "c" * 43, front.clock())


async def test_a_banned_users_code_is_refused(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    form = await browser.fetch_form()
    await front.accounts.users.ban("alice", front.clock(), actor=OWNER)
    assert (await browser.post(form)).status == 403


async def test_codes_per_session_are_limited(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    forms = []
    for number in range(10):
        forms.append(await browser.fetch_form(f"/{number}"))
        front.clock.now += 1
    nonce = browser.jar[OTHER][NONCE]
    taken = [Browser(front, {OTHER: {NONCE: nonce}}) for _ in forms]
    statuses = [(await one.post(form)).status for one, form in zip(taken, forms, strict=True)]
    assert statuses == [403, 403, *[303] * 8]


@pytest.mark.parametrize("attack", ["", "x" * 43, "é" * 43, "\0" * 43, "x" * 5000])
async def test_nonsense_is_refused(fronts: Build, attack: str) -> None:
    _, browser = await arrived(fronts)
    form = await browser.fetch_form()
    assert (await browser.post(form | {"code": attack})).status == 403


# Return addresses


@pytest.mark.parametrize("attack", ATTACKS, ids=ascii)
async def test_no_attack_redirects_elsewhere(fronts: Build, attack: str) -> None:
    """CVE-2017-1000070, CVE-2020-5233, CVE-2021-29651: the corpus for all return addresses."""
    _, browser = await arrived(fronts)
    challenge = build_challenge(make_nonce())
    behind = [f"https://{OTHER}{attack}"] if attack.startswith("/") else []
    for rd in (attack, *behind):
        query = urlencode({"challenge": challenge, "rd": rd})
        page = await browser.send(f"https://{PORTAL}{HANDOVER}?{query}")
        assert page.status == 400
    form = await browser.fetch_form()
    assert where(await browser.post(form | {"rd": attack})) == "/"
    started = await browser.send(f"https://{THIRD}{LOGIN}?{urlencode({'rd': attack})}")
    rd = quote(f"https://{THIRD}/", safe="/")
    assert where(started).startswith(f"https://{PORTAL}{HANDOVER}?")
    assert where(started).endswith(f"&rd={rd}")


@pytest.mark.parametrize(
    "rd",
    [
        "/page",
        f"https://{PORTAL}/",
        "https://app.example.com/",
        f"http://{OTHER}/",
        f"https://{OTHER}.evil.test/",
        f"https://evil{OTHER}/",
        f"https://{OTHER}@evil.test/",
    ],
)
async def test_only_configured_hosts_get_sessions(fronts: Build, rd: str) -> None:
    _, browser = await arrived(fronts)
    query = urlencode({"challenge": build_challenge(make_nonce()), "rd": rd})
    page = await browser.send(f"https://{PORTAL}{HANDOVER}?{query}")
    assert page.status == 400


@pytest.mark.parametrize("challenge", ["", "x", "x" * 44, "é" * 43, "a" * 42 + "="])
async def test_a_malformed_challenge_is_refused(fronts: Build, challenge: str) -> None:
    _, browser = await arrived(fronts)
    query = urlencode({"challenge": challenge, "rd": f"https://{OTHER}/"})
    assert (await browser.send(f"https://{PORTAL}{HANDOVER}?{query}")).status == 400


async def test_without_the_setting_there_is_no_such_page(fronts: Build) -> None:
    front = await build(fronts, handover="off")
    await front.accounts.users.add("alice", "correct horse", now=front.clock())
    browser = Browser(front)
    await browser.log_in("/")
    query = urlencode({"challenge": build_challenge(make_nonce()), "rd": f"https://{OTHER}/"})
    assert (await browser.send(f"https://{PORTAL}{HANDOVER}?{query}")).status == 404
    assert (await browser.send(f"https://{OTHER}{LOGIN}")).status == 200


# Audit records


async def test_handovers_are_recorded(fronts: Build) -> None:
    front, browser = await arrived(fronts)
    query = urlencode({"challenge": build_challenge(make_nonce()), "rd": f"https://{OTHER}/"})
    form = await browser.fetch_form()
    await browser.post(form)
    form = read_form(await browser.send(f"https://{PORTAL}{HANDOVER}?{query}"))
    await Browser(front, {OTHER: {NONCE: "n" * 43}}).post(form)
    found = await front.accounts.audit_log.latest(RecordFilter(), 10)
    kinds = (Kind.HANDED_OVER, Kind.HANDOVER_FAILED)
    events = [one.event for one in found if one.event.kind in kinds]
    told = [(one.kind, one.subject, one.detail, one.address, one.outcome) for one in events]
    assert told == [
        (Kind.HANDED_OVER, "alice", OTHER, "192.0.2.9", "done"),
        (Kind.HANDOVER_FAILED, "alice", OTHER, "192.0.2.9", "refused"),
    ]


async def test_another_site_cannot_lock_a_visitor_out(fronts: Build) -> None:
    """Any page can have a visitor's browser send codes; that must neither keep the visitor's
    network from logging in (CVE-2026-77561) nor fill the records."""
    front, browser = await arrived(fronts, regulation={"network_attempts": 3})
    for number in range(5):
        await browser.start()  # with a nonce
        guess = {"action": f"https://{OTHER}{HANDOVER}", "code": f"{number}" * 43, "rd": "/"}
        assert (await browser.post(guess)).status == 403
    assert (await Browser(front).log_in("/")).status == 303
    kinds = [one.event.kind for one in await front.accounts.audit_log.latest(RecordFilter(), 20)]
    assert not {Kind.HANDOVER_FAILED, Kind.LOCKED_OUT} & set(kinds)
    assert (await browser.come_in()).status == 303


# Settings


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"handover": {"hosts": [PORTAL]}}, "handover.hosts[0]"),
        ({"handover": {"hosts": ["app.example.com"]}}, "handover.hosts[0]"),
        ({"handover": {"hosts": [OTHER, "unknown.test"]}}, "handover.hosts[1]"),
        ({"handover": {"hosts": []}}, "handover.hosts"),
        (
            {"sessions": {"cookie": {"domain": "example.com", "same_site": "strict"}}},
            "sessions.cookie.same_site",
        ),
    ],
)
def test_a_handover_that_cannot_work_is_an_error(
    tmp_path: Path, values: dict[str, Any], key: str
) -> None:
    chosen: dict[str, Any] = {
        "public_url": f"https://{PORTAL}",
        "sessions": {"cookie": {"domain": "example.com"}},
        "handover": {"hosts": [OTHER]},
        "routes": [{"host": host, "upstream": "http://127.0.0.1:9"} for host in (PORTAL, OTHER)],
    }
    settings_from(chosen, tmp_path)
    with pytest.raises(InvalidSettings) as invalid:
        settings_from(chosen | values, tmp_path)
    assert [fault.key for fault in invalid.value.faults] == [key]
