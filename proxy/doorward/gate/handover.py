"""The cookie of a session that was handed over to a host of another root domain.

Knows its name and the hosts on which it is valid; must not know how a session gets there. The value
is invalid on any other host, and gives access to applications but not to Doorward's own pages.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from doorward.accounts.sessions.handover import NONCE_S, Handovers
from doorward.accounts.sessions.live import Live
from doorward.accounts.sessions.sessions import Found
from doorward.gate.cookies import (
    Cookies,
    Header,
    has_our_form,
    host_cookie,
    iterate_pairs,
    read_cookie,
)
from doorward.gate.rules import host_matches

_NONCE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Handed:
    """A value of this cookie, with its host. Used as a cache key, which no other carrier's bytes
    can be equal to."""

    host: str
    value: bytes


class HandoverCarrier:
    """`hosts`: those that sessions are handed over to, exact or `*.example.com`."""

    def __init__(
        self, hosts: Sequence[str], live: Live, handovers: Handovers, cookies: Cookies
    ) -> None:
        self._hosts = tuple(hosts)
        self._live = live
        self._handovers = handovers
        self._secure = cookies.secure
        self._same_site = cookies.same_site
        self._name = cookies.host_name
        self._mark = self._name.encode()
        self._nonce = "__Host-doorward-handover" if cookies.secure else "doorward-handover"

    def takes(self, host: str) -> bool:
        """Whether sessions are handed over to this host."""
        return any(host_matches(one, host) for one in self._hosts)

    # The session of a request

    def read(self, lines: Sequence[bytes], host: str) -> Handed | None:
        """The cookie, on a host where it is valid. None if there is none, or if two differ."""
        found = {
            value
            for line in lines
            if self._mark in line
            for _, name, value in iterate_pairs(line)
            if name == self._mark and has_our_form(value)
        }
        if len(found) != 1 or not self.takes(host):
            return None
        return Handed(host, found.pop())

    def open(self, handed: Handed) -> str | None:
        """The token in it. None if the value was not signed for its host."""
        return self._handovers.host_tokens.unsign(handed.value, handed.host)

    async def find(self, handed: Handed, token: str, now: float) -> Found:
        """Look the token up in storage. Raises StorageUnavailable."""
        ask = self._handovers.by_token
        found = await self._live.find_by(handed, lambda: ask(token, handed.host, now), now)
        if not found.known:
            self._live.note_unknown(handed, now)
        return found

    # Set-Cookie lines

    def set_line(self, token: str, host: str, max_age_s: float | None) -> Header:
        """Without an age, the cookie lasts until the browser closes."""
        signed = self._handovers.host_tokens.sign(token, host)
        age = "" if max_age_s is None else f"; Max-Age={max_age_s:.0f}"
        return self._line(self._name, f"{signed}{age}", self._same_site.capitalize())

    def expire_line(self) -> Header:
        return self._line(self._name, "; Max-Age=0", self._same_site.capitalize())

    def read_nonce(self, headers: Iterable[Header]) -> str | None:
        value = read_cookie(headers, self._nonce)
        return value if value is not None and _NONCE.fullmatch(value) else None

    def nonce_line(self, nonce: str) -> Header:
        """A page of another site posts the form, hence `SameSite=None`, which browsers only accept
        over https. Over http there is no attribute: then they send a new cookie with such a form
        for two minutes."""
        same_site = "None" if self._secure else ""
        return self._line(self._nonce, f"{nonce}; Max-Age={NONCE_S:.0f}", same_site)

    def expire_nonce_line(self) -> Header:
        return self._line(self._nonce, "; Max-Age=0", "None" if self._secure else "")

    def _line(self, name: str, value: str, same_site: str) -> Header:
        return host_cookie(name, value, same_site=same_site, secure=self._secure)
