"""`doorward demo`: a temporary Doorward in front of a guest book or another application.

It knows how to start and clean up the parts of the demonstration, and must not know what they do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.exits import WRONG_USAGE, leave
from doorward.cli.options import read_option
from doorward.start.reports import report_faults

if TYPE_CHECKING:
    from doorward.settings import Settings

USER = "demo"
ANY_PORT = "127.0.0.1:0"
HERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - as asked for by --listen
CHILD_START_S = 60  # on a busy machine; if it fails, it ends and is not waited for
CHILD_END_S = 5

UpstreamOption = Annotated[
    str | None,
    typer.Option(
        "--upstream", metavar="URL", help="Protect your own application instead of the guest book."
    ),
]
ListenOption = Annotated[
    str,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Address to listen on; port 0 stands for any free port.",
    ),
]


TRY = """
Open the address in a browser, and log in. Or, in another terminal:

  # without a login: 401
  curl -i {url}/

  # log in; the cookie goes to a file
  curl -c {jar} -H 'Content-Type: application/json' \\
    -d '{{"username": "{user}", "password": "{password}"}}' {url}/xhr/login

  # the application greets you by name; then log out
  curl -b {jar} {url}/
  curl -b {jar} {url}/xhr/logout

  # commands work on it while it runs
  {command} user add bob --generate -c {file}

Ctrl-C stops the demo and deletes everything that it created.
"""


def demo(upstream: UpstreamOption = None, listen: ListenOption = ANY_PORT) -> None:
    """Start a temporary Doorward, print how to log in, and leave nothing behind."""
    from doorward.settings import addresses

    for option, given, parse in (
        ("--listen", listen, addresses.listen),
        ("--upstream", upstream, addresses.upstream),
    ):
        if given is not None:
            read_option(option, given, partial(parse, directory=Path.cwd()))
    with end_quietly(), ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorward-demo-")))
        target = upstream or stack.enter_context(guest_book())
        stack.enter_context(ignore_interrupts())
        serve_demo(settings_in(directory, target, choose_host(listen)))


@contextmanager
def end_quietly() -> Iterator[None]:
    """During the start, SIGTERM and a closed terminal end it like Ctrl-C."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def hang_up(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # the server handles SIGTERM once it runs

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Ignore signals after the block: a second Ctrl-C must not interrupt the clean-up."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def guest_book() -> Iterator[str]:
    """Run the guest book, and yield its address. It watches a pipe, so it always ends with this
    process.

    It has a session of its own, so that Ctrl-C only reaches this process, and the last requests are
    answered.
    """
    command = [sys.executable, "-m", "doorward.cli.guestbook", "--port", "0", "--with-parent"]
    process = subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield read_address(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(CHILD_END_S)
            process.kill()


def read_address(process: subprocess.Popen[str]) -> str:
    """Read the address on which the guest book listens."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(CHILD_START_S) else ""
    if not line.startswith("listening on "):
        leave(
            "The guest book did not start. Use --upstream URL to protect your own application.", 1
        )
    return line.removeprefix("listening on ").strip()


def choose_host(listen: str) -> str:
    """Replace port 0 with a free port of that host."""
    host, _, port = listen.rpartition(":")
    if port != "0":
        return listen
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host.strip("[]"), 0))
        return f"{host}:{probe.getsockname()[1]}"


def format_url(listen: str) -> str:
    """The URL to open on this machine."""
    host, _, port = listen.rpartition(":")
    return f"http://{HERE.get(host, host)}:{port}"


def settings_in(directory: Path, upstream: str, listen: str) -> Settings:
    """Write the demonstration's settings to a configuration file, and load it.

    The environment is not read, because it may contain settings of another instance.
    """
    from doorward.settings import InvalidSettings, load_settings

    written = {
        "listen": listen,
        "public_url": format_url(listen),
        "admin_listen": "off",
        "data_dir": "data",
        "routes": [{"upstream": upstream}],
        "dialects": {"xhr": {}},
    }
    file = directory / "doorward.yaml"
    file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in written.items()))
    try:
        return load_settings(file, {})
    except InvalidSettings as faults:
        report_faults(faults)
        raise typer.Exit(WRONG_USAGE) from None


def serve_demo(settings: Settings) -> None:
    """Serve until a signal. The user is created first, and shown once the address answers."""
    from doorward.observe.logs import configure_logs
    from doorward.start.serve import serve_settings

    configure_logs(level=logging.WARNING)
    password = asyncio.run(add_user(settings))

    def begin(address: str) -> None:
        end_with_terminal()
        tell(settings, password)

    if status := serve_settings(settings, begin):
        raise typer.Exit(status)


def end_with_terminal() -> None:
    """Stop the server if its terminal is closed, because nothing else would stop a demonstration.
    Any other SIGHUP is ignored, as in `doorward serve`."""
    from doorward.server import ignored

    had_one = has_terminal()

    def hung_up() -> None:
        if had_one and not has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            ignored()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


async def add_user(settings: Settings) -> str:
    """Create the demonstration's user, who may do everything, and return the password."""
    from doorward.accounts import randomness
    from doorward.wiring.accounts import build_accounts

    password = randomness.password()
    async with build_accounts(settings) as accounts:
        await accounts.users.add(USER, password, now=time.time(), super_admin=True)
    return password


def tell(settings: Settings, password: str) -> None:
    """Print the facts, one per line, and what to try next."""
    from doorward import paths

    url = settings.public_url
    told = {
        "address": url,
        "user": USER,
        "password": password,
        "account": url + paths.ACCOUNT,
        "administration": url + paths.ADMIN,
    }
    print("\n".join(f"{key}: {value}" for key, value in told.items()), flush=True)
    more = TRY.format(
        url=url,
        user=USER,
        password=password,
        jar=settings.data_dir / "cookies.txt",
        command=sys.argv[0],
        file=settings.file,
    )
    print(more, flush=True)
