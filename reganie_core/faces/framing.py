"""Which square belongs to a face: the published FFHQ one, or the one that another domain was drawn in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .points import ffhq_quad

__all__ = ["FFHQ", "Framing", "framing_named", "in_frame", "moved", "shape_features"]

LARGEST_CHANGE = 1.0  # points that no face of the domain has must not send the square far away


@dataclass(frozen=True)
class Framing:
    """From points to a square.

    ``table`` is empty for FFHQ's own square. Otherwise it holds four rows (shift along the square's x and y in units
    of its half side, natural logarithm of the scale, turn in radians) of 45 weights for :func:`shape_features` of the
    five points: how this domain's square differs from FFHQ's. Four points do not serve then.
    """

    name: str = "ffhq"
    table: tuple[tuple[float, ...], ...] = ()

    def quad(self, points: Tensor) -> Tensor:
        """Corners ``[4,2]`` (upper left, lower left, lower right, upper right) of checked points ``[4|5,2]``."""
        square = ffhq_quad(points)
        if not self.table:
            return square
        if len(points) != 5:
            raise InputError(f"The framing {self.name!r} needs five points (with the nose), found {len(points)}.")
        change = torch.tensor(self.table, dtype=torch.float64) @ shape_features(in_frame(points, square))
        return moved(square, change.clamp(-LARGEST_CHANGE, LARGEST_CHANGE))


FFHQ = Framing()


def in_frame(points: Tensor, quad: Tensor) -> Tensor:
    """Points in a square's frame: 0 in its centre, +-1 on its edges; float64."""
    centre = quad.mean(-2)
    x, y = (quad[..., 3, :] - quad[..., 0, :]) / 2.0, (quad[..., 1, :] - quad[..., 0, :]) / 2.0
    offset = points.double() - centre[..., None, :]
    size = (x * x).sum(-1)[..., None]
    return torch.stack([(offset * x[..., None, :]).sum(-1) / size, (offset * y[..., None, :]).sum(-1) / size], -1)


def shape_features(local: Tensor) -> Tensor:
    """``[...,45]`` of five points ``[...,5,2]`` in FFHQ's frame: 1, the eight independent coordinates, their products.

    The coordinates are those of both eyes, the nose and the vector between the mouth's corners; the mouth's middle
    follows from the eyes in this frame.
    """
    mouth = local[..., 4, :] - local[..., 3, :]
    single = torch.cat([local[..., :3, :].flatten(-2), mouth], -1)
    rows, columns = torch.triu_indices(8, 8, device=local.device)
    return torch.cat([torch.ones_like(single[..., :1]), single, single[..., rows] * single[..., columns]], -1)


def moved(quad: Tensor, change: Tensor) -> Tensor:
    """A square shifted along its own axes (half sides), scaled by exp, and turned (radians): ``change`` [4]."""
    centre = quad.mean(0)
    x, y = (quad[3] - quad[0]) / 2.0, (quad[1] - quad[0]) / 2.0
    shift_x, shift_y, scale, turn = change.tolist()
    centre = centre + shift_x * x + shift_y * y
    grown = math.exp(max(-2.0, min(2.0, scale)))
    new_x = (x * math.cos(turn) + y * math.sin(turn)) * grown
    new_y = (y * math.cos(turn) - x * math.sin(turn)) * grown
    return torch.stack([centre - new_x - new_y, centre - new_x + new_y, centre + new_x + new_y, centre + new_x - new_y])


def framing_named(name: str | Framing) -> Framing:
    """``"ffhq"`` or ``"portraits"`` (the packaged domain's own framing), or a Framing as it is.

    Raises:
        InputError: another name.
    """
    if isinstance(name, Framing):
        return name
    if name == "ffhq":
        return FFHQ
    if name == "portraits":
        from ..portraits.landmarks import portraits_framing

        return portraits_framing()
    raise InputError(f"There is no framing {repr(name)[:60]}; there are: ffhq, portraits.")
