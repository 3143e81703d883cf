"""Which square belongs to a face: the published FFHQ one, or the one that another domain's pictures were cut with."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .points import EYE_MOUTH, ffhq_quad

__all__ = ["FACES", "FFHQ", "NAMES", "Framing", "framing_named", "framing_of", "in_frame", "shape_features",
           "transform_square"]

LARGEST_CHANGE = 1.0  # points that no face of the domain has must not send the square far away


@dataclass(frozen=True)
class Framing:
    """From points to a square: FFHQ's own where neither ``table`` nor ``points`` is given.

    ``points``: where the five points lie in the domain's crops, as shares of their side. The square is the one that
    brings a face's points nearest to them (least squares over shift, scale and turn).

    ``table``: four rows (shift along the square's x and y in units of its half side, natural logarithm of the scale,
    turn in radians) of 45 weights for :func:`shape_features` of the five points: how this domain's square differs
    from FFHQ's. Four points do not serve then.
    """

    name: str = "ffhq"
    table: tuple[tuple[float, ...], ...] = ()
    points: tuple[tuple[float, float], ...] = ()

    def quad(self, points: Tensor) -> Tensor:
        """Corners ``[4,2]`` (upper left, lower left, lower right, upper right) of checked points ``[4|5,2]``."""
        if self.points:
            return similar_square(points, self.points)
        square = ffhq_quad(points)
        if not self.table:
            return square
        if len(points) != 5:
            raise InputError(f"The framing {self.name!r} needs five points (with the nose), found {len(points)}.")
        change = torch.tensor(self.table, dtype=torch.float64) @ shape_features(in_frame(points, square))
        return transform_square(square, change.clamp(-LARGEST_CHANGE, LARGEST_CHANGE))


FFHQ = Framing()
#: Where the five points lie in the published crops of FairFace (dlib's crop with a quarter of padding): medians of the
#: published labels, made symmetric, and as much lower as those lie too high (`own_detector.LABELS_HIGH`).
FACES = Framing("faces", points=((0.3140, 0.2919), (0.6860, 0.2919), (0.5, 0.5215), (0.3487, 0.7015), (0.6513, 0.7015)))
NAMES = ("ffhq", "faces", "portraits")


def similar_square(points: Tensor, wanted: Sequence[tuple[float, float]]) -> Tensor:
    """Corners ``[4,2]`` of the square in which ``points [4|5,2]`` lie nearest to the five ``wanted`` shares of it."""
    target = torch.tensor(wanted, dtype=torch.float64)
    if len(points) == 4:
        target = target[list(EYE_MOUTH[5])]
    # As complex numbers a similarity is z -> a z + b, and its least squares are one division.
    share, pixel = (torch.complex(*p.double().unbind(1)) for p in (target, points))
    centred = share - share.mean()
    a = (centred.conj() * (pixel - pixel.mean())).sum() / centred.abs().square().sum()
    corners = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 0]], dtype=torch.float64)
    return torch.view_as_real(a * (torch.view_as_complex(corners) - share.mean()) + pixel.mean())


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


def transform_square(quad: Tensor, change: Tensor) -> Tensor:
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
    """A framing by its name, one of ``NAMES``; a Framing comes back as it is.

    Raises:
        InputError: another name.
    """
    if isinstance(name, Framing):
        return name
    if name not in NAMES:
        raise InputError(f"There is no framing {repr(name)[:60]}; there are: {', '.join(NAMES)}.")
    return {"ffhq": FFHQ, "faces": FACES}.get(name) or portraits_framing()


@functools.cache
def portraits_framing() -> Framing:
    """The square of the packaged portraits; ``portraits.landmarks.fit_portraits_framing`` made the table."""
    rows = json.loads(Path(__file__).with_name("portraits_framing.json").read_text("utf-8"))
    return Framing("portraits", tuple(map(tuple, rows)))


def framing_of(value: Any) -> Framing:
    """What a domain.json says under "framing": a name, or five pairs of shares of the crop's side.

    Raises:
        InputError: neither.
    """
    if isinstance(value, str):
        return framing_named(value)
    pairs = value if isinstance(value, list) and len(value) == 5 else []
    if not pairs or not all(isinstance(p, list) and len(p) == 2 and all(type(v) in (int, float) and -1 <= v <= 2
                                                                       for v in p) for p in pairs):
        raise InputError(f'"framing" is one of {", ".join(NAMES)}, or five pairs x,y: where the eyes, the nose and the '
                         f"mouth's corners lie in a crop, as shares of its side; found {repr(value)[:60]}.")
    return Framing("own", points=tuple((float(x), float(y)) for x, y in pairs))
