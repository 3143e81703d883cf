"""DEX (Rothe et al., 2015): age of a face as the expectation over 101 years, on VGG-16."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError

__all__ = ["DexAge", "DexAgeConfig"]

INPUT, YEARS = 224, 101
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


@dataclass(frozen=True)
class DexAgeConfig:
    """There is one DEX age classifier."""

    years: int = YEARS


class DexAge(nn.Module):
    """Faces ``[B,3,R,R]`` in [-1,1] -> ages ``[B]`` in years; no further normalisation, as the public classifier."""

    def __init__(self, config: DexAgeConfig) -> None:
        super().__init__()
        if config.years != YEARS:
            raise InputError(f"DEX knows {YEARS} ages, found {config.years}.")
        self.config = config
        channels = 3
        for s, (width, count) in enumerate(STAGES, 1):
            for i in range(1, count + 1):
                setattr(self, f"conv{s}_{i}", nn.Conv2d(channels, width, 3, padding=1))
                channels = width
        self.fc6, self.fc7 = nn.Linear(channels * 7 * 7, 4096), nn.Linear(4096, 4096)
        self.fc8_101 = nn.Linear(4096, YEARS)

    def logits(self, images: Tensor) -> Tensor:
        """``[B,101]`` of pictures in [-1,1] of any size; bilinear to 224 px."""
        x = F.interpolate(images, (INPUT, INPUT), mode="bilinear", align_corners=False)
        for s, (_, count) in enumerate(STAGES, 1):
            for i in range(1, count + 1):
                x = getattr(self, f"conv{s}_{i}")(x).relu_()
            x = F.max_pool2d(x, 2)
        return self.fc8_101(self.fc7(self.fc6(x.flatten(1)).relu_()).relu_())

    def forward(self, images: Tensor) -> Tensor:
        """Expected age ``[B]``."""
        probabilities = self.logits(images).softmax(1)
        return probabilities @ torch.arange(YEARS, dtype=probabilities.dtype, device=probabilities.device)
