"""The operator's accent colour, adjusted so that it is legible on light and dark backgrounds.

Knows how to compute contrast (WCAG 2.2, 1.4.3); must not know pages or the stylesheet's other
colours.
"""

from __future__ import annotations

Colour = tuple[float, float, float]  # red, green, blue from 0 to 1

LIGHT: Colour = (1.0, 1.0, 1.0)
DARK: Colour = (0.09, 0.11, 0.145)
BLACK: Colour = (0.04, 0.05, 0.07)
READABLE = 4.5  # contrast between text and background
STEP = 0.04


def stylesheet(accent: str) -> str:
    """The CSS that sets the accent in both colour schemes; `accent` is `#rrggbb`."""
    colour = _parse(accent)
    light = _toward(colour, BLACK, LIGHT)
    dark = _toward(colour, LIGHT, DARK)
    return (
        f":root{{{_set(light, BLACK)}}}"
        f"@media (prefers-color-scheme: dark){{:root{{{_set(dark, LIGHT)}}}}}\n"
    )


def contrast(one: Colour, other: Colour) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _set(accent: Colour, strong: Colour) -> str:
    on = max((LIGHT, BLACK), key=lambda text: contrast(accent, text))
    return (
        f"--accent:{_written(accent)};--accent-strong:{_written(_mix(accent, strong, 0.2))};"
        f"--on-accent:{_written(on)}"
    )


def _toward(colour: Colour, end: Colour, paper: Colour) -> Colour:
    """The first legible colour on the way from this one to `end`."""
    found, share = colour, 0.0
    while contrast(found, paper) < READABLE and share < 1:
        share += STEP
        found = _mix(colour, end, min(share, 1.0))
    return found


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(colour: Colour) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _parse(text: str) -> Colour:
    red, green, blue = (int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _written(colour: Colour) -> str:
    return "#" + "".join(f"{round(c * 255):02x}" for c in colour)
