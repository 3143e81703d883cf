"""Face recognition: ArcFace on IR-SE-50 and CurricularFace on IR-101, the two networks of "identity" in the papers.

Both are InsightFace-style residual networks for aligned faces of 112 px; names follow the public files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError, MismatchError
from .irse import BottleneckIRSE, irse_input

__all__ = ["FaceRecognizer", "FaceRecognizerConfig"]

INPUT = 112
WIDTHS = (64, 128, 256, 512)
#: The part of an FFHQ-aligned picture of 256 px that shows the face as the recognisers expect it.
ALIGNED, ROWS, COLUMNS = 256, slice(35, 223), slice(32, 220)


@dataclass(frozen=True)
class FaceRecognizerConfig:
    """units: residual units per stage; gates: squeeze-and-excitation; affine: the last normalisation has weights."""

    units: tuple[int, ...] = (3, 4, 14, 3)
    gates: bool = True
    affine: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(self.units))
        if len(self.units) != len(WIDTHS) or min(self.units) < 1:
            raise InputError(f"A face recogniser has {len(WIDTHS)} stages of at least one unit, found {self.units}.")


ARCFACE = FaceRecognizerConfig()
CURRICULARFACE = FaceRecognizerConfig((3, 13, 30, 3), gates=False, affine=False)


class BottleneckIR(BottleneckIRSE):
    """The same unit without its gate."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.res_layer = nn.Sequential(*list(self.res_layer.children())[:-1])


class FaceRecognizer(nn.Module):
    """Faces -> ``[B,512]``, unit vectors; the dot product of two is the papers' identity similarity.

    Takes aligned faces of 112 px as they are, and FFHQ-aligned pictures of any other size through the usual crop:
    area-pooled to 256 px where larger, rows 35:223, columns 32:220, average-pooled to 112 px.
    """

    resolution = ALIGNED

    def __init__(self, config: FaceRecognizerConfig) -> None:
        super().__init__()
        self.config = config
        unit = BottleneckIRSE if config.gates else BottleneckIR
        units: list[nn.Module] = []
        channels = WIDTHS[0]
        for width, count in zip(WIDTHS, config.units, strict=True):
            for i in range(count):
                units.append(unit(channels, width, 2 if i == 0 else 1))
                channels = width
        self.input_layer = irse_input()
        self.body = nn.Sequential(*units)
        side = INPUT >> len(WIDTHS)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Dropout(), nn.Flatten(), nn.Linear(channels * side * side, 512),
            nn.BatchNorm1d(512, affine=config.affine))

    def forward(self, images: Tensor) -> Tensor:
        """``[B,3,112,112]`` aligned, or ``[B,3,R,R]`` FFHQ-aligned with R at least 256; RGB in [-1,1].

        Raises :class:`MismatchError` for other sizes.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[-1] != images.shape[-2]:
            raise MismatchError(f"Faces must be squares [B,3,R,R], found {list(images.shape)}.")
        if images.shape[-1] != INPUT:
            images = self.crop(images)
        return F.normalize(self.output_layer(self.body(self.input_layer(images))), dim=1)

    @staticmethod
    def crop(images: Tensor) -> Tensor:
        """An FFHQ-aligned picture of at least 256 px -> the face at 112 px."""
        if images.shape[-1] < ALIGNED:
            raise MismatchError(f"FFHQ-aligned pictures must have at least {ALIGNED} px, faces exactly {INPUT}; found "
                                f"{images.shape[-1]}. Resize them first.")
        if images.shape[-1] != ALIGNED:
            images = F.adaptive_avg_pool2d(images, ALIGNED)
        return F.adaptive_avg_pool2d(images[..., ROWS, COLUMNS], INPUT)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Identity similarity ``[B]`` in [-1,1] of two batches of faces."""
        return torch.linalg.vecdot(self(a), self(b))
