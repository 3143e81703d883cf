"""Which of several faces? By number, size, place, or all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, NotFoundError
from .points import check_points, ffhq_quad

__all__ = ["CHOICES", "Found", "choose"]

CHOICES: tuple[str, ...] = ("largest", "smallest", "left", "right", "top", "bottom", "centre", "best", "all")
_NUMBERS = re.compile(r"\d{1,3}(\s*,\s*\d{1,3})*")
_PLACE = re.compile(r"@\s*([+-]?\d+(?:\.\d*)?)\s*,\s*([+-]?\d+(?:\.\d*)?)")


@dataclass(frozen=True, eq=False)
class Found:
    """One face that was found: points ``[5,2]`` or ``[4,2]`` in photo pixels (float64, CPU), and a score in [0,1]."""

    points: Tensor
    score: float | None = None

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the face's square."""
        x, y = ffhq_quad(self.points).mean(0).tolist()
        return x, y

    @property
    def side(self) -> float:
        """Side of the face's square."""
        quad = ffhq_quad(self.points)
        return float((quad[3] - quad[0]).norm())

    @classmethod
    def at(cls, points: Tensor | Sequence[Sequence[float]], score: float | None = None) -> Found:
        """From unchecked points."""
        return cls(check_points(points), score)


def choose(faces: Sequence[Found], which: str | int, photo_size: tuple[int, int], name: str = "photo") -> list[Found]:
    """The faces asked for.

    Args:
        which: one of ``CHOICES`` ("best" is the detector's score); a number or several ("0,2"), counted from 0 and from
            left to right; or "@x,y", the face nearest to a pixel.
        photo_size: (width, height).
        name: the photo's name for messages.

    Raises:
        InputError: a choice that cannot be read.
        NotFoundError: no faces, or no face of that number.
    """
    text = str(which).strip().lower()
    text = {"center": "centre", "middle": "centre"}.get(text, text)
    if not faces:
        raise NotFoundError(f"No face was found in {name}. Give its points by hand, or another photo.")
    ordered = sorted(faces, key=lambda face: face.centre)
    if text == "all":
        return ordered
    if _NUMBERS.fullmatch(text):
        numbers = [int(part) for part in text.split(",")]
        if max(numbers) >= len(ordered):
            raise NotFoundError(f"There is no face {max(numbers)} in {name}: {len(ordered)} found, counted from 0 on "
                                "the left.")
        return [ordered[i] for i in dict.fromkeys(numbers)]
    middle = ((photo_size[0] - 1) / 2.0, (photo_size[1] - 1) / 2.0)
    if place := _PLACE.fullmatch(text):
        target = (float(place[1]), float(place[2]))
        return [min(ordered, key=lambda face: math.dist(face.centre, target))]
    keys = {
        "largest": lambda face: -face.side, "smallest": lambda face: face.side,
        "left": lambda face: face.centre[0], "right": lambda face: -face.centre[0],
        "top": lambda face: face.centre[1], "bottom": lambda face: -face.centre[1],
        "centre": lambda face: math.dist(face.centre, middle),
        "best": lambda face: -(face.score if face.score is not None else 0.0),
    }
    if text not in keys:
        raise InputError(f"Cannot choose the face {repr(which)[:60]}; use one of {', '.join(CHOICES)}, numbers such "
                         "as 0 or 0,2 (from the left), or @x,y.")
    return [min(ordered, key=keys[text])]


def as_found(points: Tensor | Sequence[Any] | None) -> list[Found]:
    """Points of one photo in any accepted form: one face ``[K,2]``, several ``[N,K,2]`` or a list, or None."""
    if points is None:
        return []
    if isinstance(points, Tensor) and points.ndim == 2:
        points = [points]
    return [face if isinstance(face, Found) else Found.at(torch.as_tensor(face)) for face in points]
