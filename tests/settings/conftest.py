"""Files and environments to read settings from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doorward.settings import Fault, InvalidSettings, Settings, load_settings

Faults = Callable[..., tuple[Fault, ...]]
Load = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests do not read a doorward.yaml in the working directory."""
    monkeypatch.chdir(tmp_path)
    yield


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Returns the settings of a YAML text. A route is added if it has none."""

    def loaded(text: str = "", **environ: str) -> Settings:
        file = tmp_path / "doorward.yaml"
        given = text if "routes:" in text else f"{text}\nroutes: [{{upstream: 'http://app:1'}}]\n"
        file.write_text(given, encoding="utf-8")
        return load_settings(file, environ)

    return loaded


@pytest.fixture
def faults(load: Load) -> Faults:
    """Returns the errors in a YAML text; fails if there are none."""

    def found(text: str = "", **environ: str) -> tuple[Fault, ...]:
        with pytest.raises(InvalidSettings) as caught:
            load(text, **environ)
        return caught.value.faults

    return found
