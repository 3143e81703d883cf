"""Labelled contact sheets: pictures in rows and columns, to be looked at by people."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .errors import InputError
from .images import to_pil

__all__ = ["contact_sheet", "difference_picture"]

BACKGROUND = (250, 249, 247)
INK = (38, 38, 42)
SOFT = (120, 120, 128)
EMPTY = (236, 234, 230)
MAX_PIXELS = 100_000_000


def difference_picture(delta: Tensor) -> Tensor:
    """dX in [-2,2] -> a picture in [-1,1]: mid-grey where nothing is missing."""
    return (delta * 0.5).clamp(-1.0, 1.0)


def _fit_text(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont, width: int) -> list[str]:
    """Break at spaces; a single long word is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and draw.textlength(f"{lines[-1]} {word}", font=font) <= width:
            lines[-1] = f"{lines[-1]} {word}"
            continue
        while len(word) > 1 and draw.textlength(word, font=font) > width:
            word = word[:-2] + "\N{HORIZONTAL ELLIPSIS}" if len(word) > 2 else word[:1]
        lines.append(word)
    return lines


def contact_sheet(rows: Sequence[Sequence[Tensor | None]], columns: Sequence[str] = (), row_labels: Sequence[str] = (),
                  title: str = "", cell: int = 160, smooth: bool = True, gap: int = 8) -> Image.Image:
    """One picture of many.

    Args:
        rows: images ``[3,H,W]`` in [-1,1], any sizes; None leaves a cell empty.
        columns, row_labels: texts above the columns and left of the rows; empty for none.
        cell: side of a cell in pixels; larger pictures are reduced, smaller ones enlarged.
        smooth: enlarge with Lanczos; False shows the pixels (nearest).

    Raises:
        InputError: no pictures, labels that do not match, or more than 100 million pixels.
    """
    count = max((len(row) for row in rows), default=0)
    if not count:
        raise InputError("A contact sheet needs at least one picture.")
    if (columns and len(columns) != count) or (row_labels and len(row_labels) != len(rows)):
        raise InputError(f"{len(columns)} column and {len(row_labels)} row labels for {len(rows)} rows of {count}.")
    size = max(11, min(18, cell // 10))
    font, heading = ImageFont.load_default(size), ImageFont.load_default(int(size * 1.5))
    ruler = ImageDraw.Draw(Image.new("RGB", (8, 8)))
    heads = [_fit_text(ruler, text, font, cell) for text in columns]
    line = int(size * 1.3)
    margin = 2 * gap
    label_width = 0
    labels = [_fit_text(ruler, text, font, int(cell * 1.1)) for text in row_labels]
    if labels:
        label_width = int(max(ruler.textlength(part, font=font) for label in labels for part in label or [""])) + 2 * gap
    head_height = max((len(lines) for lines in heads), default=0) * line + (gap if heads else 0)
    title_height = int(size * 2.4) if title else 0
    left, top = margin + label_width, margin + title_height + head_height
    width = left + count * cell + (count - 1) * gap + margin
    height = top + len(rows) * cell + (len(rows) - 1) * gap + margin
    if title:
        width = max(width, int(ruler.textlength(title, font=heading)) + 2 * margin)
    if width * height > MAX_PIXELS:
        raise InputError(f"The sheet would have {width}x{height} pixels; use fewer pictures or smaller cells.")
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((margin, margin), title, font=heading, fill=INK)
    for i, lines in enumerate(heads):
        x = left + i * (cell + gap) + cell / 2
        for j, text in enumerate(lines):
            y = top - gap - (len(lines) - j) * line
            draw.text((x, y), text, font=font, fill=INK, anchor="ma")
    for r, row in enumerate(rows):
        y = top + r * (cell + gap)
        if labels:
            start = y + cell / 2 - len(labels[r]) * line / 2
            for j, text in enumerate(labels[r]):
                draw.text((left - 1.5 * gap, start + j * line), text, font=font, fill=SOFT, anchor="ra")
        for c in range(count):
            picture = row[c] if c < len(row) else None
            box = (left + c * (cell + gap), y)
            if picture is None:
                draw.rectangle((*box, box[0] + cell - 1, box[1] + cell - 1), fill=EMPTY)
            else:
                _paste(sheet, picture, box, cell, smooth)
    return sheet


def _paste(sheet: Image.Image, picture: Tensor, box: tuple[int, int], cell: int, smooth: bool) -> None:
    """Scale to fit the cell, keep the aspect, centre."""
    image = to_pil(picture[None] if picture.ndim == 3 else picture)[0]
    factor = cell / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    filter_ = Image.Resampling.LANCZOS if smooth or factor < 1 else Image.Resampling.NEAREST
    image = image.resize(size, filter_)
    sheet.paste(image, (box[0] + (cell - size[0]) // 2, box[1] + (cell - size[1]) // 2))
