"""Forgotten passwords: a mailed link with which the user sets a new one, once.

It decides who gets a link and whether one is still valid; clients cannot find out either. It knows
no page and no wording.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
from typing import Protocol

from doorward.accounts.administration import Listings
from doorward.accounts.audit.audit_log import AuditLog, Kind, build_event
from doorward.accounts.factors.records import EMAIL
from doorward.accounts.factors.second_factor import SecondFactors
from doorward.accounts.keys import Keys
from doorward.accounts.mailer import Mailer
from doorward.accounts.passwords.regulation import get_network
from doorward.accounts.refusals import EnrolmentExpired, Refusal, UserNotFound
from doorward.accounts.sealing import Sealing, UnreadableSecret
from doorward.accounts.session import is_running
from doorward.accounts.user import DATABASE, User
from doorward.accounts.users.users import Users

PURPOSE = "forgotten password"
LIFETIME_S = 1800.0
PER_S = 3600.0
ASKED = 10  # per hour from one network, whatever is asked for
MAILED = 3  # mails to one user per hour, from all networks
AT_ONCE = 100  # mails being sent; a mail server that hangs blocks each for 20 s
BUSY_S = 5.0
CLOSING_S = 3.0
VOID = "This link is no longer valid. Ask for a new one."


class Usage(Protocol):
    """How often something was used."""

    @property
    def is_exceeded(self) -> bool: ...

    @property
    def resets_at(self) -> float: ...


class RateCounters(Protocol):
    """Implemented by `doorward.storage.rates`."""

    def count(self, key: str, limit: int, window_s: float, now: float) -> Usage:
        """Counts one use of `key`. Raises StorageUnavailable."""


class Forgotten:
    """`mailer` is None if no mail server is configured: then this is not offered.

    A link belongs to its user, its address and `User.version`: a new password, a ban or a reset of
    factors invalidates it, and so does its use (CVE-2023-26481).
    """

    __slots__ = (
        "_audit_log",
        "_counters",
        "_factors",
        "_listings",
        "_mailer",
        "_sealing",
        "_tasks",
        "_users",
    )

    def __init__(
        self,
        register: Listings,
        users: Users,
        factors: SecondFactors,
        mailer: Mailer | None,
        audit_log: AuditLog,
        counters: RateCounters,
        keys: Keys,
    ) -> None:
        self._listings = register
        self._users = users
        self._factors = factors
        self._mailer = mailer
        self._audit_log = audit_log
        self._counters = counters
        self._sealing = Sealing(keys, PURPOSE)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_offered(self) -> bool:
        return self._mailer is not None

    def ask(self, name: str, address: str, now: float) -> float | None:
        """Have a mail sent to the user with this name or address, if there is one who may get it,
        after this has returned: neither the answer nor its time reveals which (CVE-2023-39522).
        Returns None, or after how many seconds to ask again. Raises StorageUnavailable."""
        asked = self._counters.count(f"forgotten {get_network(address)}", ASKED, PER_S, now)
        if asked.is_exceeded:
            return asked.resets_at - now
        if len(self._tasks) >= AT_ONCE:
            return BUSY_S
        task = asyncio.get_running_loop().create_task(self._mail(name, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def settle(self) -> None:
        """Returns when every mail has been sent or has failed."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Waits a moment for mails that are being sent, then cancels them."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSING_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def whose(self, link: str, now: float) -> User:
        """The user whose password this link can change. Looking at it does not use it up, because
        mail servers open links. Raises EnrolmentExpired."""
        try:
            sealed = base64.urlsafe_b64decode(link.encode())
            public_id, version, address, until = json.loads(self._sealing.open(sealed, ""))
        except (UnreadableSecret, binascii.Error, ValueError) as fault:
            raise EnrolmentExpired(VOID) from fault
        user = await self._listings.user(public_id)
        if not is_running(until, now, LIFETIME_S):
            raise EnrolmentExpired(VOID)
        if user is None or (user.version, user.email) != (version, address):
            raise EnrolmentExpired(VOID)
        if not await self._may(user):
            raise EnrolmentExpired(VOID)
        return user

    async def use(self, link: str, password: str, now: float) -> User:
        """Sets the password and ends every session of the user; if a link is used twice, one
        attempt succeeds.

        Turns off codes by e-mail: somebody who can read the mail would have both factors. An
        authenticator app stays and is asked for. Raises EnrolmentExpired, WeakPassword, Overloaded.
        """
        user = await self.whose(link, now)
        try:
            new = await self._users.new_password(user, password)
            await self._users.change_password(user, new, now=now)
        except UserNotFound as refusal:
            raise EnrolmentExpired(VOID) from refusal
        if EMAIL in await self._factors.list_enabled(user):
            await self._factors.stop_mailing(user, now)
        return user

    async def _mail(self, name: str, now: float) -> None:
        with contextlib.suppress(Refusal):  # a mail server's refusal has been logged
            credential = await self._users.credential(name)
            user = None if credential is None else credential.user
            if user is None or user.email is None or not await self._may(user):
                return
            mails = self._counters.count(f"forgotten user {user.id}", MAILED, PER_S, now)
            if mails.is_exceeded or self._mailer is None:
                return
            link = self._link(user, now + LIFETIME_S)
            await self._mailer.send_reset(user.email, user.username, link, LIFETIME_S)
            await self._audit_log.record(build_event(Kind.RESET_MAILED, now, subject=user))

    async def _may(self, user: User) -> bool:
        """Whether a mail may replace this user's password: not if access to the mailbox would then
        be enough to log in."""
        if user.source != DATABASE or not user.is_usable:
            return False
        return await self._factors.list_enabled(user) != (EMAIL,)

    def _link(self, user: User, until: float) -> str:
        text = json.dumps([user.id, user.version, user.email, until]).encode()
        return base64.urlsafe_b64encode(self._sealing.seal(text, "")).decode()
