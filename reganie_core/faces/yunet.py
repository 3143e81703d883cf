"""YuNet (Feng, Peng, Feng, Yu, Yu 2021): a small, permissively licensed face detector with five points a face.

The network is kornia's class; its weights come from a local file through this project's safe reader. kornia's own
``FaceDetector`` is not used, because its constructor downloads.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from importlib import import_module
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CorruptCheckpointError, NotFoundError, UnsupportedCheckpointError
from ..images import check_image, resize
from .choose import Found
from .points import check_points

__all__ = ["YuNet", "load_yunet", "non_maximum_suppression"]

#: Anchor sides of the four scales, whose cells are 8, 16, 32 and 64 pixels wide.
ANCHORS: tuple[tuple[int, ...], ...] = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
VARIANCES = (0.1, 0.2)
#: Longest sides of the copies looked at: the network finds faces of about 10 to 300 pixels.
SIDES = (640, 320)
VALUES = 17  # numbers for each anchor: 4 box, 10 points, 2 classes, 1 overlap
FILE_HINT = "yunet_final.pth of kornia's model collection (about 0.3 MB)"


class YuNet:
    """``detect(images)``; see :class:`reganie_core.faces.Detector`.

    Attributes:
        network: kornia's module, in eval mode.
        threshold: smallest score of a face.
        overlap: boxes that overlap more (intersection over union) are the same face.
        sides: longest sides of the copies that are searched; add 1280 for tiny faces in large photos.
    """

    def __init__(self, network: nn.Module, threshold: float = 0.6, overlap: float = 0.3,
                 sides: tuple[int, ...] = SIDES) -> None:
        self.network = network
        self.threshold = threshold
        self.overlap = overlap
        self.sides = sides

    def detect(self, images: Tensor) -> list[list[Found]]:
        """Faces of pictures ``[B,3,H,W]`` in [-1,1], best first, in their pixels."""
        images = check_image(images)
        device = next(self.network.parameters()).device
        with torch.no_grad():
            return [self._detect_one(image[None], device) for image in images]

    def _detect_one(self, image: Tensor, device: torch.device) -> list[Found]:
        height, width = image.shape[-2:]
        rows = []
        done = set()
        for side in self.sides:
            ratio = min(1.0, side / max(height, width))
            shape = (max(1, round(height * ratio)), max(1, round(width * ratio)))
            if shape not in done:
                done.add(shape)
                rows.append(self._search(resize(image.to(device), shape, "bilinear"), (width, height)))
        found = non_maximum_suppression(torch.cat(rows), self.overlap)
        return [Found(check_points(row[4:14].view(5, 2)), float(row[14])) for row in found if _has_shape(row)]

    def _search(self, image: Tensor, photo_size: tuple[int, int]) -> Tensor:
        """Candidates ``[N,15]`` (box x0 y0 x1 y1, five points, score) in photo pixels, centres at whole numbers."""
        h, w = image.shape[-2:]
        pixels = (image.clamp(-1.0, 1.0).flip(1) + 1.0) * 127.5  # BGR in 0..255, as it was trained
        pixels = F.pad(pixels, (0, -w % 64, 0, -h % 64))
        out = self.network(pixels)
        rows = decode(out["loc"][0], out["conf"][0], out["iou"][0], (pixels.shape[-2], pixels.shape[-1]))
        rows = rows[rows[:, 14] > self.threshold].double().cpu()
        scale = torch.tensor([photo_size[0] / w, photo_size[1] / h], dtype=torch.float64).repeat(7)
        rows[:, :14] = rows[:, :14] * scale - 0.5
        return rows


def decode(loc: Tensor, conf: Tensor, iou: Tensor, shape: tuple[int, int]) -> Tensor:
    """Raw outputs ``[A,14]``, ``[A,2]`` (probabilities), ``[A,1]`` as ``[A,15]`` in pixels measured from the corner.

    The box's centre and the points are offsets in tenths of the anchor, its size an exponent in fifths; the score is
    the geometric mean of the class probability and the predicted overlap.
    """
    anchors = _anchors(shape).to(loc)
    if len(anchors) != len(loc):
        raise UnsupportedCheckpointError(f"The detector gives {len(loc)} candidates where {len(anchors)} are expected; "
                                         "this version of kornia has another network.")
    centre = anchors[:, :2] + loc[:, :2] * VARIANCES[0] * anchors[:, 2:]
    half = anchors[:, 2:] * torch.exp((loc[:, 2:4] * VARIANCES[1]).clamp_max(10.0)) / 2.0
    points = rearrange(loc[:, 4:], "anchor (point xy) -> anchor point xy", xy=2)
    points = anchors[:, None, :2] + points * VARIANCES[0] * anchors[:, None, 2:]
    score = (conf[:, 1] * iou[:, 0].clamp(0.0, 1.0)).sqrt()
    return torch.cat([centre - half, centre + half, points.flatten(1), score[:, None]], 1)


def _anchors(shape: tuple[int, int]) -> Tensor:
    """``[A,4]``: centre and size in pixels, row by row, scale by scale."""
    parts = []
    for level, sides in enumerate(ANCHORS):
        cell = 8 << level
        rows, columns = shape[0] // cell, shape[1] // cell
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres = (torch.stack([x, y], -1).float() + 0.5) * cell
        size = torch.tensor(sides, dtype=torch.float32)
        parts.append(torch.cat([repeat(centres, "row column xy -> (row column side) xy", side=len(sides)),
                                repeat(size, "side -> (place side) wh", place=rows * columns, wh=2)], -1))
    return torch.cat(parts)


def non_maximum_suppression(rows: Tensor, overlap: float) -> Tensor:
    """Greedy non-maximum suppression of ``[N,15]``: the best first, without those that overlap a better one."""
    rows = rows[rows[:, 14].argsort(descending=True, stable=True)][:1000]
    selected: list[Tensor] = []
    area = (rows[:, 2:4] - rows[:, :2]).clamp_min(0.0).prod(1)
    alive = torch.ones(len(rows), dtype=torch.bool)
    for i in range(len(rows)):
        if not alive[i]:
            continue
        selected.append(rows[i])
        low = torch.maximum(rows[:, :2], rows[i, :2])
        high = torch.minimum(rows[:, 2:4], rows[i, 2:4])
        common = (high - low).clamp_min(0.0).prod(1)
        alive &= common <= overlap * (area + area[i] - common)
    return torch.stack(selected) if selected else rows


def _has_shape(row: Tensor) -> bool:
    """Whether eyes and mouth are apart: a candidate without that cannot be aligned."""
    points = row[4:14].view(5, 2)
    down = (points[3] + points[4] - points[0] - points[1]) / 2.0
    return bool(row.isfinite().all()) and math.hypot(*down.tolist()) > 1.0


def load_yunet(path: str | os.PathLike[str], device: torch.device | str = "cpu", **options: Any) -> YuNet:
    """YuNet with the weights of a local file (kornia's ``yunet_final.pth``, or the same tensors as safetensors).

    Raises:
        NotFoundError, InputError: no such file.
        UnsafeCheckpointError, CorruptCheckpointError, UnsupportedCheckpointError: what the safe reader says, or tensors
            that make no YuNet.
    """
    from ..checkpoints.dialects import described
    from ..checkpoints.loading import check_shapes, naming
    from ..checkpoints.ours import check_finite
    from ..checkpoints.parts import tensors_of
    from ..checkpoints.source import open_source

    network = _network()
    with naming(path):
        source = open_source(path)
        records = tensors_of(source.root)
        if "model0.conv1.weight" not in records:
            raise UnsupportedCheckpointError(f"This is {described(source)}, not a YuNet face detector. Give "
                                             f"{FILE_HINT}.")
        optional = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
        check_shapes(network, {name: record.shape for name, record in records.items()}, optional)
        tensors = {name: record.read() for name, record in records.items()}
        check_finite(tensors)
        if wrong := [n for n, t in tensors.items() if n not in optional and not t.is_floating_point()]:
            raise CorruptCheckpointError(f"The tensor {wrong[0][:80]!r} holds no weights. Get the file again.")
        network.load_state_dict(tensors, strict=False)
    return YuNet(network.eval().requires_grad_(False).to(device), **options)


def _network() -> nn.Module:
    """kornia's network with random weights; the class moved with kornia 0.9."""
    for module, name in (("kornia.models.yunet", "YuNet"), ("kornia.contrib.face_detection", "YuFaceDetectNet")):
        with suppress(ImportError, AttributeError):
            network = getattr(import_module(module), name)
            break
    else:
        raise NotFoundError("YuNet needs the package kornia (pip install kornia). Or give the points by hand.")
    with torch.random.fork_rng(devices=[]):
        return network("test", pretrained=False)
