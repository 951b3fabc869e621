"""`doorward serve`. It knows how a failure to start is told; must not know how serving works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from proxy.cli.options import ConfigOption, print_faults, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.settings import Settings


def serve(config: ConfigOption = None) -> None:
    """Run Doorward until it is told to stop."""
    from proxy.observe.logs import configure_logs

    settings = settings_or_exit(config)
    configure_logs()
    serve_settings(settings)


def serve_settings(settings: Settings, on_listening: Callable[[str], None] | None = None) -> None:
    """Serve until a signal; status 2 and one sentence when these settings cannot be served."""
    from proxy.accounts.refusals import Refusal
    from proxy.app import serve_app
    from proxy.server.listeners import ListenFault
    from proxy.settings import InvalidSettings
    from proxy.storage import StorageFault

    try:
        serve_app(settings, on_listening)
    except InvalidSettings as fault:
        print_faults(fault)
    except (StorageFault, ListenFault, Refusal) as fault:
        typer.echo(str(fault), err=True)
    else:
        return
    raise typer.Exit(2)
