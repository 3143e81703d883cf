"""The ResNet-34 trunk of ReStyle and HyperStyle (He et al. 2016), on pictures of six channels.

Names follow the public files: ``conv1``, ``bn1``, ``relu`` (a PReLU here), and one flat ``body`` of basic blocks.
There is no max-pool: 256 px give 16 px maps at the end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["BasicBlock", "ResNetTrunk"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a shortcut, which projects where size or channels change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``[B,in,H,W]`` to ``[B,out,H/stride,W/stride]``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNetTrunk(nn.Module):
    """A base class with the trunk at its top level, as the public files name it.

    ``widths`` and ``blocks`` of the four stages are ResNet-34's unless given; each stage but the first halves the
    size, and so does ``conv1``.
    """

    def __init__(self, in_channels: int = 6, widths: tuple[int, ...] = (64, 128, 256, 512),
                 blocks: tuple[int, ...] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.PReLU(widths[0])
        units: list[nn.Module] = []
        previous = widths[0]
        for i, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for j in range(count):
                units.append(BasicBlock(previous, width, 2 if i and not j else 1))
                previous = width
        self.body = nn.Sequential(*units)
        ends = [sum(blocks[: i + 1]) - 1 for i in range(len(blocks))]
        self.taps = tuple(ends[-3:])  # the last unit at 1/4, 1/8 and 1/16 of the input's size

    def trunk(self, x: Tensor) -> Tensor:
        """The last map, 1/16 of the input's size with four stages."""
        return self.body(self.relu(self.bn1(self.conv1(x))))

    def trunk_pyramid(self, x: Tensor) -> list[Tensor]:
        """The maps at the end of the last three stages, fine to coarse."""
        x = self.relu(self.bn1(self.conv1(x)))
        found = []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in self.taps:
                found.append(x)
        return found

    @staticmethod
    def halvings(size: int) -> int:
        """Stride-2 convolutions that bring ``size`` pixels to one."""
        return max(math.ceil(math.log2(size)), 1)
