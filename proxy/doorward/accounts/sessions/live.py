"""The sessions of recent requests, cached in memory and kept up to date by the revocation feed.

Knows neither cookies nor storage's tables. Every session that it returns was confirmed by storage,
and was not revoked since by any call on this host that has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable

from doorward.accounts.session import CLOCKS_DIFFER_S
from doorward.accounts.sessions.feed import Feed, News
from doorward.accounts.sessions.sessions import Found, Session, Sessions
from doorward.bounds import make_room

# About 0.7 KiB each. When the cache is full, the oldest is dropped; it is read again when it is
# used.
SESSIONS_LIMIT = 20_000
# An application's own tokens that look like Doorward's; 43 bytes each.
UNKNOWN_LIMIT = 4096
# Tokens are random, so an unknown one never becomes valid later, except after a restore of a
# backup.
UNKNOWN_S = 60.0
# If storage has not answered for this long, nothing in memory is valid. The poll asks every second.
CONFIRMATION_S = 3.0


class Live:
    """A bounded cache from credential (what a request carries, mostly bytes) to session.

    `peek` never waits. `find` asks storage, and updates the cache first.
    """

    def __init__(self, sessions: Sessions, feed: Feed) -> None:
        self._sessions = sessions
        self._feed = feed
        self._cached: dict[Hashable, Session] = {}
        # Tuples: nearly all contain one credential, and a set takes four times the memory.
        self._of_session: dict[int, tuple[Hashable, ...]] = {}
        self._unknown: dict[Hashable, float] = {}  # until then storage need not be asked again
        self._used: dict[int, float] = {}
        self._number: int | None = None  # number of the newest applied entry of the feed
        self._marker = b""
        self._confirmed_at = float("-inf")
        self._epoch = 0  # increases whenever entries were applied
        # the read of the feed, for all who wait for it
        self._reading: asyncio.Future[None] | None = None

    @property
    def count(self) -> int:
        """The number of sessions in memory."""
        return len(self._of_session)

    def is_current(self, now: float) -> bool:
        """False if this host revoked something since, or storage has not answered for too long."""
        marker = self._feed.marker()
        return (
            marker == self._marker
            and marker != b""
            and 0 <= now - self._confirmed_at < CONFIRMATION_S
        )

    def state(self) -> tuple[int, bytes]:
        """Another value once something was revoked. What was found before and after a wait counts
        if it is the same."""
        return self._epoch, self._feed.marker()

    def peek(self, credential: Hashable, now: float) -> Session | None:
        """The live session of a cached credential, or None: then call `find`."""
        session = self._cached.get(credential)
        if session is None or not self.is_current(now) or not session.is_live(now):
            return None
        return session

    def is_unknown(self, credential: Hashable, now: float) -> bool:
        """Whether storage recently said that it has never known this token, so that it belongs to
        the application."""
        until = self._unknown.get(credential)
        return until is not None and 0 < until - now <= UNKNOWN_S and self.is_current(now)

    def note_unknown(self, credential: Hashable, now: float) -> None:
        """Storage has never known this; for a while it need not be asked again."""
        self._unknown.pop(credential, None)
        make_room(self._unknown, UNKNOWN_LIMIT)
        self._unknown[credential] = now + UNKNOWN_S

    def forget(self) -> None:
        """Look up every session in storage again, and check every credential's signature again.
        Sessions in use continue, as after a change of their own."""
        for session in self._cached.values():
            session.stale = True
        for index in (self._cached, self._of_session, self._unknown):
            index.clear()
        self._epoch += 1

    def use(self, session: Session, now: float) -> None:
        """Record the use of a session, which keeps it from expiring unused."""
        if now > session.last_used_at or now < session.last_used_at - CLOCKS_DIFFER_S:
            session.last_used_at = self._used[session.number] = now

    def last_used_at(self, session: Session) -> float:
        """When a session was last used, including uses that are not written yet."""
        return max(session.last_used_at, self._used.get(session.number, 0.0))

    async def find(self, credential: Hashable, token: str, now: float) -> Found:
        """The session of a token, from storage. Raises StorageUnavailable, so that no session is
        assumed."""
        found = await self.find_by(credential, lambda: self._sessions.by_token(token, now), now)
        if not found.known:
            self.note_unknown(credential, now)
        return found

    async def find_by(
        self, credential: Hashable, ask: Callable[[], Awaitable[Found]], now: float
    ) -> Found:
        """The session from this query to storage; `credential` is its cache key.

        If something was revoked during the query, it is repeated.
        """
        while True:
            await self.catch_up(now)
            state = self.state()
            found = await ask()
            if found.session is None:
                return found
            if self.state() == state:
                break  # otherwise a revocation may have been answered since the read
        session = self._share(found.session)
        if state[1] == self._marker:
            self._keep(credential, session)
        elif session.number not in self._of_session:
            session.stale = True
        return Found(session, known=True)

    def _share(self, session: Session) -> Session:
        """The cached session if another credential already has it, else the one just read."""
        for credential in self._of_session.get(session.number, ()):
            if self._cached[credential].expires_at == session.expires_at:
                return self._cached[credential]
            self._drop((credential,))  # its lifetime has been extended
        session.last_used_at = self.last_used_at(session)
        return session

    def _keep(self, credential: Hashable, session: Session) -> None:
        if self._cached.get(credential) is session:
            return
        if len(self._cached) >= SESSIONS_LIMIT:
            self._drop((next(iter(self._cached)),))
        self._drop((credential,))
        self._cached[credential] = session
        others = self._of_session.get(session.number, ())
        self._of_session[session.number] = (*others, credential)

    def _drop(self, credentials: Iterable[Hashable]) -> None:
        """A session is stale once none of its credentials is cached."""
        found = (self._cached.pop(credential, None) for credential in credentials)
        dropped = [session for session in found if session is not None]
        for number in {session.number for session in dropped}:
            left = tuple(one for one in self._of_session.pop(number) if one in self._cached)
            if left:
                self._of_session[number] = left
        for session in dropped:
            session.stale = session.number not in self._of_session

    async def catch_up(self, now: float) -> None:
        """Read the feed if it may have changed. Raises StorageUnavailable."""
        if self.is_current(now):
            return
        if self._reading is not None:  # started before this call, so it may miss the newest entries
            if await self._read_news(now) == self._feed.marker():
                return
        await self._read_news(now)

    def silence_s(self, now: float) -> float:
        """How long ago storage last answered."""
        return now - self._confirmed_at

    async def _read_news(self, now: float) -> bytes:
        """Apply what is new in the feed, in one read for all concurrent callers: its failure is
        theirs, too, so that nobody waits for one read after another. Returns the marker from before
        the read."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._apply_news(now))
            self._reading.add_done_callback(self._read)
        await asyncio.shield(self._reading)
        return self._marker

    def _read(self, reading: asyncio.Future[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # raised to the waiting callers, if there are any

    async def _apply_news(self, now: float) -> None:
        marker = self._feed.marker()
        if self._number is None:
            self._number = await self._feed.head()
        more = True
        while more:
            more = self._apply(await self._feed.news(self._number))
        self._marker = marker
        self._confirmed_at = now

    def _apply(self, news: News) -> bool:
        """Returns whether there is more."""
        self._number = news.number
        if news.everything:
            self.forget()
        elif news.sessions or news.users:
            gone = {c for number in news.sessions for c in self._of_session.get(number, ())}
            if news.users:  # rare, and 2 ms of searching: an index of users took 0.1 KiB a session
                users = news.users
                gone |= {c for c, one in self._cached.items() if one.user.number in users}
            self._drop(gone)
            self._epoch += 1
        return news.more

    async def poll(self, now: float) -> None:
        """Called once a second, whatever the marker says. Raises StorageUnavailable."""
        self._feed.check_file()
        if self._reading is not None:  # started before the entries that this poll must see
            await self._read_news(now)
        await self._read_news(now)
        if self._feed.write_fault() is not None:
            await self._feed.try_writing()

    def fault(self, now: float) -> str | None:
        """Why storage cannot serve requests at the moment, or None."""
        silence_s = self.silence_s(now)
        if not silence_s < CONFIRMATION_S:
            return f"storage has not answered for {silence_s:.0f} s"
        cause = self._feed.write_fault()
        return None if cause is None else f"storage cannot be written ({cause})"

    async def close(self) -> None:
        """Cancels a read of the feed; to be called before storage is closed."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def listen(self, clock: Callable[[], float]) -> None:
        """Polls as soon as another host changed something. Cancel it, or start it again when it
        raises StorageUnavailable."""
        while True:
            await self._feed.heard()
            await self.poll(clock())

    async def flush(self) -> None:
        """Write when sessions were last used, in one batch. Raises StorageUnavailable."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            # Tokens' uses, of negative numbers, are written with their addresses: see `TokenUses`.
            await self._sessions.touch([one for one in used.items() if one[0] > 0])
        except BaseException:
            self._used = used | self._used
            raise
