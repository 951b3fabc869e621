"""A text as a picture for a camera. The only door to segno; what the text says it must not know."""

import io

import segno
from markupsafe import Markup


def draw_svg(text: str) -> Markup:
    """An SVG element for a page, black on white in every scheme: cameras want it so."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, svgns=True, border=4, omitsize=True, dark="#000",
        light="#fff", svgclass="qr", lineclass=None,
    )  # fmt: skip
    return Markup(out.getvalue().decode())  # noqa: S704 - modules of a code, no text in it
