"""Knows how a setting's type is declared to pydantic: its parser, its schema, its word for "none".
It must not know which settings there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, model_validator
from pydantic_core import core_schema

from doorward.settings import addresses, names, patterns, values
from doorward.settings.faults import Wrong

Schema = dict[str, Any]


def _describe_mapping(schema: Schema, section: type[Section]) -> None:
    schema.update(type=["object", "null"] if section.may_be_empty else "object")


class Section(BaseModel):
    """A mapping of settings. An empty value, as in `xhr:`, is the empty mapping, unless
    `may_be_empty` is false."""

    may_be_empty: ClassVar[bool] = True

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
        validate_by_name=False,
        validate_by_alias=True,
        json_schema_extra=_describe_mapping,
    )

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, value: object) -> object:
        if value is None and not cls.may_be_empty:
            raise Wrong("is empty", "write its keys, or remove the line")
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Wrong(f"must be a mapping of settings, not {_kind(value)}", cls._example())
        return value

    @classmethod
    def _example(cls) -> str:
        return f"its keys are {', '.join(cls.keys())}; {{}} stands for the defaults"

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Returns the keys as they are written in the file."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "a single value"


def key(default: Any, sentence: str, **more: Any) -> Any:
    """Declare a setting: its default, written as in the file, and the sentence that describes
    it."""
    return Field(default, description=sentence, **more)


def required(sentence: str, **more: Any) -> Any:
    return Field(description=sentence, **more)


@dataclass(frozen=True, eq=False)
class Parsed:
    """Parses a value with one of Doorward's parsers; pydantic's own conversions never see it."""

    parse: Callable[[Any], Any]
    schema: Schema

    def _read(self, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            raise Wrong("is empty", "give it a value, or remove the line")
        return self.parse(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Schema:
        return dict(self.schema)


@dataclass(frozen=True, eq=False)
class Located(Parsed):
    """The same for file names: the parser also gets the directory of the configuration file."""

    parse: Callable[..., Any]

    def _read(self, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            raise Wrong("is empty", "give it a value, or remove the line")
        return self.parse(value, (info.context or {}).get("directory") or Path.cwd())


@dataclass(frozen=True, eq=False)
class Unless:
    """Allows no value. `word` (off or none) stands for no value; without it, only a missing key
    does. `empty` is the meaning of a key without a value. By default that is an error, because a
    requirement whose value was lost must not count as one that was never made."""

    word: str | None = None
    empty: Any = ...

    def _read(self, value: Any) -> Any:
        if value is None and self.empty is ...:
            word = f"{self.word}, " if self.word else ""
            raise Wrong("is empty", f"give it a value, {word}or remove the line")
        if value is None:
            return self.empty
        return None if self.word and values.is_off(value) else value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Schema:
        nothing: list[Any] = ["off", "none", False] if self.word else []
        if self.empty is not ...:
            nothing.append(None)
        inner = [part for part in handler(core)["anyOf"] if part != {"type": "null"}]
        return {"anyOf": [*inner, {"enum": nothing}]} if nothing else dict(inner[0])


@dataclass(frozen=True, eq=False)
class AlsoOn:
    """Allows `true` in place of a section, for its defaults."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        def read(value: Any) -> Any:
            return {} if values.is_on(value) else value

        return core_schema.no_info_before_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Schema:
        return {"anyOf": [{"enum": [True, "on", "yes"]}, handler(core)]}


@dataclass(frozen=True, eq=False)
class Listed:
    """Takes a list. If its items are single values, one can be given without a list. If `off` is
    allowed, it stands for the empty list."""

    single: bool = True
    least: int = 0
    off: bool = False

    def _read(self, value: Any) -> Any:
        if value is None or (self.off and values.is_off(value)):
            value = []
        if self.single and isinstance(value, str | int | bool):
            value = [value]
        if not isinstance(value, list | tuple):
            raise Wrong("must be a list", "begin each item with '- '")
        if len(value) < self.least:
            raise Wrong("must not be empty", "give it a value, or remove the line")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Schema:
        schema: Schema = handler(core)
        if self.least:
            return {"anyOf": [{**schema, "minItems": self.least}, schema["items"]]}
        schema = {**schema, "type": ["array", "null"]}
        off = [{"enum": ["off", "none", False]}] if self.off else []
        return {"anyOf": [schema, schema["items"], *off]} if self.single else schema


def word_from(*words: str) -> Parsed:
    return Parsed(values.choice(*words), {"enum": list(words)})


def whole(minimum: int, maximum: int = 1_000_000) -> Parsed:
    schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return Parsed(values.whole(minimum, maximum), schema)


def secret(parse: Callable[[Any], str]) -> Parsed:
    return Parsed(lambda value: SecretStr(parse(value)), {"type": "string", "writeOnly": True})


def size_from(minimum: int) -> Parsed:
    def size(value: object) -> int:
        if (found := values.size(value)) < minimum:
            raise Wrong(f"is less than {values.format_size(minimum)}")
        return found

    pattern = r"^[0-9]+ ?(B|[KMGT]iB)?$"
    return Parsed(size, {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "integer"}]})


_TEXT: Schema = {"type": ["string", "integer"]}
DURATION: Schema = {
    "type": "string",
    "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
    "minLength": 2,
}
_BOOLEAN: Schema = {"enum": [True, False, "on", "off", "yes", "no"]}

Text = Annotated[str, Parsed(values.label, _TEXT)]
Switch = Annotated[bool, Parsed(values.boolean, _BOOLEAN)]
Duration = Annotated[timedelta, Parsed(values.duration, DURATION)]
DurationOrZero = Annotated[timedelta, Parsed(values.duration_or_zero, DURATION)]
Place = Annotated[Path, Located(addresses.absolute, {"type": "string", "minLength": 1})]
# For a file with that name, write ./stdout.
AuditFile = Annotated[
    Path | Literal["stdout"],
    Located(
        lambda value, directory: (
            value if value == "stdout" else addresses.absolute(value, directory)
        ),
        {"type": "string", "minLength": 1},
    ),
]
Listener = Annotated[addresses.Listen, Located(addresses.listen, {"type": "string"})]
UpstreamUrl = Annotated[
    addresses.Upstream,
    Located(addresses.upstream, {"type": "string", "pattern": "^(https?://|unix:)"}),
]
PublicUrl = Annotated[
    str, Parsed(addresses.public_url, {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"})
]
CorsOrigin = Annotated[str, Parsed(addresses.cors_origin, {"type": "string"})]
Host = Annotated[str, Parsed(addresses.host_pattern, {"type": "string"})]
ServerName = Annotated[str, Parsed(addresses.server_name, {"type": "string"})]
NetworkRange = Annotated[addresses.Network, Parsed(addresses.network, {"type": "string"})]
TrustedPeers = Annotated[
    addresses.Network | Literal["unix"], Parsed(addresses.peers, {"type": "string"})
]
ApiKeyHeader = Annotated[
    str,
    Parsed(
        patterns.api_key_header,
        {"anyOf": [{"type": "string", "pattern": "^[Xx]-"}, {"enum": [True, "on", "yes"]}]},
    ),
]
TrustedHeader = Annotated[str, word_from("x-forwarded-port", "x-forwarded-prefix")]
RoutePath = Annotated[str, Parsed(patterns.route_path, {"type": "string", "pattern": "^/"})]
RulePath = Annotated[str, Parsed(patterns.rule_path, {"type": "string", "pattern": "^/"})]
Prefix = Annotated[str, Parsed(patterns.prefix, {"type": "string", "pattern": "^/."})]
Method = Annotated[str, Parsed(patterns.method, {"type": "string", "pattern": "^[^a-z]+$"})]
Username = Annotated[str, Parsed(names.username, _TEXT)]
EmailAddress = Annotated[str, Parsed(names.email, {"type": "string", "pattern": "@"})]
DisplayName = Annotated[str, Parsed(names.display_name, _TEXT)]
Group = Annotated[str, Parsed(names.group, _TEXT)]
PasswordHash = Annotated[SecretStr, secret(names.password_hash)]
SmtpUrl = Annotated[SecretStr, secret(names.smtp)]
StorageUrl = Annotated[str, Parsed(names.storage, {"type": "string"})]
