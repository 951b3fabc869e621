"""`doorward serve`. It knows how a failed start is reported; must not know how serving works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from doorward.cli.options import ConfigOption, print_faults, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from doorward.settings import Settings


# How long a stop may take once the grace period is over, before workers are killed.
AFTER_GRACE_S = 1.7


def serve(config: ConfigOption = None) -> None:
    """Run Doorward until it gets SIGTERM or Ctrl-C."""
    import structlog

    from doorward.observe.logs import configure_logs
    from doorward.settings import list_unbuilt_keys

    settings = settings_or_exit(config)
    configure_logs(level=settings.log.level, format=settings.log.format)
    log = structlog.get_logger("doorward")
    if settings.file and settings.environment:
        log.info("settings_from_environment", variables=list(settings.environment))
    if unbuilt := list_unbuilt_keys(settings):
        log.warning("settings_without_effect", keys=list(unbuilt))
    serve_settings(settings)


def serve_settings(settings: Settings, on_listening: Callable[[str], None] | None = None) -> None:
    """Serve until a signal; status 2 and one sentence when these settings cannot be served."""
    import signal

    from doorward.app import folder_for_numbers, serve_app
    from doorward.cli.preflight import check_files
    from doorward.server import fit_descriptors, open_listeners, supervise

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # while it starts; then it is logged
    _open_standard_files()

    def in_one_process(lifeline: int | None = None) -> None:
        with _report_faults():
            serve_app(
                settings,
                sockets,
                lifeline=lifeline,
                numbers=numbers,
                on_listening=on_listening,
            )

    with _report_faults():
        check_files(settings)
        numbers = None if settings.workers == 1 else folder_for_numbers(settings)
    settings = fit_descriptors(settings)
    with _report_faults(), open_listeners(settings) as sockets:
        if settings.workers == 1:
            in_one_process()
        elif status := supervise(
            settings.workers,
            lambda line: _status(in_one_process, line),
            sockets.refuse,
            settings.shutdown.grace.total_seconds() + AFTER_GRACE_S,
        ):
            raise typer.Exit(status)


def _open_standard_files() -> None:
    """Take the places of closed standard files, or the database would be standard error, and get
    whatever is written there."""
    import os

    for file in range(3):
        try:
            os.fstat(file)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _status(job: Callable[[int], None], lifeline: int) -> int:
    try:
        job(lifeline)
    except typer.Exit as end:
        return end.exit_code
    return 0


@contextlib.contextmanager
def _report_faults() -> Iterator[None]:
    """Turns what keeps Doorward from starting into sentences on standard error and status 2."""
    from doorward.accounts.refusals import Refusal
    from doorward.server import ListenFault
    from doorward.settings import InvalidSettings
    from doorward.storage import StorageFault

    try:
        yield
    except InvalidSettings as fault:
        print_faults(fault)
        raise typer.Exit(2) from None
    except (StorageFault, ListenFault, Refusal) as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(2) from None
