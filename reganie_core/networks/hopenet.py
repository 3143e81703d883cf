"""HopeNet (Ruiz et al., 2018): head pose of a face from 66 bins of three degrees, on ResNet-50."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..images import resize

__all__ = ["HopeNet", "HopeNetConfig"]

INPUT, BINS = 224, 66
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # (width, units); every unit puts out four times its width
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class HopeNetConfig:
    """There is one HopeNet."""

    bins: int = BINS


class _Unit(nn.Module):
    """ResNet-50's bottleneck with the stride in its middle convolution."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False),
                                            nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_())).relu_()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu_()


class HopeNet(nn.Module):
    """Faces ``[B,3,R,R]`` in [-1,1] -> {"yaw", "pitch", "roll": ``[B]`` degrees}.

    ``fc_finetune`` is in the public files and takes no part.
    """

    def __init__(self, config: HopeNetConfig) -> None:
        super().__init__()
        if config.bins != BINS:
            raise InputError(f"HopeNet has {BINS} bins, found {config.bins}.")
        self.config = config
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for index, (width, count) in enumerate(STAGES):
            units = []
            for i in range(count):
                units.append(_Unit(channels, width, 2 if index and i == 0 else 1))
                channels = 4 * width
            setattr(self, f"layer{index + 1}", nn.Sequential(*units))
        for name in ("yaw", "pitch", "roll"):
            setattr(self, f"fc_{name}", nn.Linear(channels, BINS))
        self.fc_finetune = nn.Linear(channels + 3, 3)
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """``[B,66]`` for each angle, of pictures ``[B,3,224,224]`` in [-1,1]."""
        x = ((images + 1) / 2 - self.mean) / self.deviation
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu_(), 3, 2, 1)
        for index in range(len(STAGES)):
            x = getattr(self, f"layer{index + 1}")(x)
        x = x.mean((2, 3))
        return {name: getattr(self, f"fc_{name}")(x) for name in ("yaw", "pitch", "roll")}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Angles in degrees: the expectation over the bins, three degrees each, from -99.

        The shorter side is brought to 224 px and the centre taken.
        """
        h, w = images.shape[-2:]
        h, w = max(INPUT, round(h * INPUT / min(h, w))), max(INPUT, round(w * INPUT / min(h, w)))
        top, left = (h - INPUT) // 2, (w - INPUT) // 2
        x = resize(images, (h, w), "bilinear")[..., top:top + INPUT, left:left + INPUT]
        index = torch.arange(BINS, dtype=x.dtype, device=x.device)
        return {name: (v.softmax(1) * index).sum(1) * 3 - 99 for name, v in self.logits(x).items()}
