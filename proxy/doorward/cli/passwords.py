"""Gets the password for a command: from standard input, from the terminal, or at random."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from doorward.cli.exits import WRONG_USAGE, leave

LINE_BYTES = 8192  # twice the maximum length of a password


def new_password(from_stdin: bool, generate: bool) -> str:
    """The password that the options ask for. Without options, ask for it twice on a terminal."""
    if from_stdin and generate:
        leave("Use either --password-stdin or --generate, not both.", WRONG_USAGE)
    if generate:
        from doorward.accounts import randomness

        return randomness.password()
    if from_stdin:
        return read_stdin_line()
    if sys.stdin.isatty():
        return ask_password()
    leave("Use --password-stdin or --generate: there is no terminal to ask on.", WRONG_USAGE)


def application_password(from_stdin: bool) -> str:
    """The password of an account at an application. By default, ask for it on a terminal."""
    if from_stdin:
        return read_stdin_line()
    if sys.stdin.isatty():
        return ask_password()
    leave("Use --password-stdin: there is no terminal to ask on.", WRONG_USAGE)


@contextmanager
def explain_weakness() -> Iterator[None]:
    """Add to the refusal of a guessable password how to accept it."""
    from doorward.accounts.passwords.hashing import GUESSABLE
    from doorward.accounts.refusals import WeakPassword

    try:
        yield
    except WeakPassword as refusal:
        if str(refusal) != GUESSABLE:
            raise
        raise WeakPassword(f"{GUESSABLE} Or accept it with --weak.") from refusal


def read_stdin_line() -> str:
    """The first line, without its line break."""
    line = sys.stdin.buffer.readline(LINE_BYTES)
    if not line:
        leave("There is no password on standard input.", WRONG_USAGE)
    try:
        return line.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        leave("The password on standard input is not UTF-8.", WRONG_USAGE)


def ask_password() -> str:
    """Ask for a password twice."""
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password
