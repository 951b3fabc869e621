"""The JSON objects of the dialects: a model for each one that they send or accept.

Answers are rendered from the same models that describe them, so that both always agree. Knows
pydantic; must not know dialects.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """An object with these keys, in this order, and no others. Fields have their names on the wire,
    with an alias if that is no Python identifier."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def content(self) -> dict[str, Any]:
        """The JSON object to send, without optional keys that were not given."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def examples(*values: dict[str, Any]) -> ConfigDict:
    """Examples of what clients send, for the API description, as a model's configuration."""
    return ConfigDict(json_schema_extra={"examples": list(values)})


def absent(**more: Any) -> Any:
    """Declare a key that is omitted if it does not apply."""
    return Field(default_factory=lambda: None, **more)
