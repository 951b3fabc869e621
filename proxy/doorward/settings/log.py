"""Knows the settings of the log: what is logged, and in which format. It must not write log lines;
observe does."""

from __future__ import annotations

from typing import Annotated, Literal

from doorward.settings.fields import Section, Switch, key, word_from


class LogSettings(Section):
    format: Annotated[Literal["auto", "console", "json"], word_from("auto", "console", "json")] = (
        key(
            "auto",
            "Format of log lines: console, json, or auto (console on a terminal, else json).",
        )
    )
    level: Annotated[
        Literal["debug", "info", "warning", "error"], word_from("debug", "info", "warning", "error")
    ] = key("info", "Lowest level to log: debug, info, warning or error.")
    access: Switch = key(False, "Whether to log each request.")
