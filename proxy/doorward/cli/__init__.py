"""The entry point of `doorward`: run a command, or become a server."""

from __future__ import annotations

import errno
import io
import os
import sys

from doorward.start.arguments import ServeArguments, read_arguments
from doorward.start.reports import say

INTERRUPTED = 130  # the status after Ctrl-C, as in shells and typer
# Reasons why an open file cannot be written: the disk or the quota is full, or the device fails.
UNWRITABLE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


def main() -> None:
    """The script's entry point. Errors that a user can fix end in one sentence, not a traceback."""
    _write_everywhere()
    try:
        arguments = read_arguments(sys.argv[1:])
        if arguments is not None:
            sys.exit(_serve(arguments))
        from doorward.cli.main import app  # a server would keep it in memory

        _replace_closed_streams()
        app()
    except KeyboardInterrupt:  # during imports; later, typer handles it
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as fault:
        # Errors of other files contain a file name; errors of sockets are not in UNWRITABLE.
        if fault.filename is not None or fault.errno not in UNWRITABLE:
            raise
        _leave_unwritten(fault)


def _leave_unwritten(fault: OSError) -> None:
    """End a command whose output could not be written, for example because the disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter would try again at exit
    say(f"The output could not be written: {fault.strerror}.")
    sys.exit(1)


def _replace_closed_streams() -> None:
    """Let a command work whose standard output or error is closed, and find a closed standard input
    empty."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def _serve(arguments: ServeArguments) -> int:
    _load_without_rich()
    from doorward.start.serve import serve  # so that a command does not wait for it

    return serve(arguments.config)


def _load_without_rich() -> None:
    """Import structlog as if rich were not installed. structlog uses rich for tracebacks, which
    Doorward turns off (`observe/logs.py`), and rich takes 4 MiB of a server's memory."""
    sys.modules["rich"] = None  # type: ignore[assignment]  # which makes `import rich` fail
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


def _write_everywhere() -> None:
    """Write characters that the terminal's encoding lacks as escapes, so that a name cannot abort a
    command. The standard streams are text files unless they were replaced."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


__all__ = ["main"]
