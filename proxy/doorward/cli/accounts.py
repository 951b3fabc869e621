"""How a command works on the live storage: the core opened for one job, refusals as one line and an
exit status. It knows no single command.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

from doorward.cli.options import settings_or_exit
from doorward.start.reports import report_faults

if TYPE_CHECKING:
    from doorward.accounts.audit.audit_log import Record
    from doorward.accounts.permissions import Owner
    from doorward.settings import Settings
    from doorward.wiring.accounts import Accounts

Result = TypeVar("Result")

REFUSED = 1
WRONG_USAGE = 2


def leave(message: str, status: int) -> NoReturn:
    """Ends the command with one line on standard error."""
    typer.echo(message, err=True)
    raise typer.Exit(status)


def with_accounts(config: Path | None, job: Callable[[Accounts], Awaitable[Result]]) -> Result:
    """What the job returns. Ends the command: 1 when refused, 2 when storage cannot be opened."""
    import asyncio  # slow, and a command that is used wrongly does without

    settings = settings_or_exit(config)
    with _no_log():
        return asyncio.run(_work(settings, job))


@contextmanager
def _no_log() -> Iterator[None]:
    """A command says itself what is wrong: log lines would stand within its output."""
    import logging

    import structlog

    configured = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**configured)


async def _work(settings: Settings, job: Callable[[Accounts], Awaitable[Result]]) -> Result:
    # Storage is the slow import: a command that is used wrongly need not wait for it.
    from doorward.accounts.audit.audit_log import COMMAND, Origin, act_as
    from doorward.accounts.refusals import Refusal
    from doorward.wiring.accounts import build_accounts

    async with AsyncExitStack() as stack:
        with _faults():
            tell = _tell(settings)
            accounts = await stack.enter_async_context(build_accounts(settings, tell=tell))
        try:
            with act_as(Origin(actor=COMMAND)), _faults():
                return await job(accounts)
        except Refusal as refusal:
            leave(str(refusal), REFUSED)


def _tell(settings: Settings) -> Callable[[Record], None] | None:
    """Where records of a command's changes go in addition to the database. Nothing is mixed into
    the command's standard output."""
    from doorward.observe.audit import STDOUT, open_sink

    return None if settings.audit.file == STDOUT else open_sink(settings.audit.file)


@contextmanager
def _faults() -> Iterator[None]:
    """What stops the start ends a command too, in the same words."""
    from doorward.settings import InvalidSettings
    from doorward.storage import StorageFault

    try:
        yield
    except InvalidSettings as invalid:
        report_faults(invalid)
        raise typer.Exit(WRONG_USAGE) from None
    except StorageFault as fault:
        leave(str(fault), WRONG_USAGE)


def owner() -> Owner:
    """The actor of a command: somebody with access to the machine may do everything."""
    from doorward.accounts.permissions import OWNER

    return OWNER


def confirm_or_leave(question: str, yes: bool) -> None:
    """Asks on a terminal; without one only `--yes` lets the command continue."""
    if yes:
        return
    if not sys.stdin.isatty():
        leave("Nothing was changed. Use --yes, because there is no terminal to ask on.", REFUSED)
    if not typer.confirm(question):
        leave("Nothing was changed.", REFUSED)
