"""The `doorward` command. It knows which command is in which file, and how a failure is told."""

from doorward.cli.main import main

__all__ = ["main"]
