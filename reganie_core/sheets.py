"""Labelled contact sheets: pictures in rows and columns, to be looked at by people."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .errors import InputError
from .images import to_pil

__all__ = ["contact_sheet", "difference_picture", "in_cell"]

BACKGROUND = (250, 249, 247)
INK = (38, 38, 42)
SOFT = (120, 120, 128)
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
EMPTY = (236, 234, 230)
MAX_PIXELS = 100_000_000


def difference_picture(delta: Tensor) -> Tensor:
    """dX in [-2,2] -> a picture in [-1,1]: mid-grey where nothing is missing."""
    return (delta * 0.5).clamp(-1.0, 1.0)


def _fit_text(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int) -> list[str]:
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


def contact_sheet(rows: Sequence[Sequence[Tensor | Image.Image | None]], columns: Sequence[str] = (),
                  row_labels: Sequence[str] = (), title: str = "", cell: int = 160, smooth: bool = True,
                  gap: int = 8) -> Image.Image:
    """One picture of many.

    Args:
        rows: images ``[3,H,W]`` in [-1,1] or of PIL, any sizes; None leaves a cell empty.
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
    plan = _Plan(columns, row_labels, title, cell, gap)
    left, top = plan.left, plan.top
    width = max(left + count * cell + (count - 1) * gap + plan.margin, plan.title_width)
    height = top + len(rows) * cell + (len(rows) - 1) * gap + plan.margin
    if width * height > MAX_PIXELS:
        raise InputError(f"The sheet would have {width}x{height} pixels; use fewer pictures or smaller cells.")
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    plan.draw_texts(ImageDraw.Draw(sheet))
    for r, row in enumerate(rows):
        for c in range(count):
            picture = row[c] if c < len(row) else None
            box = (left + c * (cell + gap), top + r * (cell + gap))
            if picture is None:
                sheet.paste(EMPTY, (*box, box[0] + cell, box[1] + cell))
            else:
                _paste(sheet, picture, box, cell, smooth)
    return sheet


class _Plan:
    """Fonts, wrapped texts and the room they take."""

    def __init__(self, columns: Sequence[str], row_labels: Sequence[str], title: str, cell: int, gap: int) -> None:
        self.cell, self.gap, self.title, self.margin = cell, gap, title, 2 * gap
        size = max(11, min(18, cell // 10))
        self.font, self.heading = ImageFont.load_default(size), ImageFont.load_default(int(size * 1.5))
        self.line = int(size * 1.3)
        ruler = ImageDraw.Draw(Image.new("RGB", (8, 8)))
        self.heads = [_fit_text(ruler, text, self.font, cell) for text in columns]
        self.labels = [_fit_text(ruler, text, self.font, int(cell * 1.1)) for text in row_labels]
        widths = [ruler.textlength(part, font=self.font) for label in self.labels for part in label]
        label_width = int(max(widths)) + 2 * gap if widths else 0
        head_height = max(map(len, self.heads), default=0) * self.line + (gap if self.heads else 0)
        self.left = self.margin + label_width
        self.top = self.margin + (int(size * 2.4) if title else 0) + head_height
        self.title_width = int(ruler.textlength(title, font=self.heading)) + 2 * self.margin if title else 0

    def draw_texts(self, draw: ImageDraw.ImageDraw) -> None:
        """Title, column heads resting on the pictures, row labels at mid-height."""
        if self.title:
            draw.text((self.margin, self.margin), self.title, font=self.heading, fill=INK)
        step = self.cell + self.gap
        for i, lines in enumerate(self.heads):
            x = self.left + i * step + self.cell / 2
            for j, text in enumerate(lines):
                y = self.top - self.gap - (len(lines) - j) * self.line
                draw.text((x, y), text, font=self.font, fill=INK, anchor="ma")
        for r, lines in enumerate(self.labels):
            start = self.top + r * step + self.cell / 2 - len(lines) * self.line / 2
            for j, text in enumerate(lines):
                where = (self.left - 1.5 * self.gap, start + j * self.line)
                draw.text(where, text, font=self.font, fill=SOFT, anchor="ra")


def in_cell(picture: Tensor, cell: int, smooth: bool = True) -> Image.Image:
    """A picture ``[3,H,W]`` in [-1,1] scaled so that its longer side is ``cell`` pixels."""
    return _scaled(to_pil(picture[None] if picture.ndim == 3 else picture)[0], cell, smooth)


def _scaled(image: Image.Image, cell: int, smooth: bool) -> Image.Image:
    factor = cell / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    filter_ = Image.Resampling.LANCZOS if smooth or factor < 1 else Image.Resampling.NEAREST
    return image if size == image.size else image.resize(size, filter_)


def _paste(sheet: Image.Image, picture: Tensor | Image.Image, box: tuple[int, int], cell: int, smooth: bool) -> None:
    """Scale to fit the cell, keep the aspect, centre."""
    image = _scaled(picture, cell, smooth) if isinstance(picture, Image.Image) else in_cell(picture, cell, smooth)
    sheet.paste(image, (box[0] + (cell - image.width) // 2, box[1] + (cell - image.height) // 2))
