"""A small convolutional network that reads attributes from a picture, and whose features compare pictures.

It serves four purposes in a domain without public networks: labels for edit directions, the perceptual loss,
the identity-free part of the metrics, and (trained with another seed on other data) the judge of the tables.
No normalisation layers: they cost time on few cores and tie a sample to its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from ..images import area_downsample
from .layers import EqualConv2d, EqualLinear


@dataclass(frozen=True)
class AttributeNetConfig:
    """numeric / binary: names read. mean / std: of the numeric labels, in their units. channels: one per scale."""

    resolution: int
    channels: tuple[int, ...]
    numeric: tuple[str, ...]
    binary: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    hidden: int = 256

    def __post_init__(self) -> None:
        for name in ("channels", "numeric", "binary", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.numeric) == len(self.mean) == len(self.std):
            raise InputError(f"{len(self.numeric)} numeric attributes need as many means and standard deviations, "
                             f"found {len(self.mean)} and {len(self.std)}.")


class ConvTrunk(nn.Module):
    """Two convolutions per scale, the second one strided behind a blur; no normalisation layers."""

    def __init__(self, resolution: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.resolution, self.widths = resolution, channels
        self.dtype = torch.float32
        self.stem = EqualConv2d(3, channels[0], 3, activation=True)
        self.convs = nn.ModuleList(
            EqualConv2d(channels[max(i - 1, 0)], width, 3, activation=True) for i, width in enumerate(channels))
        self.downs = nn.ModuleList(EqualConv2d(width, width, 3, activation=True, down=True) for width in channels)
        size = resolution >> len(channels)
        self.flat_features = channels[-1] * size * size

    def features(self, images: Tensor) -> list[Tensor]:
        """Feature maps, finest first: [B,C_i,R/2^i,R/2^i], in the network's dtype.

        Pictures 2, 3, ... times as large are shrunk first, by averaging: a network of a small resolution also reads,
        and compares, the pictures of a larger generator.
        """
        height, width = images.shape[-2:]
        if height != width or width % self.resolution:
            raise MismatchError(f"This network reads {self.resolution} px pictures, or a whole multiple of that; found "
                                f"{width}x{height}. Resize them first.")
        return self.maps(area_downsample(images, self.resolution))

    @property
    def map_channels(self) -> tuple[int, ...]:
        """Channels of the feature maps, finest first."""
        return (*self.widths, self.widths[-1])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps of pictures in the size that they have, a multiple of 2^scales; see `features`."""
        x = self.stem(images.to(self.dtype).contiguous(memory_format=torch.channels_last))
        out = []
        for conv, down in zip(self.convs, self.downs, strict=True):
            x = conv(x)
            out.append(x)
            x = down(x)
        return [*out, x]


class AttributeNet(ConvTrunk):
    """Images [B,3,R,R] in [-1,1] -> {name: [B]}: numeric in their units, binary as probabilities."""

    def __init__(self, config: AttributeNetConfig) -> None:
        super().__init__(config.resolution, config.channels)
        self.config = config
        self.fc = EqualLinear(self.flat_features, config.hidden, activation=True)
        self.out = EqualLinear(config.hidden, len(config.numeric) + len(config.binary))

    def logits(self, images: Tensor) -> Tensor:
        """[B, numeric + binary]: standardised numeric values, then logits of the binary attributes (float32)."""
        return self.out(self.fc(self.features(images)[-1].float().flatten(1)))

    def embedding(self, images: Tensor) -> Tensor:
        """[B,hidden], the last hidden layer; used for distances between sets of pictures."""
        return self.fc(self.features(images)[-1].float().flatten(1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        y, n = self.logits(images), len(self.config.numeric)
        values = {name: y[:, i] * self.config.std[i] + self.config.mean[i]
                  for i, name in enumerate(self.config.numeric)}
        values.update({name: torch.sigmoid(y[:, n + i]) for i, name in enumerate(self.config.binary)})
        return values


def feature_distance(net: AttributeNet, a: Tensor, b: Tensor) -> Tensor:
    """Perceptual distance [B] in the manner of LPIPS (Zhang et al. 2018), on a network of the domain.

    Features are unit-normalised over channels; squared differences are summed over channels and averaged over
    space, then over layers. It is not LPIPS: no ImageNet network is involved, and numbers do not compare with it.
    """
    total = torch.zeros(a.shape[0], device=a.device)
    layers_a, layers_b = net.features(a), net.features(b)
    for x, y in zip(layers_a, layers_b, strict=True):
        x, y = (F.normalize(t.float(), dim=1, eps=1e-6) for t in (x, y))
        total = total + (x - y).square().sum(dim=1).mean(dim=(1, 2))
    return total / len(layers_a)
