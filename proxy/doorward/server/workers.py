"""Several processes at one socket: started, restarted when they die, stopped together.

Knows processes and signals only; must not know what they serve. The parent never runs a loop or a
thread, so that forking from it is safe at any time.
"""

import os
import signal
import time
from collections.abc import Callable

import structlog

_log = structlog.get_logger("doorward.workers")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A worker with this status was refused its start: another one would be, too.
REFUSED = 2
# A worker that died sooner than this is started again only after a pause, each longer.
QUICK_S = 5.0
PAUSES_S = (0.1, 0.5, 2.0, 5.0)


def supervise(count: int, job: Callable[[int], int]) -> int:
    """Keep `count` processes at `job` until a signal says stop; returns the status to end with.

    `job` gets a file descriptor that ends when this process does, and returns its exit status.
    """
    return _Supervisor(count, job).run()


class _Supervisor:
    def __init__(self, count: int, job: Callable[[int], int]) -> None:
        self._count = count
        self._job = job
        self._started: dict[int, float] = {}  # by process id, monotonic seconds
        self._stopping = False
        self._quick_deaths = 0
        self._lifeline, self._end_of_line = os.pipe()

    def run(self) -> int:
        handlers = {number: signal.signal(number, self._stop) for number in SIGNALS}
        try:
            return self._keep()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(self._lifeline)
            os.close(self._end_of_line)

    def _keep(self) -> int:
        status = 0
        while True:
            while len(self._started) < self._count and not self._stopping:
                self._fork()
            if not self._started:
                return status
            process, raw = os.wait()
            lived_s = time.monotonic() - self._started.pop(process)
            if self._stopping:
                continue
            status = os.waitstatus_to_exitcode(raw)
            if status == REFUSED:
                self._stop()
            else:
                self._mourn(process, status, lived_s)
                status = 0

    def _mourn(self, process: int, status: int, lived_s: float) -> None:
        _log.error("worker_died", process=process, status=status, lived_s=round(lived_s, 1))
        self._quick_deaths = self._quick_deaths + 1 if lived_s < QUICK_S else 0
        if self._quick_deaths:
            time.sleep(PAUSES_S[min(self._quick_deaths, len(PAUSES_S)) - 1])

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for process in self._started:
            os.kill(process, signal.SIGTERM)

    def _fork(self) -> None:
        # A signal between the fork and the note of it would miss the new process.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process = os.fork()
            if process == 0:
                self._work()
            self._started[process] = time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _work(self) -> None:
        """The child's whole life: it never returns into the parent's code."""
        status = 1
        try:
            os.close(self._end_of_line)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            status = self._job(self._lifeline)
        except BaseException:
            _log.exception("worker_failed")
        finally:
            os._exit(status)
