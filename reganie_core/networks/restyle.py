"""ReStyle's encoders: a picture and the inversion so far, to the next change of the codes (Alaluf et al. 2021).

All of them read six channels, ``cat(X, X^)``, and give ``[B,num_ws,w_dim]``, which is added to the codes so far (the
mean latent at first). Progressive ones share a base code w0 between all layers (on e4e), the others give every layer
its own (on pSp). The loop over iterations is :mod:`reganie_core.inversion.restyle`.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .encoders import HEAD_STRIDES, GradualStyleBlock, StyleEncoderConfig
from .encoders import GradualStyleEncoder as _ThreeChannel
from .inputs import fit_images
from .irse import IRSE50, irse_input
from .light_encoder import LightEncoder, LightEncoderConfig
from .resnet34 import ResNetTrunk

__all__ = [
    "BackboneEncoder", "GradualStyleEncoder", "LightRestyle", "LightRestyleConfig", "ProgressiveBackboneEncoder",
    "ResNetBackboneEncoder", "ResNetGradualStyleEncoder", "ResNetProgressiveBackboneEncoder", "RestyleConfig",
]

ITERATIONS = 5


@dataclasses.dataclass(frozen=True)
class RestyleConfig(StyleEncoderConfig):
    """As every style encoder's, and the number of refinement passes."""

    iterations: int = ITERATIONS

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_iterations(self.iterations)


@dataclasses.dataclass(frozen=True)
class LightRestyleConfig(LightEncoderConfig):
    """A :class:`LightEncoder` of six channels."""

    iterations: int = ITERATIONS

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_iterations(self.iterations)


def _check_iterations(count: int) -> None:
    if not 1 <= count <= 64:
        raise InputError(f"ReStyle takes 1 to 64 iterations; found {count}.")


class _Restyle:
    """What all of them offer besides their layers."""

    config: RestyleConfig | LightRestyleConfig
    latent_avg: Tensor

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of its input."""
        width = self.config.input_resolution
        return getattr(self.config, "input_height", None) or width, width

    def codes(self, x: Tensor) -> Tensor:
        """The change of the codes ``[B,num_ws,w_dim]`` for six channels of the input size."""
        raise NotImplementedError

    def forward(self, images: Tensor, current: Tensor) -> Tensor:
        """Change of the codes for pictures ``[B,3,H,W]`` and their inversion so far; both are resized, antialiased."""
        pair = [fit_images(x, self.input_size) for x in (images, current)]
        return self.codes(torch.cat(pair, 1).contiguous(memory_format=torch.channels_last))


class _Backbone(_Restyle, nn.Module):
    """One head per style vector, all on the last map."""

    progressive = False

    def __init__(self, config: RestyleConfig) -> None:
        super().__init__(6)  # type: ignore[call-arg]  # the trunk that a subclass mixes in
        self.config = config
        self.num_ws, self.w_dim, self.input_resolution = config.num_ws, config.w_dim, config.input_resolution
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))
        self.styles = nn.ModuleList(GradualStyleBlock(config.w_dim, HEAD_STRIDES[0]) for _ in range(config.num_ws))

    def last_map(self, x: Tensor) -> Tensor:
        """``[B,512,16,16]`` for 256 px."""
        raise NotImplementedError

    def codes(self, x: Tensor) -> Tensor:
        """See the base class."""
        x = self.last_map(x)
        codes = torch.stack([head(x) for head in self.styles], 1)
        if not self.progressive:
            return codes
        base = codes[:, :1]
        return torch.cat([base, base + codes[:, 1:]], 1)


class BackboneEncoder(_Backbone, IRSE50):
    """ReStyle on pSp, IR-SE-50."""

    def last_map(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self.body(self.input_layer(x))


class ProgressiveBackboneEncoder(BackboneEncoder):
    """ReStyle on e4e, IR-SE-50."""

    progressive = True


class ResNetBackboneEncoder(_Backbone, ResNetTrunk):
    """ReStyle on pSp, ResNet-34."""

    def last_map(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self.trunk(x)


class ResNetProgressiveBackboneEncoder(ResNetBackboneEncoder):
    """ReStyle on e4e, ResNet-34."""

    progressive = True


class GradualStyleEncoder(_Restyle, _ThreeChannel):
    """ReStyle with pSp's own pyramid on IR-SE-50."""

    def __init__(self, config: RestyleConfig) -> None:
        super().__init__(config)
        self.input_layer = irse_input(6)

    def codes(self, x: Tensor) -> Tensor:
        """See the base class."""
        return _ThreeChannel.codes(self, x)


class ResNetGradualStyleEncoder(_Restyle, ResNetTrunk):
    """ReStyle with pSp's pyramid on ResNet-34."""

    def __init__(self, config: RestyleConfig) -> None:
        super().__init__(6)
        self.config = config
        self.num_ws, self.w_dim, self.input_resolution = config.num_ws, config.w_dim, config.input_resolution
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))
        level = GradualStyleEncoder.level
        self.styles = nn.ModuleList(
            GradualStyleBlock(config.w_dim, HEAD_STRIDES[level(i)]) for i in range(config.num_ws)
        )
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)

    def codes(self, x: Tensor) -> Tensor:
        """See the base class."""
        c1, c2, c3 = self.trunk_pyramid(x)
        p2 = F.interpolate(c3, size=c2.shape[-2:], mode="bilinear", align_corners=True) + self.latlayer1(c2)
        p1 = F.interpolate(p2, size=c1.shape[-2:], mode="bilinear", align_corners=True) + self.latlayer2(c1)
        maps = (c3, p2, p1)
        return torch.stack([head(maps[GradualStyleEncoder.level(i)]) for i, head in enumerate(self.styles)], 1)


class LightRestyle(_Restyle, LightEncoder):
    """ReStyle for small domains: a :class:`LightEncoder` of six channels, all of its offsets released.

    The last layers start at zero, so that the first change of an untrained network is none.
    """

    in_channels = 6

    def __init__(self, config: LightRestyleConfig) -> None:
        super().__init__(config)
        nn.init.zeros_(self.base.weight)

    def codes(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self.relative_codes(x)
