"""Draws docs/icon.png and docs/icon.svg, the same shapes: ``python -m tests.draw_icon``.

A head, halved: on the left what a generator keeps of it, on the right what the rectifier brings back.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parents[1] / "docs"
SIDE, FINER = 400, 4
Box = tuple[float, float, float, float]
# (box of an ellipse or a rectangle, is it an ellipse, colour on the left, colour on the right); None: not there
SHAPES: tuple[tuple[Box, bool, str | None, str | None], ...] = (
    ((0, 0, 400, 400), False, "#3a3f4b", "#2f6f8f"),
    ((60, 330, 340, 520), True, "#5b6270", "#c8553d"),
    ((165, 270, 235, 350), False, "#8b8f98", "#c99a76"),
    ((110, 110, 290, 320), True, "#9a9ea7", "#e0b08a"),
    ((150, 200, 176, 226), True, "#5b6270", "#2b2b33"),
    ((224, 200, 250, 226), True, "#5b6270", "#2b2b33"),
    ((165, 262, 235, 280), True, "#7c818b", "#a8443a"),
    ((105, 60, 295, 235), True, "#6b6f79", None),
    ((118, 120, 282, 260), True, "#9a9ea7", None),
    ((150, 200, 176, 226), True, "#5b6270", None),
    ((120, 50, 280, 200), True, None, "#d1348b"),
    ((120, 128, 280, 150), False, None, "#f2c53d"),
    ((60, 140, 340, 172), True, None, "#d1348b"),
    ((277, 235, 299, 275), True, None, "#f2c53d"),
    ((198, 0, 202, 400), False, "#ffffff", "#ffffff"),
)


def half(side: int) -> Image.Image:
    """All shapes in the colours of one side."""
    picture = Image.new("RGB", (SIDE * FINER, SIDE * FINER))
    pen = ImageDraw.Draw(picture)
    for box, ellipse, *colours in SHAPES:
        if colours[side]:
            place = [value * FINER for value in box]
            (pen.ellipse if ellipse else pen.rectangle)(place, fill=colours[side])
    return picture.resize((SIDE, SIDE), Image.LANCZOS)


def svg() -> str:
    """The same as text."""
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">', "<title>ReGANIE</title>"]
    for side, x in ((0, 0), (1, SIDE // 2)):
        lines.append(f'<clipPath id="half{side}"><rect x="{x}" y="0" width="{SIDE // 2}" height="{SIDE}"/></clipPath>')
        lines.append(f'<g clip-path="url(#half{side})">')
        for (x0, y0, x1, y1), ellipse, *colours in SHAPES:
            if colours[side] and ellipse:
                lines.append(f'<ellipse cx="{(x0 + x1) / 2:g}" cy="{(y0 + y1) / 2:g}" rx="{(x1 - x0) / 2:g}" '
                             f'ry="{(y1 - y0) / 2:g}" fill="{colours[side]}"/>')
            elif colours[side]:
                lines.append(f'<rect x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}" '
                             f'fill="{colours[side]}"/>')
        lines.append("</g>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> None:
    picture = half(0)
    picture.paste(half(1).crop((SIDE // 2, 0, SIDE, SIDE)), (SIDE // 2, 0))
    picture.save(FOLDER / "icon.png", optimize=True)
    (FOLDER / "icon.svg").write_text(svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
