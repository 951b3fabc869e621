"""`doorward serve`: the options, and their help. It must not know what they start.

The usual forms of the command never come here (`start/arguments.py`).
"""

from __future__ import annotations

import typer

from doorward.cli.options import ConfigOption


def serve(config: ConfigOption = None) -> None:
    """Run Doorward until it gets SIGTERM or Ctrl-C."""
    from doorward.start import serve as start

    raise typer.Exit(start.serve(config))
