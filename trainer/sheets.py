"""Sample sheets of training runs."""

from __future__ import annotations

from collections.abc import Sequence

from einops import rearrange
from PIL import Image
from torch import Tensor

from reganie_core.sheets import contact_sheet


def compared(columns: Sequence[Tensor]) -> Tensor:
    """Pictures [N,3,H,W] of several kinds as one batch: every kind of the first, then of the second ..."""
    return rearrange(list(columns), "column n c h w -> (n column) c h w").cpu()


def grid(images: Tensor, columns: int, titles: Sequence[str] = (), cell: int = 128) -> Image.Image:
    """Pictures [N,3,H,W] in [-1,1], row by row; `titles` label the columns."""
    rows = [list(images[i:i + columns].unbind(0)) for i in range(0, len(images), columns)]
    return contact_sheet(rows, titles, cell=cell, gap=4)
