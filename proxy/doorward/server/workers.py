"""Several processes on one socket: started, restarted when they die, stopped together.

Knows only processes and signals; must not know what they serve. The parent never runs a loop or a
thread, so that forking from it is always safe. It blocks its signals and waits for them one at a
time, so that none can arrive between a fork and its record.
"""

import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable

import structlog

_log = structlog.get_logger("doorward.workers")

HANG_UP = signal.SIGHUP
STOPS = frozenset((signal.SIGTERM, signal.SIGINT))
SIGNALS = STOPS | {HANG_UP, signal.SIGCHLD}
# A worker with this status was refused at its start; another one would be, too.
REFUSED = 2
# A worker that died sooner than this is started again only after a pause, which grows.
QUICK_S = 5.0
PAUSES_S = (0.1, 0.5, 2.0, 5.0)
NEVER_S = 3600.0  # some time or other; waiting is taken up again then


def ignored() -> None:
    """Log that SIGHUP has no effect; other programs read their configuration again."""
    _log.warning("signal_ignored", signal="SIGHUP", reason="restart to apply a new configuration")


def reap() -> list[tuple[int, int]]:
    """Reap dead children; returns their process ids and statuses. The first process of a container
    inherits those of others."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append((ended[0], os.waitstatus_to_exitcode(ended[1])))
    return found


def supervise(
    count: int, job: Callable[[int], int], when_stopping: Callable[[], None], stop_within_s: float
) -> int:
    """Keep `count` processes running `job` until a signal says stop; returns the exit status.

    `job` gets a file descriptor that ends when this process does, and returns its exit status.
    `when_stopping` is called before workers are told to stop; those that have not ended after
    `stop_within_s` are killed.
    """
    return _Supervisor(count, job, when_stopping, stop_within_s).run()


class _Supervisor:
    def __init__(
        self,
        count: int,
        job: Callable[[int], int],
        when_stopping: Callable[[], None],
        stop_within_s: float,
    ) -> None:
        self._count = count
        self._job = job
        self._when_stopping = when_stopping
        self._stop_within_s = stop_within_s
        self._started: dict[int, float] = {}  # by process id, monotonic seconds
        self._kill_at: float | None = None  # since it is stopping
        self._start_at = 0.0  # no worker before this
        self._quick_deaths = 0
        self._status = 0
        self._lifeline, self._end_of_line = os.pipe()

    def run(self) -> int:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        # otherwise its death would not be reported
        before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            return self._keep()
        finally:
            signal.signal(signal.SIGCHLD, before)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            os.close(self._lifeline)
            os.close(self._end_of_line)

    def _keep(self) -> int:
        while True:
            self._reap()
            now = time.monotonic()
            if self._kill_at is None and now >= self._start_at:
                while len(self._started) < self._count:
                    self._fork()
            elif self._kill_at is not None and not self._started:
                return self._status
            elif self._kill_at is not None and now >= self._kill_at:
                self._kill()
            self._heed(signal.sigtimedwait(SIGNALS, self._patience_s(now)))

    def _patience_s(self, now: float) -> float:
        """How long to wait for a signal."""
        if self._kill_at is not None:
            return max(self._kill_at - now, 0.0)
        return max(self._start_at - now, 0.0) if self._start_at > now else NEVER_S

    def _heed(self, found: signal.struct_siginfo | None) -> None:
        if found is None:
            return
        if found.si_signo in STOPS:
            self._stop()
        elif found.si_signo == HANG_UP:
            ignored()

    def _reap(self) -> None:
        """Record which workers are dead. Other children are ignored."""
        for process, status in reap():
            if (started := self._started.pop(process, None)) is not None:
                self._ended(process, status, started)

    def _ended(self, process: int, status: int, started: float) -> None:
        if self._kill_at is not None:
            return
        if status == REFUSED:
            self._status = status
            self._stop()
            return
        lived_s = time.monotonic() - started
        _log.error("worker_died", process=process, status=status, lived_s=round(lived_s, 1))
        self._quick_deaths = self._quick_deaths + 1 if lived_s < QUICK_S else 0
        if self._quick_deaths:
            pause_s = PAUSES_S[min(self._quick_deaths, len(PAUSES_S)) - 1]
            self._start_at = time.monotonic() + pause_s

    def _stop(self) -> None:
        """Tell the workers to stop; the second time, to hurry."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._stop_within_s
            self._when_stopping()
        for process in self._started:
            _signal(process, signal.SIGTERM)

    def _kill(self) -> None:
        for process in self._started:
            _log.error("worker_killed", process=process, reason="it did not stop in time")
            _signal(process, signal.SIGKILL)
        self._kill_at = time.monotonic() + NEVER_S
        self._status = self._status or 1

    def _fork(self) -> None:
        # Or the workers' collector would write to every page that they share.
        gc.collect()
        gc.freeze()
        process = os.fork()
        if process == 0:
            self._work()
        self._started[process] = time.monotonic()

    def _work(self) -> None:
        """The child's whole life: it never returns to the parent's code."""
        status = 1
        try:
            os.close(self._end_of_line)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for number in (signal.SIGINT, HANG_UP):  # a terminal sends these to the parent as well
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            status = self._job(self._lifeline)
        except BaseException:
            _log.exception("worker_failed")
        finally:
            os._exit(status)


def _signal(process: int, number: signal.Signals) -> None:
    """A worker may have ended, and have been reaped, just now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
