"""Runs a command's work on the live storage: opens the core, and turns refusals into one line and
an exit status. Must not know any particular command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from doorward.cli.exits import REFUSED, WRONG_USAGE, leave
from doorward.cli.options import settings_or_exit
from doorward.start.reports import report_faults

if TYPE_CHECKING:
    from doorward.accounts.audit.audit_log import Record
    from doorward.accounts.permissions import Owner
    from doorward.accounts.user import User
    from doorward.settings import Settings
    from doorward.wiring.accounts import Accounts

Result = TypeVar("Result")
Owned = TypeVar("Owned")


def with_accounts(config: Path | None, job: Callable[[Accounts], Awaitable[Result]]) -> Result:
    """Run the job and return its result. Ends the command with status 1 if the core refuses, or 2
    if storage cannot be opened."""
    import asyncio  # a slow import, which a wrong use of the command does not need

    settings = settings_or_exit(config)
    with no_log():
        return asyncio.run(_work(settings, job))


@contextmanager
def no_log() -> Iterator[None]:
    """Turn the log off: a command reports errors itself, and log lines would appear in its
    output."""
    import logging

    import structlog

    configured = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**configured)


async def _work(settings: Settings, job: Callable[[Accounts], Awaitable[Result]]) -> Result:
    # Importing storage is slow, and a wrong use of the command does not need it.
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
    """The sink for records of a command's changes, in addition to the database. It never writes to
    the command's standard output."""
    from doorward.observe.audit import STDOUT, open_sink

    return None if settings.audit.file == STDOUT else open_sink(settings.audit.file)


@contextmanager
def _faults() -> Iterator[None]:
    """Errors that prevent a start also end a command, with the same message."""
    from doorward.settings import InvalidSettings
    from doorward.storage import StorageFault

    try:
        yield
    except InvalidSettings as invalid:
        report_faults(invalid)
        raise typer.Exit(WRONG_USAGE) from None
    except StorageFault as fault:
        leave(str(fault), WRONG_USAGE)


async def iterate_owned(
    accounts: Accounts,
    name: str | None,
    of_user: Callable[[User, float], Awaitable[Iterable[Owned]]],
    of_all: Callable[[float], AsyncIterator[Owned]],
) -> AsyncIterator[Owned]:
    """What the user with this name owns, or what all users own. Raises UserNotFound."""
    now = time.time()
    if name is None:
        async for one in of_all(now):
            yield one
    else:
        for one in await of_user(await accounts.users.get(name), now):
            yield one


def owner() -> Owner:
    """The actor of a command: a person with access to the machine may do everything."""
    from doorward.accounts.permissions import OWNER

    return OWNER


def confirm_or_leave(question: str, yes: bool) -> None:
    """Ask on a terminal. Without one, the command only continues with `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        leave("Nothing was changed. Use --yes to confirm, because there is no terminal.", REFUSED)
    if not typer.confirm(question):
        leave("Nothing was changed.", REFUSED)
