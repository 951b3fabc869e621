"""The JSON objects of the dialects: a model for each one that they send or accept.

Answers are rendered from the same models that describe them, so that both always agree. Knows
pydantic; must not know dialects.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """An object with these keys, in this order, and no others. Names are as on the wire but for
    those that Python cannot spell, which have an alias."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def content(self) -> dict[str, Any]:
        """What goes out: of keys that may be absent, those that were given."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def examples(*values: dict[str, Any]) -> ConfigDict:
    """States what clients send, for the description: a model's own configuration."""
    return ConfigDict(json_schema_extra={"examples": list(values)})


def absent(**more: Any) -> Any:
    """States a key that is left out where it does not apply."""
    return Field(default_factory=lambda: None, **more)
