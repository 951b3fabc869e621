"""Text in the accent colour and on it is readable for any colour in the settings."""

from __future__ import annotations

import re

import pytest
from doorward.pages.colours import DARK, LIGHT, READABLE, contrast, stylesheet


@pytest.mark.parametrize("accent", ["#000000", "#ffffff", "#ffee00", "#3450d4", "#7f7f7f"])
def test_an_accent_can_be_read_in_both_schemes(accent: str) -> None:
    sheets = stylesheet(accent).split("@media")
    for sheet, paper in zip(sheets, (LIGHT, DARK), strict=True):
        found = dict(re.findall(r"--([\w-]+):(#\w{6})", sheet))
        shown, on = (
            [int(found[n][i : i + 2], 16) / 255 for i in (1, 3, 5)] for n in ("accent", "on-accent")
        )
        assert contrast(tuple(shown), paper) >= READABLE - 0.1  # type: ignore[arg-type]
        assert contrast(tuple(shown), tuple(on)) >= READABLE - 0.1  # type: ignore[arg-type]
