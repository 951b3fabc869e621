"""The `doorward` command: whether to read a command or to be a server."""

from __future__ import annotations

import errno
import io
import os
import sys

from doorward.start.arguments import ServeArguments, read_arguments
from doorward.start.reports import say

INTERRUPTED = 130  # by Ctrl-C, as shells and typer have it
# Why a file cannot be written that is open: the disk or the quota is full, or the device fails.
UNWRITABLE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO))


def main() -> None:
    """The script's entry: faults that a person can mend end in one sentence, not a traceback."""
    _write_everywhere()
    try:
        arguments = read_arguments(sys.argv[1:])
        if arguments is not None:
            sys.exit(_serve(arguments))
        from doorward.cli.main import app  # a server would keep it

        _replace_closed_streams()
        app()
    except KeyboardInterrupt:  # while libraries are imported: afterwards typer sees it
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as fault:
        # Other files' errors have a name. What those of sockets say is in no list.
        if fault.filename is not None or fault.errno not in UNWRITABLE:
            raise
        _leave_unwritten(fault)


def _leave_unwritten(fault: OSError) -> None:
    """End a command whose output was not written, as a file is cut when the disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter would try again as it ends
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
    from doorward.start.serve import serve  # a command does not wait for it

    return serve(arguments.config)


def _load_without_rich() -> None:
    """Load structlog as if rich was not installed. It draws tracebacks with rich, which Doorward
    does not ask for (`observe/logs.py`) and a server would keep: 4 MiB."""
    sys.modules["rich"] = None  # type: ignore[assignment]  # which makes `import rich` fail
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


def _write_everywhere() -> None:
    """A character that the terminal's encoding lacks is written as its escape: a name must not end
    a command halfway. The standard streams are text files unless somebody replaced them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


__all__ = ["main"]
