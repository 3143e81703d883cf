"""The packaged face detector: ours, 1.2 MB, so that a photo can be aligned on the first day."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import NotFoundError
from ..images import check_image, resize
from ..networks.face_detector import CELL, CROP, FaceDetectorNet
from .choose import Found
from .framing import FACES
from .points import check_points
from .warp import sample_square
from .yunet import non_maximum_suppression

__all__ = ["PACKAGED_DETECTOR", "OwnDetector", "load_own_detector"]

PACKAGED_DETECTOR = Path(__file__).parent / "weights" / "face_detector.safetensors"
#: Longest sides of the copies looked at. The finder knows squares of 28 to 80 px: 4 % of a picture and more.
SIDES = (640, 320, 160, 80, 48)
LOOKS = 2           # of the refiner: the second one at the square that the first one found
MARGIN = 1.15       # of the refiner's square around the face's own
#: The points of the photographs that it learned from lie this share of a face's side too high (they came from a
#: detector that looked at small pictures; measured on 51 people in 640 px, against the same detector).
LABELS_HIGH = 0.033


class OwnDetector:
    """``detect(images)``; see :class:`reganie_core.faces.Detector`.

    Attributes:
        network: in eval mode.
        threshold: smallest score of a face.
        overlap: squares that overlap more (intersection over union) are the same face.
        sides: longest sides of the copies that are searched; add 1280 for tiny faces in large photos.
    """

    def __init__(self, network: FaceDetectorNet, threshold: float = 0.85, overlap: float = 0.3,
                 sides: tuple[int, ...] = SIDES) -> None:
        self.network, self.threshold, self.overlap, self.sides = network, threshold, overlap, sides

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[list[Found]]:
        """Faces of pictures ``[B,3,H,W]`` in [-1,1], best first, in their pixels."""
        images = check_image(images).clamp(-1.0, 1.0)
        return [self._detect_one(image[None]) for image in images]

    def _detect_one(self, image: Tensor) -> list[Found]:
        height, width = image.shape[-2:]
        device = next(self.network.parameters()).device
        copies, rows = [], []
        for side in self.sides:
            ratio = side / max(height, width)
            if ratio > 2.0 and side != self.sides[-1]:
                continue            # a small picture is not enlarged more than twice
            shape = (max(1, round(height * ratio)), max(1, round(width * ratio)))
            copy = resize(image.to(device), shape, "bilinear")
            copies.append(copy)
            rows.append(self._search(copy, (width, height)))
        found = non_maximum_suppression(torch.cat(rows), self.overlap)
        return [Found(check_points(points), float(row[14])) for row in found
                if (points := self._refined(copies, row[4:14].view(5, 2), (width, height))) is not None]

    def _search(self, image: Tensor, photo_size: tuple[int, int]) -> Tensor:
        """Candidates ``[N,15]`` (square x0 y0 x1 y1, five points, score) in photo pixels, centres at whole numbers."""
        h, w = image.shape[-2:]
        logits, side, points = self.network.find(F.pad(image, (0, -w % CELL, 0, -h % CELL), mode="replicate"))
        chosen = logits[0].sigmoid() > self.threshold
        points[..., 1] += LABELS_HIGH * side[..., None]
        score, half, points = (v[0][chosen].double().cpu() for v in (logits.sigmoid(), side / 2.0, points))
        scale = torch.tensor([photo_size[0] / w, photo_size[1] / h], dtype=torch.float64)
        points = (points + 0.5) * scale - 0.5
        centre, half = points.mean(1), half[:, None] * scale
        return torch.cat([centre - half, centre + half, points.flatten(1), score[:, None]], 1)

    def _refined(self, copies: list[Tensor], points: Tensor, photo_size: tuple[int, int]) -> Tensor | None:
        """Points ``[5,2]`` in photo pixels, seen again at 64 px; None where they span no square."""
        for _ in range(LOOKS):
            square = FACES.quad(points)
            square = square.mean(0) + MARGIN * (square - square.mean(0))
            side = float((square[3] - square[0]).norm())
            if not 1.0 < side < 100.0 * max(photo_size):
                return None
            # the copy in which the square is nearest to 64 px, but not smaller where there is a larger one
            ratios = [copy.shape[-1] / photo_size[0] for copy in copies]
            fitting = [r for r in ratios if r * side >= CROP] or [max(ratios)]
            copy = copies[ratios.index(min(fitting))]
            scale = torch.tensor([copy.shape[-1] / photo_size[0], copy.shape[-2] / photo_size[1]], dtype=torch.float64)
            crop = sample_square(copy, (square + 0.5) * scale - 0.5, CROP)
            share = self.network.refine(crop)[0].double().cpu()
            share[:, 1] += LABELS_HIGH / MARGIN
            points = square[0] + share[:, :1] * (square[3] - square[0]) + share[:, 1:] * (square[1] - square[0])
        return points if bool(points.isfinite().all()) else None


def load_own_detector(path: str | os.PathLike[str] = PACKAGED_DETECTOR, device: torch.device | str = "cpu"
                      ) -> OwnDetector:
    """The detector that is packaged, or one that `trainer/train.py face_detector` wrote.

    Raises:
        NotFoundError: the packaged file is missing.
        CheckpointError: the file is damaged or something else.
    """
    from ..checkpoints import load_face_detector

    if not Path(path).is_file():
        raise NotFoundError(f"There is no {path}; install the package again, or give a detector's file.")
    return OwnDetector(load_face_detector(path, device))
