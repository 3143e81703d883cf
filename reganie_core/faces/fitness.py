"""Is this face fit for editing, and is a picture that claims to be aligned really aligned?"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ReganieWarning
from .face import Face
from .framing import FFHQ, Framing, framing_named
from .points import EYE_MOUTH, check_points

__all__ = ["Limits", "Misfit", "measure_misfit", "problem_with", "warn_of_misfit"]


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        side: smallest side of a face's square in photo pixels.
        profile: smallest distance of the eyes along the face's own horizontal, as a share of the distance from eyes to
            mouth; about 1 seen from the front, 0.5 at 60 degrees, 0 in full profile.
        inside: smallest share of the square that lies inside the photo.
    """

    side: float = 32.0
    profile: float = 0.4
    inside: float = 0.3


def problem_with(face: Face, limits: Limits) -> str | None:
    """Why a face should not be edited (one sentence for people), or None."""
    if face.side < limits.side:
        return (f"the face is tiny: its square has {face.side:.0f} pixels on a side, at least {limits.side:.0f} are "
                "needed")
    x0, x1, y0, y1 = face.bounds()
    share = (x1 - x0) * (y1 - y0) / max(1.0, _box_area(face.corners))
    if share < limits.inside:
        return f"only {100 * share:.0f} % of the face's square lies inside the photo"
    points = face.landmarks
    if points is None:
        return None
    ratio = openness_of(points)
    if ratio < limits.profile:
        return (f"the face is seen from the side: its eyes are {ratio:.2f} eye-mouth distances apart, at least "
                f"{limits.profile:.2f} are needed")
    return None


def _box_area(corners: Tensor) -> float:
    width, height = (corners.amax(0) - corners.amin(0)).tolist()
    return width * height


def openness_of(points: Tensor) -> float:
    """Distance of the eyes (or mouth corners, scaled) across the face over the distance from eyes to mouth."""
    points = check_points(points)
    left_eye, right_eye, left_mouth, right_mouth = (points[i] for i in EYE_MOUTH[len(points)])
    down = (left_mouth + right_mouth - left_eye - right_eye) / 2.0
    length = float(down.norm())
    right = torch.stack([down[1], -down[0]]) / length
    return float((right_eye - left_eye) @ right) / length


@dataclass(frozen=True)
class Misfit:
    """How far a picture is from its aligned form.

    Attributes:
        shift: distance of the centres as a share of the picture's side.
        scale: side of the face's square over the picture's side; above 1 the face is too large.
        angle: turn of the face in degrees, clockwise as seen.
    """

    shift: float
    scale: float
    angle: float

    @property
    def large(self) -> bool:
        """Whether an encoder trained on aligned pictures will notice."""
        return self.shift > 0.08 or not 0.8 < self.scale < 1.25 or abs(self.angle) > 8.0

    def __str__(self) -> str:
        return (f"the face is off by {100 * self.shift:.0f} % of the picture's side, its square is "
                f"{self.scale:.2f} times the picture, and it is turned by {self.angle:+.0f} degrees")


def measure_misfit(points: Tensor, photo_size: tuple[int, int], framing: str | Framing = FFHQ) -> Misfit:
    """The misfit of a picture (width, height) that claims to be aligned, from the points found in it.

    The picture's largest centred square is compared with the square that belongs to the points.
    """
    quad = framing_named(framing).quad(check_points(points))
    ideal = Face.whole(photo_size)
    found = Face.from_quad(quad, ideal.size, photo_size)
    shift = math.dist(found.centre, ideal.centre) / ideal.side
    return Misfit(shift, found.side / ideal.side, found.angle)


def warn_of_misfit(misfit: Misfit, name: str, stacklevel: int = 3) -> bool:
    """Warn where a misfit is large; returns whether it was."""
    if misfit.large:
        warnings.warn(f"{name} was given as aligned, but {misfit}. Let the face be aligned, or edits will look wrong.",
                      ReganieWarning, stacklevel=stacklevel)
    return misfit.large
