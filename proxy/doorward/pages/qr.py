"""Draws a text as a QR code. The only module that uses segno; must not know what the text means."""

import io

import segno
from markupsafe import Markup


def draw_svg(text: str) -> Markup:
    """An SVG element for a page, black on white in every colour scheme, because cameras need
    that."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, svgns=True, border=4, omitsize=True, dark="#000",
        light="#fff", svgclass="qr", lineclass=None,
    )  # fmt: skip
    return Markup(out.getvalue().decode())  # noqa: S704 - modules of a code, no text in it
