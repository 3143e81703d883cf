"""HFGI: what an inversion misses, aligned to an edit and injected into the generator's features (Wang et al. 2022).

Two small networks beside an ordinary encoder: ``grid_align`` (the paper's adaptive distortion alignment) bends the
missing detail to the picture it shall go into, ``residue`` (the consultation encoder) turns the aligned detail into a
scale and a shift for one layer of the generator. Module names follow the public files.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from .irse import BottleneckIR, irse_input
from .layers import EqualConv2d, leaky_relu

__all__ = ["HFGI", "HFGIConfig"]


@dataclasses.dataclass(frozen=True)
class HFGIConfig:
    """The public files' sizes by default.

    Attributes:
        input_resolution: size of the detail and of the pictures it is aligned with.
        layer: the generator's layer whose output is scaled and shifted.
        feature_channels, feature_resolution: of that layer.
        channels: widths of ``residue`` at full, half and quarter size.
        align_channels: widths of ``grid_align`` at full, half, quarter and eighth size.
    """

    input_resolution: int = 256
    layer: str = "b64.conv0"
    feature_channels: int = 512
    feature_resolution: int = 64
    channels: tuple[int, ...] = (32, 48, 64)
    align_channels: tuple[int, ...] = (16, 32, 48, 64)

    def __post_init__(self) -> None:
        for name, count in (("channels", 3), ("align_channels", 4)):
            widths = tuple(int(c) for c in getattr(self, name))
            object.__setattr__(self, name, widths)
            if len(widths) != count or min(widths) < 1:
                raise InputError(f"{name} of HFGI are {count} widths from 1 up; found {list(widths)}.")
        if self.input_resolution < 16 or self.input_resolution % 8:
            raise InputError(f"HFGI's input_resolution is a multiple of 8 from 16; found {self.input_resolution}.")
        if min(self.feature_channels, self.feature_resolution) < 1:
            raise InputError("HFGI's feature_channels and feature_resolution are 1 or more.")


def _units(*widths: int, stride: int = 1) -> nn.Sequential:
    """Units between consecutive widths; the first one has the stride."""
    pairs = list(zip(widths, widths[1:], strict=False))
    return nn.Sequential(*(BottleneckIR(a, b, stride if i == 0 else 1) for i, (a, b) in enumerate(pairs)))


class _Leaky(nn.Module):
    """leaky_relu(x, 0.2) sqrt 2."""

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x)


class ConsultationEncoder(nn.Module):
    """E_c: aligned detail ``[B,3,R,R]`` to (scale, shift) ``[B,2,C,h,w]``."""

    def __init__(self, config: HFGIConfig) -> None:
        super().__init__()
        a, b, c = config.channels
        self.size = config.feature_resolution
        self.conv_layer1 = irse_input(3, a)
        self.conv_layer2 = _units(a, b, b, b, stride=2)
        self.conv_layer3 = _units(b, c, c, c, stride=2)
        self.condition_scale3 = self._head(c, config.feature_channels)
        self.condition_shift3 = self._head(c, config.feature_channels)

    @staticmethod
    def _head(width: int, out: int) -> nn.Sequential:
        return nn.Sequential(EqualConv2d(width, out, 3), _Leaky(), EqualConv2d(out, out, 3))

    def forward(self, detail: Tensor) -> Tensor:
        """See the class."""
        x = self.conv_layer3(self.conv_layer2(self.conv_layer1(detail)))
        heads = (self.condition_scale3(x), self.condition_shift3(x))
        return torch.stack([_resized(maps, self.size) for maps in heads], 1)


class DistortionAlignment(nn.Module):
    """ADA, a small U-Net: cat(detail, picture) ``[B,6,R,R]`` to the detail in the picture's place ``[B,3,R,R]``."""

    def __init__(self, config: HFGIConfig) -> None:
        super().__init__()
        a, b, c, d = config.align_channels
        self.conv_layer1 = irse_input(6, a)
        self.conv_layer2 = _units(a, b, b, b, stride=2)
        self.conv_layer3 = _units(b, c, c, c, stride=2)
        self.conv_layer4 = _units(c, d, d, d, stride=2)
        self.dconv_layer1 = _units(d + c, d, b, b)
        self.dconv_layer2 = _units(b + b, b, a, a)
        self.dconv_layer3 = _units(a + a, a, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        maps = [self.conv_layer1(x)]
        for layer in (self.conv_layer2, self.conv_layer3, self.conv_layer4):
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for layer in (self.dconv_layer1, self.dconv_layer2, self.dconv_layer3):
            finer = maps.pop()
            x = layer(torch.cat([_resized(x, finer.shape[-1]), finer], 1))
        return x


def _resized(x: Tensor, size: int) -> Tensor:
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)


class HFGI(nn.Module):
    """Both networks, and how they are used. In eval mode: they hold batch statistics."""

    def __init__(self, config: HFGIConfig) -> None:
        super().__init__()
        self.config = config
        self.residue = ConsultationEncoder(config)
        self.grid_align = DistortionAlignment(config)

    def start_at_identity(self) -> None:
        """Last layers to zero: an untrained network injects nothing (training starts from the plain inversion)."""
        for head in (self.residue.condition_scale3, self.residue.condition_shift3):
            nn.init.zeros_(next(head[-1].parameters()))

    def small(self, pictures: Tensor) -> Tensor:
        """``[B,3,H,W]`` clamped, at the networks' size: bilinear without antialiasing, as the method defines it."""
        return _resized(pictures.clamp(-1.0, 1.0), self.config.input_resolution)

    def residual(self, images: Tensor, inversion: Tensor) -> Tensor:
        """What the inversion misses, ``[B,3,R,R]``: images of the networks' size minus the small inversion."""
        return images - self.small(inversion)

    def align(self, residual: Tensor, picture: Tensor) -> Tensor:
        """The detail where it belongs in ``picture`` (of any size)."""
        return self.grid_align(torch.cat([residual, self.small(picture)], 1))

    def features(self, residual: Tensor, picture: Tensor) -> dict[str, Tensor]:
        """Maps for the generator (see :class:`reganie_core.latents.Latent`): detail aligned with a picture."""
        return {self.config.layer: self.residue(self.align(residual, picture))}

    def check(self, generator: nn.Module) -> None:
        """Raise :class:`MismatchError` unless ``generator`` has the layer these networks were made for."""
        block, _, layer = self.config.layer.partition(".")
        found = getattr(getattr(generator.synthesis, block, None), layer, None)
        wanted = self.config.feature_channels, self.config.feature_resolution
        have = None if found is None else (getattr(found, "weight", torch.empty(0)).shape[0], found.resolution)
        if have != wanted:
            raise MismatchError(
                f"These HFGI networks change {self.config.layer} with {wanted[0]} channels at {wanted[1]} px; the "
                f"generator has {'no such layer' if have is None else f'{have[0]} at {have[1]} px'} there. They were "
                "made for another generator: choose a matching pair."
            )

    def forward(self, residual: Tensor, picture: Tensor) -> dict[str, Tensor]:
        """As :meth:`features`."""
        return self.features(residual, picture)
