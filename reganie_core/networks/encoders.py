"""The e4e / pSp encoders on IR-SE-50: pictures to W+ codes (Richardson et al. 2021, Tov et al. 2021)."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .inputs import SizedEncoder, fit_images
from .irse import IRSE50
from .layers import EqualLinear

__all__ = ["Encoder4Editing", "GradualStyleEncoder", "SingleStyleCodeEncoder", "StyleEncoderConfig"]

COARSE, MIDDLE = 3, 7  # first layers whose codes come from the 1/8 and the 1/4 map
HEAD_STRIDES = (4, 5, 6)  # stride-2 convolutions from 16, 32 and 64 px to one


@dataclasses.dataclass(frozen=True)
class StyleEncoderConfig:
    """``num_ws`` vectors of ``w_dim`` from pictures of ``input_resolution`` (``input_height`` differs for cars)."""

    num_ws: int = 18
    w_dim: int = 512
    input_resolution: int = 256
    input_height: int | None = None

    def __post_init__(self) -> None:
        height = self.input_resolution if self.input_height is None else self.input_height
        if min(self.num_ws, self.w_dim) < 1 or min(self.input_resolution, height) < 16:
            raise InputError(f"An encoder needs num_ws and w_dim from 1 and an input from 16 px up; found {self}.")


class GradualStyleBlock(nn.Module):
    """map2style: stride-2 convolutions with leaky ReLU 0.01 down to one pixel, then an equalised linear layer."""

    def __init__(self, width: int, count: int, in_channels: int = 512) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(count):
            layers += [nn.Conv2d(in_channels if i == 0 else width, width, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[B,512,s,s]`` with s at most ``2^count`` to ``[B,width]``."""
        return self.linear(self.convs(x)[:, :, 0, 0])


class _StyleEncoder(SizedEncoder, IRSE50):
    """What the three share: the trunk, ``latent_avg`` and the interface of every encoder of this library.

    ``E(images [B,3,H,W] in [-1,1]) -> [B,num_ws,w_dim]``; pictures are resized antialiased, ``latent_avg`` is added.
    Use it in eval mode: the trunk holds batch statistics.
    """

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def codes(self, x: Tensor) -> Tensor:
        """Codes ``[B,num_ws,w_dim]`` without ``latent_avg`` for pictures of the input size."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """See the class. Raises :class:`InputError` for anything but float pictures ``[B,3,H,W]``."""
        width = self.config.input_resolution
        x = fit_images(images, (self.config.input_height or width, width))
        return self.codes(x.contiguous(memory_format=torch.channels_last)) + self.latent_avg


class _PyramidEncoder(_StyleEncoder):
    """Feature pyramid over the trunk with one head per style vector."""

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__(config)
        self.styles = nn.ModuleList(
            GradualStyleBlock(config.w_dim, HEAD_STRIDES[self.level(i)]) for i in range(config.num_ws)
        )
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)

    @staticmethod
    def level(layer: int) -> int:
        """Which map a layer's head reads: 0 the 1/16 one, 1 the 1/8 one, 2 the 1/4 one."""
        return 0 if layer < COARSE else 1 if layer < MIDDLE else 2

    def maps(self, x: Tensor, levels: int = 3) -> list[Tensor]:
        """The first ``levels`` of c3, p2, p1 (512 channels each), coarse to fine."""
        c1, c2, c3 = self.pyramid(x)
        maps = [c3]
        for lateral, finer in ((self.latlayer1, c2), (self.latlayer2, c1))[: levels - 1]:
            size = finer.shape[-2:]
            coarser = F.interpolate(maps[-1], size=size, mode="bilinear", align_corners=True)
            maps.append(coarser + lateral(finer))
        return maps


class GradualStyleEncoder(_PyramidEncoder):
    """pSp: an independent head per style vector."""

    def codes(self, x: Tensor) -> Tensor:
        """See the base class."""
        maps = self.maps(x)
        return torch.stack([head(maps[self.level(i)]) for i, head in enumerate(self.styles)], 1)


class Encoder4Editing(_PyramidEncoder):
    """e4e: a base code w0 for every layer, plus one offset per further layer up to ``stage``.

    ``stage`` counts the released offsets, as in training; files run at ``num_ws - 1``, which is the default.
    """

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__(config)
        self.stage = config.num_ws - 1

    def codes(self, x: Tensor) -> Tensor:
        """See the base class."""
        last = min(max(self.stage, 0), self.num_ws - 1)
        maps = self.maps(x, 1 + self.level(last))
        base = self.styles[0](maps[0])
        rows = [base]
        for i in range(1, self.num_ws):
            rows.append(base + self.styles[i](maps[self.level(i)]) if i <= last else base)
        return torch.stack(rows, 1)


class SingleStyleCodeEncoder(_StyleEncoder):
    """pSp into W: the trunk's global mean, one linear layer, the same code for every layer."""

    def __init__(self, config: StyleEncoderConfig) -> None:
        super().__init__(config)
        self.linear = EqualLinear(512, config.w_dim)

    def codes(self, x: Tensor) -> Tensor:
        """See the base class."""
        code = self.linear(self.body(self.input_layer(x)).mean((2, 3)))
        return code[:, None].expand(-1, self.num_ws, -1)
