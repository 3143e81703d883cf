"""One face in one photo: the square around it, and the map between the photo and the aligned crop."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .points import check_points

__all__ = ["Face"]

FORMAT_VERSION = 1
MAX_SIZE = 8192
MAX_PHOTO = 1 << 20
Pair = tuple[float, float]


def _pairs(points: Tensor) -> tuple[Pair, ...]:
    return tuple((float(x), float(y)) for x, y in points.double().tolist())


@dataclass(frozen=True)
class Face:
    """Where a crop was cut, so that it can be put back. Holds numbers only, no picture.

    Attributes:
        quad: corners in photo pixels (centres of pixels at whole numbers): upper left, lower left, lower right, upper
            right of the crop; a parallelogram, in practice a square of any orientation.
        size: side of the crop in pixels.
        photo_size: (width, height) of the photo.
        points: four or five points of the face in photo pixels, None for a picture that came aligned.
        index: which photo of the batch, counted from 0.
        name: the photo's name for messages.
        score: the detector's confidence in [0,1], None where no detector was used.
    """

    quad: tuple[Pair, Pair, Pair, Pair]
    size: int
    photo_size: tuple[int, int]
    points: tuple[Pair, ...] | None = None
    index: int = 0
    name: str = ""
    score: float | None = None

    def __post_init__(self) -> None:
        corners = [float(v) for pair in self.quad for v in pair]
        if len(corners) != 8 or not all(math.isfinite(v) for v in corners):
            raise InputError(f"The square of a face has four corners x,y, found {repr(self.quad)[:80]}.")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not 1 <= self.size <= MAX_SIZE:
            raise InputError(f"The side of a crop lies between 1 and {MAX_SIZE} pixels, found {self.size!r}.")
        if len(self.photo_size) != 2 or min(self.photo_size) < 1 or max(self.photo_size) > MAX_PHOTO:
            raise InputError(f"A photo has a width and a height, found {repr(self.photo_size)[:60]}.")
        q = self.corners
        if float((q[0] + q[2] - q[1] - q[3]).abs().max()) > 1e-3 * max(1.0, self.side):
            raise InputError("The corners of a face's square are no parallelogram; align the photo again.")
        if abs(float(torch.linalg.det(self.matrix[:, :2]))) < 1e-6:
            raise InputError("The square of a face has no area; check the points of the face.")

    @classmethod
    def from_quad(cls, quad: Tensor, size: int, photo_size: tuple[int, int], points: Tensor | None = None,
                  **more: Any) -> Face:
        """From corners ``[4,2]`` and points ``[K,2]``; ``photo_size`` is (width, height)."""
        a, b, c, d = _pairs(quad)
        known = None if points is None else _pairs(points)
        return cls((a, b, c, d), int(size), (int(photo_size[0]), int(photo_size[1])), known, **more)

    @classmethod
    def whole(cls, photo_size: tuple[int, int], size: int | None = None, **more: Any) -> Face:
        """A photo that is aligned already: its largest centred square (all of a square photo)."""
        width, height = photo_size
        side = min(width, height)
        left, top = (width - side) / 2 - 0.5, (height - side) / 2 - 0.5
        quad = torch.tensor([[left, top], [left, top + side], [left + side, top + side], [left + side, top]])
        return cls.from_quad(quad, size or side, photo_size, **more)

    @property
    def corners(self) -> Tensor:
        """The square ``[4,2]``, float64."""
        return torch.tensor(self.quad, dtype=torch.float64)

    @property
    def landmarks(self) -> Tensor | None:
        """The points ``[K,2]``, float64."""
        return None if self.points is None else torch.tensor(self.points, dtype=torch.float64)

    @property
    def side(self) -> float:
        """Side of the square in photo pixels (the mean of both directions)."""
        q = self.corners
        return float(((q[3] - q[0]).norm() + (q[1] - q[0]).norm()) / 2.0)

    @property
    def angle(self) -> float:
        """Turn of the face in the picture, degrees, clockwise as seen."""
        x, y = (self.corners[3] - self.corners[0]).tolist()
        return math.degrees(math.atan2(y, x))

    @property
    def centre(self) -> Pair:
        """Centre of the square in photo pixels."""
        x, y = self.corners.mean(0).tolist()
        return x, y

    @property
    def matrix(self) -> Tensor:
        """``[2,3]`` float64: photo = matrix @ (u, v, 1) with u, v in [0,1] across and down the crop, edge to edge."""
        q = self.corners
        return torch.stack([q[3] - q[0], q[1] - q[0], q[0]], 1)

    def crop_to_photo(self, points: Tensor) -> Tensor:
        """Crop pixels ``[...,2]`` (centres at whole numbers) in photo pixels; float64, exact inverse of the other."""
        m = self.matrix.to(points.device)
        return ((points.double() + 0.5) / self.size) @ m[:, :2].T + m[:, 2]

    def photo_to_crop(self, points: Tensor) -> Tensor:
        """Photo pixels ``[...,2]`` in crop pixels, float64."""
        m = self.matrix.to(points.device)
        return (points.double() - m[:, 2]) @ torch.linalg.inv(m[:, :2]).T * self.size - 0.5

    def resized(self, size: int) -> Face:
        """The same square cut with another number of pixels."""
        return replace(self, size=int(size))

    def bounds(self) -> tuple[int, int, int, int]:
        """x0, x1, y0, y1 (ends exclusive) of the photo pixels that may lie inside the square; empty where none do."""
        low, high = self.corners.amin(0).ceil().long(), self.corners.amax(0).floor().long() + 1
        width, height = self.photo_size
        x0, y0 = (int(v) for v in low.clamp_min(0))
        x1, y1 = min(int(high[0]), width), min(int(high[1]), height)
        return x0, max(x0, x1), y0, max(y0, y1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Face:
        """Read what :meth:`to_dict` wrote. Raises :class:`InputError` for anything else."""
        if not isinstance(data, Mapping) or data.get("format_version") != FORMAT_VERSION:
            raise InputError(f"This is no face of format {FORMAT_VERSION}: {repr(data)[:80]}. Align the photo again.")
        try:
            if type(data["size"]) is not int:
                raise InputError(f"the size is {repr(data['size'])[:40]}")
            points = data.get("points")
            score = data.get("score")
            return cls.from_quad(
                torch.tensor(data["quad"], dtype=torch.float64), data["size"], tuple(data["photo_size"]),
                None if points is None else check_points(points), index=int(data.get("index", 0)),
                name=str(data.get("name", ""))[:200], score=None if score is None else float(score))
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"The face cannot be read ({error}); align the photo again.") from error

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Face:
        """Read what :meth:`to_json` wrote."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"The face is no JSON: {error}. Align the photo again.") from error
