"""The `doorward` command: whether to read a command or to be a server."""

from __future__ import annotations

import io
import sys

from doorward.start.arguments import ServeArguments, read_arguments

INTERRUPTED = 130  # by Ctrl-C, as shells and typer have it


def main() -> None:
    """The script's entry: faults that a person can mend end in one sentence, not a traceback."""
    _write_everywhere()
    try:
        arguments = read_arguments(sys.argv[1:])
        if arguments is not None:
            sys.exit(_serve(arguments))
        from doorward.cli.main import app  # a server would keep it

        app()
    except BrokenPipeError:
        sys.exit(1)


def _serve(arguments: ServeArguments) -> int:
    _load_without_rich()
    try:
        from doorward.start.serve import serve  # a command does not wait for it

        return serve(arguments.config)
    except KeyboardInterrupt:
        return INTERRUPTED


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
