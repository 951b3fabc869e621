"""Knows how access rules are written: their conditions and their requirements. It must not decide
by them; the gate does."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import model_validator

from doorward.settings import patterns, values
from doorward.settings.faults import Wrong
from doorward.settings.fields import (
    DURATION,
    AlsoOn,
    Group,
    Host,
    Listed,
    Method,
    NetworkRange,
    Parsed,
    RulePath,
    Section,
    Switch,
    Text,
    Unless,
    Username,
    key,
    word_from,
)

REQUIREMENTS = ("deny", "public", "authenticated", "two_factor")
PUBLIC_ASSETS = "public-assets"

Requirement = Annotated[
    Literal["deny", "public", "authenticated", "two_factor"], word_from(*REQUIREMENTS)
]
# An app's code works once and changes every 30 seconds, so a shorter age could not be met.
LEAST_AGE = timedelta(seconds=30)


def _max_age(value: object) -> timedelta:
    found = values.duration(value)
    if found < LEAST_AGE or found % timedelta(seconds=1):
        raise Wrong("must be whole seconds, at least 30", "an app has a new code every 30 seconds")
    return found


# In a rule, an empty list would be a condition that is always or never met, so it is refused.
Demanded = Annotated[tuple[Group, ...], Listed(least=1)]
Demanding = Annotated[
    Literal["authenticated", "two_factor"], word_from("authenticated", "two_factor")
]
MaxAge = Annotated[timedelta, Parsed(_max_age, DURATION)]
RulePreset = Annotated[Literal["public-assets"], word_from(PUBLIC_ASSETS)]
PathRegex = Annotated[str, Parsed(patterns.path_regex, {"type": "string", "minLength": 1})]


class BasicSettings(Section):
    passwords: Switch = key(
        False, "Whether to accept the password as well if the user has no second factor."
    )


Basic = Annotated[Annotated[BasicSettings, AlsoOn()] | None, Unless("off")]


class Alternative(Section):
    may_be_empty = False  # it would allow every user

    require: Demanding = key("authenticated", "Requirement: authenticated or two_factor.")
    groups: Demanded = key((), "Groups; the user must be in one of them.", validate_default=False)
    users: Annotated[tuple[Username, ...], Listed(least=1)] = key(
        (), "Users; the user must be one of them.", validate_default=False
    )
    roles: Demanded = key((), "Roles; the user must have one of them.", validate_default=False)
    networks: Annotated[tuple[NetworkRange, ...], Listed(least=1)] = key(
        (), "Networks; the client must be in one of them.", validate_default=False
    )
    max_age: Annotated[MaxAge | None, Unless("none")] = key(
        "none", "Maximum age of the second factor; Doorward asks again if it is older."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> Alternative:
        if self.max_age is not None and self.require != "two_factor":
            raise Wrong("has no effect without require: two_factor", key="max_age")
        return self


# The keys that state who is allowed, in a rule without alternatives.
_DEMANDS = ("require", "groups", "users", "roles", "max_age")
# Further keys that a rule for public assets can have.
_BESIDE_PRESET = frozenset(("name", "preset", "host", "networks", "activity"))


class Rule(Section):
    may_be_empty = False  # it would decide about every request

    name: Annotated[Text | None, Unless()] = key(
        None,
        "Name of the rule, for `doorward explain` and `doorward config check`.",
        validate_default=False,
    )
    path: Annotated[RulePath | None, Unless()] = key(
        None,
        "Path to match. * stands for one segment, /* at the end for everything below.",
        validate_default=False,
    )
    path_regex: Annotated[PathRegex | None, Unless()] = key(
        None, "Regular expression (RE2) that the whole path must match.", validate_default=False
    )
    preset: Annotated[RulePreset | None, Unless()] = key(
        None,
        "public-assets makes icons, manifest, robots.txt and similar files public.",
        validate_default=False,
    )
    host: Annotated[tuple[Host, ...], Listed(least=1)] = key(
        (), "Hosts to match, exact or *.example.com.", validate_default=False
    )
    methods: Annotated[tuple[Method, ...], Listed(least=1)] = key(
        (), "Methods to match, in upper case.", validate_default=False
    )
    networks: Annotated[tuple[NetworkRange, ...], Listed(least=1)] = key(
        (), "Networks of clients to match.", validate_default=False
    )
    require: Requirement = key(
        "authenticated", "Requirement: deny, public, authenticated or two_factor."
    )
    groups: Demanded = key((), "Groups; the user must be in one of them.", validate_default=False)
    users: Annotated[tuple[Username, ...], Listed(least=1)] = key(
        (), "Users; the user must be one of them.", validate_default=False
    )
    roles: Demanded = key((), "Roles; the user must have one of them.", validate_default=False)
    max_age: Annotated[MaxAge | None, Unless("none")] = key(
        "none", "Maximum age of the second factor; Doorward asks again if it is older."
    )
    any: Annotated[tuple[Alternative, ...], Listed(single=False, least=1)] = key(
        (),
        "Alternatives, in place of the keys above. One of them must be met.",
        validate_default=False,
    )
    activity: Switch = key(True, "Whether requests count as activity for sessions.idle_timeout.")
    tokens: Switch = key(
        False,
        "Whether API tokens meet require: two_factor, although programs have no second factor.",
    )
    basic: Basic = key(
        "off", "Whether to ask programs for a user name and token by HTTP Basic authentication."
    )

    @model_validator(mode="after")
    def _one_mind(self) -> Rule:
        said = self.model_fields_set
        paths = [name for name in ("path", "path_regex", "preset") if name in said]
        if len(paths) > 1:
            raise Wrong(
                f"cannot be combined with {paths[0]}", "split it into two rules", key=paths[1]
            )
        if self.preset is not None and (more := sorted(said - _BESIDE_PRESET)):
            message = f"cannot be combined with preset: {self.preset}"
            raise Wrong(message, "it is always public for GET and HEAD", key=more[0])
        if self.any and (more := [name for name in _DEMANDS if name in said]):
            raise Wrong(
                "cannot be combined with any", "write it into each alternative", key=more[0]
            )
        demanding = self.require in {"authenticated", "two_factor"}
        for name in () if demanding else ("groups", "users", "roles"):
            if getattr(self, name):
                hint = f"remove {name}, or require authenticated"
                raise Wrong(f"has no effect with require: {self.require}", hint, key=name)
        if self.max_age is not None and self.require != "two_factor":
            raise Wrong("has no effect without require: two_factor", key="max_age")
        takes_passwords = self.basic is not None and self.basic.passwords
        if takes_passwords and self.alternatives and self._wants_factor():
            hint = "write basic: true, and tokens: true for tokens"
            raise Wrong("a password alone is no second factor", hint, key="basic")
        return self

    def _wants_factor(self) -> bool:
        return all(one.require == "two_factor" for one in self.alternatives)

    @property
    def alternatives(self) -> tuple[Alternative, ...]:
        """The alternatives, one of which must be met. Empty if the rule needs no login because it
        is public or denies."""
        if self.any:
            return self.any
        if self.preset is not None or self.require not in {"authenticated", "two_factor"}:
            return ()
        found = {name: getattr(self, name) for name in _DEMANDS}
        return (Alternative.model_construct(**found),)

    @property
    def is_public(self) -> bool:
        """Whether everybody is allowed."""
        return self.preset is not None or self.require == "public"
