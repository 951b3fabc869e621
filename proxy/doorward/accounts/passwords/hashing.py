"""Makes, verifies and renews password hashes, in a few threads so that logins do not delay other
requests.

Knows hash formats; must not know users. Doorward's own format is argon2id over the lower-case
SHA-256 hex of the password, because one documented API sends only that.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from doorward.accounts.passwords import imported
from doorward.accounts.passwords.strength import LEAST, compute_score
from doorward.accounts.refusals import InvalidCredentials, InvalidHash, Overloaded, WeakPassword
from doorward.accounts.user import NewPassword

# OWASP's argon2id parameters at t=2. The library's default, t=3, 64 MiB and four lanes, suits a
# machine that does nothing else.
TIME_COST = 2
MEMORY_KIB = 19 * 1024
LANES = 1

OURS = "argon2id-sha256"
# A hash from a file may be Doorward's or another tool's: try the SHA-256 hex, then the password.
FILE = "argon2id-file"

# Every failure (unknown name, wrong password, disabled user) costs this many hashes for each form
# of the password; otherwise the time of the answer would reveal the reason (CVE-2026-77582). Two,
# because a FILE hash takes two tries.
HASHES_PER_FAILURE = 2

# Longer passwords are refused without hashing. SHA-crypt and apr1 take time in proportion to the
# length.
PASSWORD_BYTES = 1024
DECOY = "0" * 64  # as long as the digests that are usually hashed
LEAST_CHARACTERS = 8  # NIST SP 800-63B 5.1.1.2

TOO_SHORT = f"A password has at least {LEAST_CHARACTERS} characters."
TOO_LONG = f"A password has at most {PASSWORD_BYTES:,} bytes."
GUESSABLE = "This password is too easy to guess. Choose another one."
SAME = "This is your current password."

THREADS = 2
QUEUE = 256  # waiting jobs, about five seconds of work; more are Overloaded

UNMEASURED_S = 0.1  # assumed duration of a failure until one was measured

Result = TypeVar("Result")
Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class PasswordVerdict:
    """`rehash` replaces a stored hash in an outdated format. `hashes` is how many hashes of
    Doorward's cost were computed; for another hash, `tries` is how many of the kind `spent`."""

    ok: bool
    rehash: str | None = field(default=None, repr=False)
    hashes: int = 0
    spent: str | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class PasswordDigest:
    """A password of which only the lower-case SHA-256 hex was sent; it can only match Doorward's
    own hashes."""

    hex: str = field(repr=False)


Password = str | PasswordDigest


def list_forms(password: Password) -> tuple[Password, ...]:
    """The password as typed and, where that differs, in NFC (SP 800-63B 5.1.1.2, RFC 8265 4.2).

    Keyboards differ in whether they compose an accented letter. An extremely long password is used
    unchanged, because normalizing it could take seconds."""
    if isinstance(password, PasswordDigest):
        return (password,)
    return tuple(dict.fromkeys((password, compose(password))))


def sha256_hex(password: str) -> str:
    """The digest form of a password, over exactly these bytes, not normalized."""
    # JSON can contain a lone surrogate; that is a wrong password, not an error.
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).hexdigest()


def compute_digest(password: Password) -> str:
    return password.hex if isinstance(password, PasswordDigest) else sha256_hex(password)


def is_too_long(password: Password) -> bool:
    if isinstance(password, PasswordDigest):
        password = password.hex
    return len(password) > PASSWORD_BYTES or (
        len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES
    )


def compose(password: str) -> str:
    """The password as it is stored: in NFC, unless it is extremely long."""
    return password if is_too_long(password) else unicodedata.normalize("NFC", password)


def _check_length(password: str) -> None:
    if is_too_long(password) or is_too_long(compose(password)):
        raise WeakPassword(TOO_LONG)
    if len(compose(password)) < LEAST_CHARACTERS:
        raise WeakPassword(TOO_SHORT)


class Passwords:
    """The pool. Every method raises Overloaded if too many jobs wait."""

    def __init__(
        self,
        threads: int = THREADS,
        queue: int = QUEUE,
        *,
        sleep: Sleep = asyncio.sleep,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`sleep` and `timer` are for `pause`, in seconds."""
        self._hasher = PasswordHasher(TIME_COST, MEMORY_KIB, LANES, type=Type.ID)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._places = threading.Semaphore(threads + queue)
        self._sleep = sleep
        self._timer = timer
        self._failure_s = UNMEASURED_S
        self._own_cost = f"argon2 m={MEMORY_KIB},t={TIME_COST},p={LANES}"
        self._kinds: dict[str, str] = {}  # kind → a hash of it, if any user had one

    def expect(self, stored: Iterable[tuple[str, str]]) -> None:
        """Add the kinds of hashes in use, from their schemes and hashes. Failures cost the hashes
        of each kind too; otherwise the time of the answer would reveal which users were imported
        and have not logged in since, or have a hash of another cost in a file."""
        for scheme, one in stored:
            self._expect(scheme, one)

    def _expect(self, scheme: str, stored: str) -> str | None:
        """Also returns the kind."""
        kind = self._find_kind(scheme, stored)
        if kind is not None:
            self._kinds.setdefault(kind, stored)
        return kind

    def _find_kind(self, scheme: str, stored: str) -> str | None:
        """What determines the time that a hash takes. None if that is the time of Doorward's own,
        or if it is refused because it would take too long."""
        if not self.takes_digests(scheme):
            return scheme
        try:
            cost = imported.get_scheme(stored)
        except InvalidHash:
            return None
        return None if cost == self._own_cost else f"{FILE} {cost}"

    async def new(
        self,
        password: str,
        words: Sequence[str] = (),
        current: tuple[str, str] | None = None,
        *,
        allow_guessable: bool = False,
    ) -> NewPassword:
        """A hash of scheme OURS, over the password in NFC. `words` are obvious guesses for this
        user; `current` is the stored hash that it replaces, with its scheme. Raises WeakPassword if
        the password is too short, too long, easy to guess, or the current one."""
        _check_length(password)
        return await self._run(lambda: self._new(password, words, current, allow_guessable))

    async def verify(
        self, stored: str, scheme: str, password: Password, *, renew: bool = True
    ) -> PasswordVerdict:
        """Whether the password is the stored one, in any of its forms. Without `renew`, an outdated
        hash is not replaced.

        Raises InvalidCredentials if it is extremely long."""
        if is_too_long(password):
            raise InvalidCredentials("too_long")
        return await self._run(
            lambda: self._time(lambda: self._verify(stored, scheme, password, renew))
        )

    @staticmethod
    def takes_digests(scheme: str) -> bool:
        """Whether the SHA-256 hex of a password is enough to verify it."""
        return scheme in (OURS, FILE)

    async def verify_digest(self, stored: str, scheme: str, digest: str) -> bool:
        """Whether this is the lower-case SHA-256 hex of the stored password."""
        if not self.takes_digests(scheme):
            return False
        return await self._run(lambda: self._matches(stored, digest))

    async def waste(self, password: Password = "", spent: PasswordVerdict | None = None) -> None:
        """Compute as many hashes as a failure with this password costs, less those behind the
        verdict."""
        if spent is not None:
            await self._run(lambda: self._fail(password, spent))
        else:
            await self._run(
                lambda: self._time(lambda: self._fail(password, PasswordVerdict(False)))
            )

    async def pause(self) -> None:
        """Wait as long as a failure takes, without hashing, for attempts during a lock-out."""
        await self._sleep(self._failure_s)

    def close(self) -> None:
        """Let running jobs finish, and drop the waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _run(self, job: Callable[[], Result]) -> Result:
        if not self._places.acquire(blocking=False):
            raise Overloaded
        try:
            future = self._pool.submit(job)
        except BaseException:
            self._places.release()
            raise
        # The place is free again when the thread is done, or when the job of a cancelled request
        # leaves the queue; not when the request is cancelled.
        future.add_done_callback(self._give_back)
        return await asyncio.wrap_future(future)

    def _give_back(self, _: Future[Result]) -> None:
        self._places.release()

    def _time(self, judge: Callable[[], PasswordVerdict]) -> PasswordVerdict:
        """The verdict. Also updates the average duration of failures, in which recent ones count
        more."""
        begun = self._timer()
        verdict = judge()
        if not verdict.ok:
            self._failure_s += (self._timer() - begun - self._failure_s) / 4
        return verdict

    def _new(
        self,
        password: str,
        words: Sequence[str],
        current: tuple[str, str] | None,
        allow_guessable: bool,
    ) -> NewPassword:
        if not allow_guessable and compute_score(compose(password), words) < LEAST:
            raise WeakPassword(GUESSABLE)
        # Last, as a link that was mailed outlives a refusal: its holder must not try a list of
        # common passwords to learn which one is the current one.
        if current is not None and self._is(password, *current):
            raise WeakPassword(SAME)
        return NewPassword(self._make(compose(password)), OURS)

    def _is(self, password: str, stored: str, scheme: str) -> bool:
        """Whether this is the stored password, for a caller that may change it. A mismatch is not a
        failed login, and need not cost as much."""
        if self.takes_digests(scheme):
            return any(self._matches(stored, form) for form in _forms(scheme, password))
        return any(imported.matches(stored, scheme, _text(one)) for one in list_forms(password))

    def _make(self, password: Password) -> str:
        return self._hasher.hash(compute_digest(password))

    def _verify(self, stored: str, scheme: str, password: Password, renew: bool) -> PasswordVerdict:
        if not self.takes_digests(scheme):
            return self._verify_imported(stored, scheme, password, renew)
        kind = self._expect(scheme, stored)
        tries = 0
        for form in _forms(scheme, password):
            tries += 1
            if self._matches(stored, form):
                rehash = self._renew(stored, scheme, form) if renew else None
                own = (tries if kind is None else 0) + (rehash is not None)
                return PasswordVerdict(True, rehash, own, kind, 0 if kind is None else tries)
        if kind is None:
            return self._fail(password, PasswordVerdict(False, hashes=tries))
        return self._fail(password, PasswordVerdict(False, spent=kind, tries=tries))

    def _verify_imported(
        self, stored: str, scheme: str, password: Password, renew: bool
    ) -> PasswordVerdict:
        self._expect(scheme, stored)
        tries = 0
        for reading in list_forms(password):
            if isinstance(reading, PasswordDigest):  # no hash was computed
                continue
            tries += 1
            if imported.matches(stored, scheme, reading):
                rehash = self._make(list_forms(password)[-1]) if renew else None
                return PasswordVerdict(True, rehash, int(renew), scheme, tries)
        return self._fail(password, PasswordVerdict(False, spent=scheme, tries=tries))

    def _matches(self, stored: str, form: str) -> bool:
        try:
            return self._hasher.verify(stored, form.encode("utf-8", "surrogatepass"))
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError, UnicodeError):
            self._waste(1)  # it could not be read, so nothing was hashed
            return False

    def _renew(self, stored: str, scheme: str, digest: str) -> str | None:
        """A hash to replace the stored one. None for hashes in files, which Doorward does not
        change."""
        if scheme == FILE or not self._hasher.check_needs_rehash(stored):
            return None
        return self._hasher.hash(digest)

    def _fail(self, password: Password, spent: PasswordVerdict) -> PasswordVerdict:
        """Compute the hashes that a failure still lacks; every form of the password costs the same.

        Hashes the password that was sent: other programs' hashes take longer for a longer password,
        and the difference would reveal which user has which kind of hash."""
        hashes = HASHES_PER_FAILURE * len(list_forms(password))
        self._waste(hashes - spent.hashes)
        for kind, stored in list(self._kinds.items()):
            self._waste_kind(kind, stored, password, spent.tries if kind == spent.spent else 0)
        return PasswordVerdict(False, hashes=hashes, spent=spent.spent, tries=hashes)

    def _waste_kind(self, kind: str, stored: str, password: Password, tries: int) -> None:
        if kind.startswith(FILE):
            forms = list(_forms(FILE, password))
            for form in forms[tries:]:
                self._matches(stored, form)
            return
        for reading in list_forms(password)[tries:]:
            imported.matches(stored, kind, _text(reading))

    def _waste(self, hashes: int) -> None:
        for _ in range(hashes):
            self._hasher.hash(DECOY)


def _text(password: Password) -> str:
    return password.hex if isinstance(password, PasswordDigest) else password


def _forms(scheme: str, password: Password) -> Iterable[str]:
    """The forms of a password that a hash of this scheme may be over."""
    for reading in list_forms(password):
        yield compute_digest(reading)
        if scheme == FILE and isinstance(reading, str):
            yield reading
