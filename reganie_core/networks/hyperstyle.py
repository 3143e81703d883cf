"""HyperStyle: a hypernetwork that predicts changes of the generator's weights (Alaluf et al. 2022).

It reads ``cat(X, X^)`` and gives, for some layers of the generator, relative changes ``delta``: the layer's weight
becomes ``weight * (1 + delta)``. Layers are numbered conv1 0, to_rgb1 1, then (conv0, conv1, rgb) per resolution.
Layers of the full width share one large hypernetwork (whose tensors the public files list again under every layer that
uses it; here it exists once); narrower ones have their own small head, constant over the kernel's window.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from .inputs import fit_images
from .layers import EqualLinear
from .resnet34 import ResNetTrunk

__all__ = ["DEFAULT_LAYERS", "HyperStyle", "HyperStyleConfig", "layer_name"]

DEFAULT_LAYERS = (0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24)


@dataclasses.dataclass(frozen=True)
class HyperStyleConfig:
    """The public files' sizes by default.

    Attributes:
        channels: the generator's feature maps at 4, 8, ... px.
        layers: numbers of the layers that change.
        shared_channels: 3x3 layers with this many channels on both sides use the shared hypernetwork; 0: none does.
        hidden: width of a layer's code.
        shared_width, own_width: of the convolutions of a shared and of an own head.
        trunk, trunk_blocks: the ResNet's four stages.
    """

    channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)
    layers: tuple[int, ...] = DEFAULT_LAYERS
    input_resolution: int = 256
    shared_channels: int = 512
    hidden: int = 512
    shared_width: int = 128
    own_width: int = 256
    trunk: tuple[int, ...] = (64, 128, 256, 512)
    trunk_blocks: tuple[int, ...] = (3, 4, 6, 3)
    iterations: int = 5

    def __post_init__(self) -> None:
        for name in ("channels", "layers", "trunk", "trunk_blocks"):
            object.__setattr__(self, name, tuple(int(n) for n in getattr(self, name)))
        count = 3 * len(self.channels) - 1
        if not self.layers or len(set(self.layers)) < len(self.layers) or not all(0 <= i < count for i in self.layers):
            raise InputError(f"HyperStyle's layers are different numbers from 0 to {count - 1}; found {self.layers}.")
        sizes = (*self.channels, *self.trunk, *self.trunk_blocks, self.hidden, self.shared_width, self.own_width)
        if min(sizes, default=0) < 1 or max(self.trunk_blocks) > 64:
            raise InputError("Every size in a HyperStyle configuration is at least 1, and no stage has over 64 blocks.")
        if len(self.trunk) != 4 or len(self.trunk_blocks) != 4:
            raise InputError("HyperStyle's trunk has four stages; give four widths and four numbers of blocks.")
        if self.input_resolution < 32 or self.input_resolution & (self.input_resolution - 1):
            raise InputError(f"HyperStyle's input is a power of two from 32 px; found {self.input_resolution}.")
        if not 1 <= self.iterations <= 64:
            raise InputError(f"HyperStyle takes 1 to 64 iterations; found {self.iterations}.")

    def shape(self, layer: int) -> tuple[int, int, int]:
        """(out, in, kernel) of a layer's weight."""
        level, kind = divmod(layer - 2, 3) if layer > 1 else (-1, layer + 1)
        level += 1
        out = self.channels[level]
        if kind == 2:
            return 3, out, 1
        return out, self.channels[level - 1] if kind == 0 else out, 3

    def is_shared(self, layer: int) -> bool:
        """Whether the shared hypernetwork makes the layer's change."""
        return self.shape(layer) == (self.shared_channels, self.shared_channels, 3)


def layer_name(layer: int) -> str:
    """The generator's parameter that a layer number means: 0 -> "synthesis.b4.conv1.weight"."""
    if layer < 2:
        return f"synthesis.b4.{('conv1', 'torgb')[layer]}.weight"
    level, kind = divmod(layer - 2, 3)
    return f"synthesis.b{8 << level}.{('conv0', 'conv1', 'torgb')[kind]}.weight"


def _convs(widths: list[int], first_stride: int) -> nn.Sequential:
    """3x3 convolutions between consecutive widths with leaky ReLU 0.01; all but the first have stride 2."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        layers += [nn.Conv2d(a, b, 3, first_stride if i == 0 else 2, 1), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)


class SharedHypernetwork(nn.Module):
    """A code ``[B,hidden]`` to a 3x3 kernel ``[B,C,C,3,3]`` in two matrix products (Ha et al. 2017)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.w1, self.b1 = self._layer(hidden, channels * 9)
        self.w2, self.b2 = self._layer(hidden, channels * hidden)

    @staticmethod
    def _layer(inputs: int, outputs: int) -> tuple[nn.Parameter, nn.Parameter]:
        return nn.Parameter(torch.randn(inputs, outputs) / 40), nn.Parameter(torch.randn(outputs) / 40)

    def forward(self, code: Tensor) -> Tensor:
        """See the class: a row per input channel first, then that row's weights to every output channel."""
        rows = rearrange(code @ self.w2 + self.b2, "b (i hidden) -> b i hidden", i=self.channels)
        return rearrange(rows @ self.w1 + self.b1, "b i (o h w) -> b i o h w", h=3, w=3)


class SharedHead(nn.Module):
    """Trunk map to a layer's code; the kernel is made by the shared hypernetwork, which is not part of this module."""

    def __init__(self, config: HyperStyleConfig, size: int) -> None:
        super().__init__()
        halvings, width = ResNetTrunk.halvings(size), config.shared_width
        self.convs = _convs([config.trunk[-1], *[width] * halvings, config.hidden], 1)
        self.linear = EqualLinear(config.hidden, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[B,C,s,s]`` to ``[B,hidden]``."""
        return self.linear(self.convs(x)[:, :, 0, 0])


class OwnHead(nn.Module):
    """Trunk map to ``[B,out,in,k,k]``, one value per pair of channels."""

    def __init__(self, config: HyperStyleConfig, layer: int, size: int) -> None:
        super().__init__()
        self.shape = config.shape(layer)
        out, width, kernel = self.shape
        count = max(ResNetTrunk.halvings(size) - (1 if kernel == 3 else 0), 2)  # to 2 px, or to 1 for RGB
        self.convs = _convs([config.trunk[-1], *[config.own_width] * (count - 1), config.hidden], 2)
        project = nn.Conv2d(config.hidden, out * width, 1)
        self.output = nn.Sequential(nn.AdaptiveAvgPool2d(1), project) if kernel == 3 else nn.Sequential(project)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out, width, kernel = self.shape
        return self.output(self.convs(x)).view(-1, out, width, 1, 1).expand(-1, -1, -1, kernel, kernel)


class HyperStyle(ResNetTrunk):
    """``H(images [B,3,H,W], current [B,3,H,W]) -> {layer number: delta [B,out,in,k,k]}``; in eval mode."""

    def __init__(self, config: HyperStyleConfig) -> None:
        super().__init__(6, config.trunk, config.trunk_blocks)
        self.config = config
        size = config.input_resolution // 16
        shared = [i for i in config.layers if config.is_shared(i)]
        if shared:
            self.shared_weight_hypernet = SharedHypernetwork(config.shared_channels, config.hidden)
        self.refinement_blocks = nn.ModuleDict({
            str(i): SharedHead(config, size) if i in shared else OwnHead(config, i, size) for i in config.layers
        })

    @property
    def input_resolution(self) -> int:
        """Size of its input."""
        return self.config.input_resolution

    def deltas(self, x: Tensor) -> dict[int, Tensor]:
        """Relative weight changes for six channels of the input size."""
        x = self.trunk(x)
        found = {}
        for name, head in self.refinement_blocks.items():
            delta = head(x)
            found[int(name)] = self.shared_weight_hypernet(delta) if isinstance(head, SharedHead) else delta
        return found

    def forward(self, images: Tensor, current: Tensor) -> dict[int, Tensor]:
        """See the class; both pictures are resized, antialiased."""
        pair = [fit_images(x, self.input_resolution) for x in (images, current)]
        return self.deltas(torch.cat(pair, 1).contiguous(memory_format=torch.channels_last))

    def start_at_identity(self) -> None:
        """Last layers to zero: an untrained network changes nothing (training starts from the plain inversion)."""
        for head in self.refinement_blocks.values():
            if isinstance(head, OwnHead):
                for parameter in head.output[-1].parameters():
                    nn.init.zeros_(parameter)
        if hasattr(self, "shared_weight_hypernet"):
            shared = self.shared_weight_hypernet
            nn.init.zeros_(shared.w1)
            nn.init.zeros_(shared.b1)
            nn.init.normal_(shared.w2, std=1 / math.sqrt(shared.hidden))

    def check(self, generator: nn.Module) -> None:
        """Raise :class:`MismatchError` unless the layers fit ``generator``."""
        own = dict(generator.named_parameters())
        for layer in self.config.layers:
            out, width, kernel = self.config.shape(layer)
            found = own.get(layer_name(layer))
            if found is None or tuple(found.shape) != (out, width, kernel, kernel):
                have = "no such layer" if found is None else list(found.shape)
                raise MismatchError(
                    f"This hypernetwork changes {layer_name(layer)} of shape {[out, width, kernel, kernel]}; the "
                    f"generator has {have}. It was made for another generator: choose a matching pair."
                )

    def changes(self, generator: nn.Module, deltas: dict[int, Tensor]) -> dict[str, Tensor]:
        """Additions to the generator's parameters, name -> ``[B,*shape]`` (see ``Latent.changes``)."""
        own = dict(generator.named_parameters())
        return {layer_name(i): own[layer_name(i)] * delta for i, delta in deltas.items()}
