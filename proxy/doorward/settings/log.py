"""Knows the settings of what is logged, and how its lines look.
It must not write any; observe does."""

from __future__ import annotations

from typing import Annotated, Literal

from doorward.settings.fields import Section, Switch, key, one_of


class Log(Section):
    format: Annotated[Literal["auto", "console", "json"], one_of("auto", "console", "json")] = key(
        "auto", "How lines look: console, json, or auto: console on a terminal, else json."
    )
    level: Annotated[
        Literal["debug", "info", "warning", "error"], one_of("debug", "info", "warning", "error")
    ] = key("info", "What is told at least: debug, info, warning or error.")
    access: Switch = key(False, "Whether each request is a line of the log.")
