"""A small face detector with five points a face: ours, trained by `trainer/stages/face_detector.py`.

Two convolutional networks. The finder looks at a whole picture and says, for every 8 px, whether a face lies there,
how large it is and where its points are; it knows faces whose square has a side of 28 to 80 px, so a picture is shown
to it at several sizes. The refiner looks at one square of 64 px and gives its five points more exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["CELL", "CROP", "FaceDetectorNet", "FaceDetectorNetConfig"]

CELL = 8        # px between two places of the finder's answer
CROP = 64       # px, the refiner's input
MAP_REACH = 1.25  # of the refiner's maps, in sides of its square
SCALE = 40.0    # px, the unit of the finder's offsets and sizes: about the middle of 28 to 80


@dataclass(frozen=True)
class FaceDetectorNetConfig:
    """Widths of the finder at 1/2, 1/4 and 1/8 of the picture and its blocks there; of the refiner at 1/2 and 1/4."""

    finder: tuple[int, ...] = (16, 32, 64)
    blocks: int = 4
    refiner: tuple[int, ...] = (24, 48)
    refiner_blocks: int = 3

    def __post_init__(self) -> None:
        for name in ("finder", "refiner"):
            object.__setattr__(self, name, tuple(int(c) for c in getattr(self, name)))
        if (len(self.finder), len(self.refiner)) != (3, 2) or min(self.blocks, self.refiner_blocks, *self.finder,
                                                                 *self.refiner) < 1:
            raise InputError(f"A face detector has 3 widths, 2 of its refiner, and blocks from 1; found {self}.")


def _conv(a: int, b: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, dilation, dilation, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class FaceDetectorNet(nn.Module):
    """``find`` and ``refine``; see the methods."""

    def __init__(self, config: FaceDetectorNetConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = config.finder
        self.stem = nn.Sequential(_conv(3, a, 2), _conv(a, b, 2), _conv(b, b), _conv(b, c, 2))
        self.blocks = nn.ModuleList(nn.Sequential(_conv(c, c), _conv(c, c, dilation=1 + i % 3))
                                    for i in range(config.blocks))
        self.answer = nn.Conv2d(c, 12, 1)
        a, b = config.refiner
        self.refiner_stem = nn.Sequential(_conv(3, a, 2), _conv(a, a), _conv(a, b, 2))
        self.refiner_blocks = nn.ModuleList(nn.Sequential(_conv(b, b), _conv(b, b, dilation=1 + i % 3))
                                            for i in range(config.refiner_blocks))
        self.maps = nn.Conv2d(b, 5, 1)

    def find(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures ``[B,3,H,W]`` in [-1,1], H and W multiples of 8 -> for each of the h x w places

        logits ``[B,h,w]`` of a face, its square's side ``[B,h,w]`` in px, and its points ``[B,h,w,5,2]`` in px (x, y;
        centres of pixels at whole numbers).
        """
        x = self.stem(images)
        for block in self.blocks:
            x = x + block(x)
        out = self.answer(x).float()
        side = SCALE * out[:, 1].clamp(-3.0, 3.0).exp()
        h, w = out.shape[-2:]
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        centres = ((torch.stack([x, y], -1) + 0.5) * CELL - 0.5).to(out)
        offsets = rearrange(out[:, 2:], "b (point xy) h w -> b h w point xy", xy=2)
        return out[:, 0], side, centres[None, :, :, None] + SCALE * offsets

    def refine(self, crops: Tensor) -> Tensor:
        """Squares ``[N,3,64,64]`` in [-1,1] around faces -> points ``[N,5,2]``, shares of the square's side.

        A point is the mean of the places of a 16 x 16 map, weighted by a softmax ("integral regression", Sun et al.
        2018). The places reach beyond the square, so that a point near its edge can be told.
        """
        if crops.shape[-1] != CROP:
            crops = F.interpolate(crops, size=CROP, mode="bilinear", align_corners=False, antialias=True)
        x = self.refiner_stem(crops)
        for block in self.refiner_blocks:
            x = x + block(x)
        share = self.maps(x).float().flatten(2).softmax(-1)           # of each point, over the places of a map
        h, w = x.shape[-2:]
        y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
        places = torch.stack([x, y], -1).flatten(0, 1).to(share)
        return share @ (MAP_REACH * (places - 0.5) + 0.5)
