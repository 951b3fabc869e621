"""What `doorward serve` does once its command line is read: checks, one process or several, and the
exit status. It must not know how serving works."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from doorward.accounts.refusals import Refusal
from doorward.app import folder_for_numbers, serve_app
from doorward.observe.logs import configure_logs
from doorward.server import ListenFault, fit_descriptors, open_listeners, supervise
from doorward.settings import InvalidSettings, Settings, list_unbuilt_keys
from doorward.start.preflight import check_files
from doorward.start.reports import read_settings, report_faults, say
from doorward.start.tables import prepare_tables
from doorward.storage import StorageFault

# How long a stop may take once the grace period is over, before workers are killed.
AFTER_GRACE_S = 1.7

UNUSABLE = 2  # the status if these settings cannot be served


class _NotStarted(Exception):
    """Said already."""


def serve(config: Path | None) -> int:
    """Serve as this file says until a signal; returns the exit status."""
    try:
        settings = read_settings(config)
    except InvalidSettings as error:
        report_faults(error)
        return UNUSABLE
    configure_logs(level=settings.log.level, format=settings.log.format)
    log = structlog.get_logger("doorward")
    if settings.file and settings.environment:
        log.info("settings_from_environment", variables=list(settings.environment))
    if unbuilt := list_unbuilt_keys(settings):
        log.warning("settings_without_effect", keys=list(unbuilt))
    return serve_settings(settings)


def serve_settings(settings: Settings, on_listening: Callable[[str], None] | None = None) -> int:
    """Serve until a signal; returns the exit status. If these settings cannot be served, that is 2,
    and one sentence says why."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # while it starts; then it is logged
    _open_standard_files()
    try:
        return _serve(settings, on_listening)
    except _NotStarted:
        return UNUSABLE


def _serve(settings: Settings, on_listening: Callable[[str], None] | None) -> int:
    def in_one_process(lifeline: int | None = None) -> int:
        with _report_faults():
            serve_app(
                settings,
                sockets,
                lifeline=lifeline,
                numbers=numbers,
                on_listening=on_listening,
            )
        return 0

    def in_a_worker(lifeline: int) -> int:
        try:
            return in_one_process(lifeline)
        except _NotStarted:
            return UNUSABLE

    with _report_faults():
        check_files(settings)
        numbers = None if settings.workers == 1 else folder_for_numbers(settings)
    settings = fit_descriptors(settings)
    with _report_faults(), open_listeners(settings) as sockets:
        prepare_tables(settings)
        if settings.workers == 1:
            return in_one_process()
        return supervise(
            settings.workers,
            in_a_worker,
            sockets.refuse,
            settings.shutdown.grace.total_seconds() + AFTER_GRACE_S,
        )


def _open_standard_files() -> None:
    """Take the places of closed standard files, or the database would be standard error, and get
    whatever is written there."""
    for file in range(3):
        try:
            os.fstat(file)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def _report_faults() -> Iterator[None]:
    """Turn what keeps Doorward from starting into sentences on standard error, and _NotStarted."""
    try:
        yield
    except InvalidSettings as fault:
        report_faults(fault)
    except (StorageFault, ListenFault, Refusal) as fault:
        say(str(fault))
    else:
        return
    raise _NotStarted
