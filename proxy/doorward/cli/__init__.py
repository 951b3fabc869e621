"""The `doorward` command. It knows where each command is, and how a failure is reported."""

from doorward.cli.main import main

__all__ = ["main"]
