"""An operator's own decision in Python: imported by name, and called with a time limit.

Knows functions, threads and time; must not know what is decided. Any error is a `PolicyFailed`, and
thus a refusal.
"""

import asyncio
import importlib
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from doorward.gate.policy_gate import PolicyFailed
from doorward.policy import Allow, Deny, Identity, Request
from doorward.settings import Fault, InvalidSettings, Settings

# Blocking functions run in threads, so that they do not block the event loop. A call that times out
# keeps its thread until it returns. Further calls wait, and calls beyond these limits are refused.
THREADS = 8
CALLS = 256

_Job = tuple["Future[Any]", Callable[[], Any]]


def load_policy(settings: Settings) -> Callable[..., Any] | None:
    """The function that `access.decide` names, or None. Raises InvalidSettings."""
    name = settings.access.decide
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        inspect.signature(found).bind(None, None)
    except (Exception, SystemExit) as error:  # including the module's own errors
        message = f"{name} cannot be used: {type(error).__name__}: {error}"
        hint = "name a function of two arguments that Python can import, such as policy:decide"
        raise InvalidSettings([Fault("access.decide", None, message, hint)]) from error
    decide: Callable[..., Any] = found
    return decide


class PolicyFunction:
    """Calls the function: a coroutine function in the event loop, any other in a thread."""

    def __init__(self, decide: Callable[..., Any], timeout_s: float) -> None:
        self._decide = decide
        self._timeout_s = timeout_s
        call = getattr(decide, "__call__", None)  # noqa: B004 - of an object, it may be one
        self._is_async = inspect.iscoroutinefunction(decide) or inspect.iscoroutinefunction(call)
        self._room = threading.BoundedSemaphore(CALLS)
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def ask(self, request: Request, identity: Identity | None) -> Allow | Deny | None:
        """The function's answer. Raises PolicyFailed."""
        try:
            if self._is_async:
                found = await self._ask_coroutine(request, identity)
            else:
                found = await self._ask_thread(request, identity)
        except PolicyFailed:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the request has ended
            raise _failed(error) from error
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise _failed(error) from error
        if found is None or isinstance(found, Allow | Deny):
            return found
        if inspect.iscoroutine(found):
            found.close()
        raise PolicyFailed(f"it returned {type(found).__name__}, not Allow, Deny or None")

    async def _ask_coroutine(self, request: Request, identity: Identity | None) -> Any:
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                found = await self._decide(request, identity)
        except TimeoutError:
            if limit.expired():
                raise self._late() from None
            raise
        if limit.expired():  # the function suppressed the cancellation
            raise self._late()
        return found

    async def _ask_thread(self, request: Request, identity: Identity | None) -> Any:
        if not self._room.acquire(blocking=False):
            raise PolicyFailed(f"{CALLS} calls are already running or waiting")
        future: Future[Any] = Future()
        future.add_done_callback(lambda done: self._room.release())
        while len(self._threads) < THREADS:
            # Daemon threads, so that a call that never returns does not delay a stop.
            thread = threading.Thread(target=_work, args=(self._jobs,), daemon=True, name="policy")
            self._threads.append(thread)
            thread.start()
        self._jobs.put((future, lambda: self._decide(request, identity)))
        waiting = asyncio.wrap_future(future)
        try:
            await asyncio.wait((waiting,), timeout=self._timeout_s)
            if future.done():  # even if the event loop was blocked past the limit
                return await waiting
            raise self._late()
        finally:
            waiting.cancel()  # drops a call that still waits for a thread

    def _late(self) -> PolicyFailed:
        return PolicyFailed(f"it took longer than {self._timeout_s:g} s")


def _failed(error: BaseException) -> PolicyFailed:
    return PolicyFailed(f"it raised {type(error).__name__}: {error}")


def _work(jobs: "SimpleQueue[_Job]") -> None:
    while True:
        future, call = jobs.get()
        if not future.set_running_or_notify_cancel():
            continue  # no request waits for it any more
        try:
            future.set_result(call())
        except BaseException as error:  # SystemExit would end the process
            future.set_exception(_failed(error))
        del future, call
