"""Logins during other traffic: a fixed number a second, each over its own connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from contestants import STORMER, log_in
from traffic import Header


@contextmanager
def storm(port: int, logins_per_s: int) -> Iterator[None]:
    """Log in at a steady pace, however long each login takes. Raises NotStarted if one is
    refused."""
    over = threading.Event()
    logins: list[Future[Header]] = []

    def rush() -> None:
        started = time.monotonic()
        while not over.wait(max(0, started + len(logins) / logins_per_s - time.monotonic())):
            logins.append(pool.submit(log_in, port, STORMER))

    with ThreadPoolExecutor(64) as pool:
        rusher = threading.Thread(target=rush)
        rusher.start()
        try:
            yield
        finally:
            over.set()
            rusher.join()
    for login in logins:
        login.result()
