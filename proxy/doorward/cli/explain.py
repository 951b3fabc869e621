"""`doorward explain`: what happens to a request, and why.

It knows how to print; the gate itself decides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from doorward.cli.accounts import with_accounts
from doorward.cli.exits import REFUSED, WRONG_USAGE, leave
from doorward.cli.options import ConfigOption, JsonOption
from doorward.cli.tables import escape, format_time, print_json

if TYPE_CHECKING:
    from doorward.web.explanation import Explanation
    from doorward.wiring.accounts import Accounts


def explain(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METHOD] URL", help="URL as the client sends it, or a path."),
    ] = None,
    config: ConfigOption = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="User who sends the request. Default: not logged in."),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--from", metavar="ADDRESS", help="Address of the client.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="METHOD", help="Method, unless given before the URL."),
    ] = None,
    second_factor: Annotated[
        bool, typer.Option("--second-factor", help="Assume that the user has just entered a code.")
    ] = False,
    request_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Explain a refused request of the last day by its ID."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show which route and rule decide on a request, why, and what the application gets."""
    from doorward.gate.addresses import parse_address

    if request_id is not None:
        if words or user or address or method or second_factor:
            leave(
                "--request-id cannot be combined with METHOD, URL or their options.",
                WRONG_USAGE,
            )
        _explain_refusal(config, request_id, json)
        return
    verb, url = _split(words or [], method)
    address = "127.0.0.1" if address is None else address
    if parse_address(address) is None:
        leave(f"{address!r} is not an address.", WRONG_USAGE)
    asked = Asked(verb, url, user, address, second_factor)
    found = with_accounts(config, lambda accounts: _explain(accounts, config, asked))
    if json:
        print_json(_describe(found, asked))
    else:
        _print(found, asked)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request from the command line, or a recorded one."""

    method: str
    url: str
    username: str | None
    address: str
    has_factor: bool


def _split(words: list[str], method: str | None) -> tuple[str, str]:
    if len(words) == 1:
        return method or "GET", words[0]
    if len(words) == 2 and method is None:
        return words[0], words[1]
    leave("Give one URL, with at most one method before it.", WRONG_USAGE)


async def _explain(accounts: Accounts, config: ConfigOption, asked: Asked) -> Explanation:
    import os
    import time
    from contextlib import closing

    from doorward.settings import load_settings
    from doorward.storage.rates import Rates
    from doorward.web.explanation import NoUrl, Question
    from doorward.wiring.deciding import build_deciding

    settings = load_settings(config, os.environ)
    user = None if asked.username is None else await accounts.users.get(asked.username)
    question = Question(asked.method, asked.url, user, asked.address, asked.has_factor)
    with closing(Rates(settings.data_dir, accounts.keys)) as rates:
        explainer = build_deciding(settings, accounts, rates, time.time).explainer
        try:
            return await explainer.explain(question, time.time())
        except NoUrl as fault:
            leave(f"{fault}.", WRONG_USAGE)


def _explain_refusal(config: ConfigOption, request_id: str, json: bool) -> None:
    """Print the answer that was sent, and what the current rules decide."""
    import time

    from doorward.cli.options import settings_or_exit
    from doorward.observe.refusals import find_refusal

    kept = find_refusal(settings_or_exit(config).data_dir, request_id, time.time())
    if kept is None:
        leave(f"No request refused within the last day has the id {escape(request_id)}.", REFUSED)
    found = None
    if kept.scheme:  # otherwise, it was refused as malformed, before any decision
        url = f"{kept.scheme}://{kept.host}{kept.path}"
        asked = Asked(kept.method, url, kept.user or None, kept.address, kept.has_factor)
        found = with_accounts(config, lambda accounts: _explain(accounts, config, asked))
    if json:
        now = None if found is None else _describe(found, asked)
        print_json({"refusal": asdict(kept), "now": now})
        return
    typer.echo(f"{format_time(kept.at)}  {kept.status} {kept.code}: {kept.message}")
    by = f"by {kept.user}" if kept.user else "without a login"
    typer.echo(f"{escape(kept.method)} {escape(kept.path)} {by}")
    if found is not None:
        typer.echo("With the current rules:")
        _print(found, asked)


def _print(found: Explanation, asked: Asked) -> None:
    from doorward.web.explanation import list_lines

    typer.echo(f"{escape(asked.method)} {escape(asked.url)}")
    for line in list_lines(found):
        typer.echo(escape(line))


# JSON


def _describe(found: Explanation, asked: Asked) -> dict[str, object]:
    """The printed JSON; its keys are part of the command's interface."""
    described = asdict(found)
    head = described.pop("head").rstrip("\r\n").split("\r\n")
    described["request_line"] = head[0] or None
    described["headers"] = [line.split(": ", 1) for line in head[1:]]
    return {"method": asked.method, "url": asked.url, **described}
