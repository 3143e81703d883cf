"""LPIPS v0.1 (Zhang et al., 2018): how different two pictures look to a network trained on ImageNet.

Trunk names are torchvision's (``features.{i}``), heads those of the reference (``lin{k}.model.1.weight``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import InputError, MismatchError

__all__ = ["LPIPS", "LPIPSConfig"]

# torchvision's layer lists up to the last tap: (out channels, kernel, stride, padding), or a max-pool (kernel, stride).
_ALEX = ((64, 11, 4, 2), (3, 2), (192, 5, 1, 2), (3, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
_VGG = tuple((2, 2) if width is None else (width, 3, 1, 1) for width in
             (64, 64, None, 128, 128, None, 256, 256, 256, None, 512, 512, 512, None, 512, 512, 512))
TRUNKS = {"alex": _ALEX, "vgg": _VGG}
#: Number of trunk layers to run for each of the five taps; each ends behind a rectifier.
TAPS = {"alex": (2, 5, 8, 10, 12), "vgg": (4, 9, 16, 23, 30)}
WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
# ImageNet's mean and deviation, for pictures in [-1,1].
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10
SMALLEST = {"alex": 31, "vgg": 16}  # below, the last map is empty


@dataclass(frozen=True)
class LPIPSConfig:
    """net: "vgg" (VGG16) or "alex" (AlexNet)."""

    net: str = "vgg"

    def __post_init__(self) -> None:
        if self.net not in TRUNKS:
            raise InputError(f"LPIPS is known with the trunks {', '.join(TRUNKS)}; found {self.net!r}.")


class _Head(nn.Module):
    """``model.1``: a 1x1 convolution without bias; ``model.0`` is the dropout of training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class LPIPS(nn.Module):
    """Perceptual distance of pictures ``[B,3,H,W]`` in [-1,1] -> ``[B]``."""

    def __init__(self, config: LPIPSConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        channels = 3
        for layer in TRUNKS[config.net]:
            if len(layer) == 2:
                layers.append(nn.MaxPool2d(*layer))
                continue
            width, kernel, stride, padding = layer
            layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU()]
            channels = width
        self.features = nn.Sequential(*layers)
        for k, width in enumerate(WIDTHS[config.net]):
            setattr(self, f"lin{k}", _Head(width))
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The five maps, unit length over channels."""
        x = (images - self.shift) / self.scale
        out = []
        for start, stop in pairwise((0, *TAPS[self.config.net])):
            x = self.features[start:stop](x)
            out.append(x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON))
        return out

    def layers(self, a: Tensor, b: Tensor) -> Tensor:
        """The five parts ``[5,B]`` that :meth:`forward` adds.

        Raises :class:`MismatchError` for two shapes and :class:`InputError` for pictures too small for the trunk.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
            raise MismatchError(f"Two batches of one shape [B,3,H,W] are compared, found {list(a.shape)} and "
                                f"{list(b.shape)}.")
        if min(a.shape[-2:]) < SMALLEST[self.config.net]:
            raise InputError(f"LPIPS ({self.config.net}) needs pictures of at least {SMALLEST[self.config.net]} px, "
                             f"found {a.shape[-1]}x{a.shape[-2]}.")
        parts = []
        for k, (x, y) in enumerate(zip(self.maps(a), self.maps(b), strict=True)):
            parts.append(getattr(self, f"lin{k}")((x - y).square()).mean((1, 2, 3)))
        return torch.stack(parts)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance ``[B]``; differentiable in both."""
        return self.layers(a, b).sum(0)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """The same; the name that losses use."""
        return self(a, b)
