"""The points of a face: what they are, how they are read, and the published square around a face.

Coordinates are photo pixels (x to the right, y down) with the centres of the pixels at whole numbers, as landmark
detectors give them: the photo's upper left corner is (-0.5, -0.5). A face has four or five points in this order:

    eye on the left, eye on the right, [tip of the nose,] mouth corner on the left, mouth corner on the right

Left and right are those of the upright picture, not of the person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["EYE_MOUTH", "check_points", "ffhq_quad", "format_points", "parse_points"]

#: Rows of the eyes and mouth corners among four and among five points.
EYE_MOUTH: dict[int, tuple[int, int, int, int]] = {4: (0, 1, 2, 3), 5: (0, 1, 3, 4)}
MAX_TEXT = 1 << 20
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_HELP = ("Write one face a line, as 4 or 5 pairs x,y: the eye on the left, the eye on the right, (nose,) the mouth "
         "corner on the left, the mouth corner on the right; in pixels of the photo.")


def check_points(points: Tensor | Sequence[Sequence[float]], what: str = "face") -> Tensor:
    """One face's points as float64 ``[5,2]`` or ``[4,2]`` (CPU), left before right.

    ``[68,2]`` (the iBUG / dlib scheme) is reduced to five: the means of the eyes' outlines, the nose's tip (30) and
    the outer mouth corners (48, 54). Points whose left and right are swapped are put in order: with eyes above the
    mouth there is only one upright way to read them.

    Raises:
        InputError: another number of points, values that are not finite, or eyes and mouth in one place.
    """
    try:
        given = torch.as_tensor(points, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"The points of the {what} must be numbers, found {repr(points)[:80]}. {_HELP}") from error
    if given.ndim != 2 or given.shape[1] != 2 or given.shape[0] not in (4, 5, 68):
        raise InputError(f"A {what} needs 4, 5 or 68 points x,y; found the shape {list(given.shape)}. {_HELP}")
    if not bool(given.isfinite().all()) or float(given.abs().max()) > 1e6:
        raise InputError(f"The points of the {what} hold NaN, infinite or absurdly large numbers. {_HELP}")
    if given.shape[0] == 68:
        given = torch.stack([given[36:42].mean(0), given[42:48].mean(0), given[30], given[48], given[54]])
    left_eye, right_eye, left_mouth, right_mouth = EYE_MOUTH[len(given)]
    down = (given[left_mouth] + given[right_mouth] - given[left_eye] - given[right_eye]) / 2.0
    if float(down.norm()) < 1e-3 * max(1.0, float((given[left_eye] - given[right_eye]).norm())):
        raise InputError(f"The eyes and the mouth of the {what} are in the same place; check the points. {_HELP}")
    right = torch.stack([down[1], -down[0]])
    ordered = given.clone()
    for a, b in ((left_eye, right_eye), (left_mouth, right_mouth)):
        if float((given[b] - given[a]) @ right) < 0.0:
            ordered[a], ordered[b] = given[b], given[a]
    return ordered


def ffhq_quad(points: Tensor) -> Tensor:
    """The published FFHQ square around a face (Karras et al. 2019, appendix A), float64.

    With e the vector from eye to eye and m the one from the eyes' middle to the mouth's: x points along
    e - rot90(m) and has the length max(2 |e|, 1.8 |m|), y is x turned by 90 degrees, and the square's centre is the
    eyes' middle + 0.1 m.

    Args:
        points: ``[...,5,2]`` or ``[...,4,2]``; see the module.

    Returns:
        Corners ``[...,4,2]`` in photo pixels: upper left, lower left, lower right, upper right.
    """
    points = points.double()
    left_eye, right_eye, left_mouth, right_mouth = (points[..., i, :] for i in EYE_MOUTH[points.shape[-2]])
    eyes = (left_eye + right_eye) / 2.0
    across = right_eye - left_eye
    down = (left_mouth + right_mouth) / 2.0 - eyes
    x = across + torch.stack([down[..., 1], -down[..., 0]], -1)
    reach = torch.maximum(across.norm(dim=-1) * 2.0, down.norm(dim=-1) * 1.8)
    x = x / x.norm(dim=-1, keepdim=True) * reach[..., None]
    y = torch.stack([-x[..., 1], x[..., 0]], -1)
    centre = eyes + down * 0.1
    return torch.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y], -2)


def parse_points(text: str) -> list[Tensor]:
    """Faces from text, one ``[4,2]`` or ``[5,2]`` each (68 points are reduced to five).

    Numbers are separated by spaces, commas, semicolons or brackets; ``#`` begins a comment. A line that holds a whole
    face is one; otherwise the lines up to an empty line are.

    Raises:
        InputError: no points, a number of values that makes no face (the message names the line), other text.
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise InputError(f"Points must be a text of at most {MAX_TEXT} characters. {_HELP}")
    rows: list[list[float]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines() or [""], start=1):
        content = re.sub(r"[,;\[\]()]", " ", line.split("#", 1)[0])
        if wrong := [word for word in content.split() if not re.fullmatch(_NUMBER, word)]:
            raise InputError(f"Line {number} of the points holds {repr(wrong[0])[:60]}, which is no number. {_HELP}")
        rows.append([float(word) for word in content.split()])
    sizes = (8, 10, 136)
    if all(len(row) in sizes for row in rows if row):
        faces = [row for row in rows if row]
    else:
        blocks: list[list[float]] = [[]]
        for row in rows:
            blocks[-1].extend(row)
            if not row:
                blocks.append([])
        faces = [block for block in blocks if block]
    if not faces:
        raise InputError(f"There are no points in the text. {_HELP}")
    for index, face in enumerate(faces):
        if len(face) not in sizes:
            raise InputError(f"Face {index} has {len(face)} numbers; a face has 8 or 10. {_HELP}")
    return [check_points(torch.tensor(face, dtype=torch.float64).view(-1, 2), f"face {i}")
            for i, face in enumerate(faces)]


def format_points(faces: Sequence[Tensor]) -> str:
    """The text that :func:`parse_points` reads back, one face a line, to a thousandth of a pixel."""
    def number(value: float) -> str:
        return f"{value:.3f}" if math.isfinite(value) else "nan"

    return "\n".join(" ".join(f"{number(x)},{number(y)}" for x, y in face.tolist()) for face in faces)
