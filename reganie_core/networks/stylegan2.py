"""The StyleGAN2 generator (Karras et al. 2020b, "Analyzing and Improving the Image Quality of StyleGAN").

Plain torch operations for CPU, CUDA and MPS. A modulated convolution is computed as scale-in / scale-out: activations
times style, one ordinary convolution with the shared weight, times the demodulation factor. That equals the grouped
form of the paper (eq. 1-3), works for any batch, and keeps one dense convolution per layer.

Parameter names follow the NVIDIA PyTorch files (`synthesis.b64.conv0.affine.weight` ...), so a converted checkpoint
can be compared tensor by tensor; the FIR filters are constants and not stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from .layers import EqualLinear, FirUpsample
from .precision import activation_dtype
from .sharing import sharing
from .stylegan2_layers import Generators, SynthesisLayer, ToRGB, inject

NOISE_MODES = ("const", "none", "random")
ONE_BY_ONE = 64     # on a CPU: from here up a batch goes picture by picture


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything that is needed to rebuild a generator.

    channels: feature maps at 4, 8, ..., resolution pixels. clamp: limit of activations (256 in NVIDIA's fp16 files).
    c_dim > 0 makes the mapping conditional on one of that many classes.
    """

    resolution: int
    channels: tuple[int, ...]
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    embed_features: int | None = None
    clamp: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        r = self.resolution
        if r < 8 or r & (r - 1):
            raise InputError(f"A StyleGAN2 resolution is a power of two from 8 up, found {r}.")
        if min(self.z_dim, self.w_dim, self.mapping_layers, self.c_dim + 1, *self.channels) < 1:
            raise InputError(f"A StyleGAN2 has at least one channel, latent dimension and mapping layer; found {self}.")
        if len(self.channels) != int(math.log2(r)) - 1:
            raise InputError(f"{r} px needs {int(math.log2(r)) - 1} channel counts (4 px to {r} px), "
                             f"found {len(self.channels)}: {self.channels}.")

    @property
    def num_ws(self) -> int:
        """Style vectors that one picture takes: 2 log2(resolution) - 2 (18 at 1024)."""
        return 2 * int(math.log2(self.resolution)) - 2

    @staticmethod
    def config_f_channels(resolution: int, base: int = 32768, maximum: int = 512) -> tuple[int, ...]:
        """min(maximum, base / r) for r = 4 ... resolution; base 32768 is config-f, 16384 NVIDIA's `paper256`."""
        return tuple(min(maximum, base // r) for r in (2**i for i in range(2, int(math.log2(resolution)) + 1)))


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2)) over the last axis ("PixelNorm" of the latent)."""
    return x * (x.square().mean(dim=-1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """z [B,z_dim] (and label c [B,c_dim]) -> ws [B,num_ws,w_dim], all rows equal before truncation."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        embed = (config.embed_features or config.w_dim) if config.c_dim > 0 else 0
        if config.c_dim > 0:
            self.embed = EqualLinear(config.c_dim, embed)
        width = config.z_dim + embed
        for i in range(config.mapping_layers):
            layer = EqualLinear(width, config.w_dim, lr_multiplier=config.mapping_lr_multiplier, activation=True)
            setattr(self, f"fc{i}", layer)
            width = config.w_dim
        self.w_avg: Tensor
        self.num_layers, self.c_dim, self.z_dim = config.mapping_layers, config.c_dim, config.z_dim
        self.num_ws = config.num_ws
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, c: Tensor | int | None = None, truncation_psi: float = 1.0,
                truncation_cutoff: int | None = None) -> Tensor:
        """truncation: w_avg + psi (w - w_avg), on the first `truncation_cutoff` rows only when one is given. c: `w`."""
        ws = self.w(z, c)[:, None, :].repeat(1, self.num_ws, 1)
        if truncation_psi == 1.0:
            return ws
        rows = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([self.w_avg.lerp(ws[:, :rows], truncation_psi), ws[:, rows:]], dim=1)

    def w(self, z: Tensor, c: Tensor | int | None = None) -> Tensor:
        """z [B,z_dim] -> w [B,w_dim], not truncated and not broadcast.

        c: of a conditional generator, labels [B,c_dim] or the number of one class; None is the mean of w over all
        classes. Raises InputError for a class that there is not, MismatchError for labels or z of other shapes.
        """
        if z.dim() != 2 or z.shape[1] != self.z_dim:
            raise MismatchError(f"z has shape {tuple(z.shape)}, this generator expects [B,{self.z_dim}].")
        x = normalize_2nd_moment(z.float())
        if isinstance(c, int):
            c = self._label(c, x)
        if self.c_dim > 0:
            if c is None:
                return torch.stack([self.w(z, number) for number in range(self.c_dim)]).mean(dim=0)
            if tuple(c.shape) != (z.shape[0], self.c_dim):
                raise MismatchError(f"This generator is conditional: found a label of shape {tuple(c.shape)}, expected "
                                    f"c [B,{self.c_dim}], the number of a class, or None for the mean over classes.")
            x = torch.cat([x, normalize_2nd_moment(self.embed(c.float()))], dim=1)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        return x

    def _label(self, number: int, x: Tensor) -> Tensor:
        """Labels [B,c_dim] of one class for a batch x."""
        if not 0 <= number < self.c_dim:
            there = f"the classes 0 to {self.c_dim - 1}" if self.c_dim else "no classes"
            raise InputError(f"This generator has {there}; found class {number}. Choose another, or none.")
        label = x.new_zeros(x.shape[0], self.c_dim)
        label[:, number] = 1.0
        return label


class SynthesisBlock(nn.Module):
    """One resolution: [upsampling layer,] layer, and its share of the RGB pyramid."""

    def __init__(self, in_channels: int, out_channels: int, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, config.w_dim, resolution, True, config.clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, config.w_dim, resolution, False, config.clamp)
        self.torgb = ToRGB(out_channels, config.w_dim, config.clamp)
        self.upsample = FirUpsample() if in_channels else None
        self.dtype: torch.dtype | None = None       # None: see `precision.activation_dtype`
        self.final_resolution = config.resolution

    @property
    def layers(self) -> list[SynthesisLayer | ToRGB]:
        """Style consumers in StyleSpace order."""
        return [*([self.conv0] if hasattr(self, "conv0") else []), self.conv1, self.torgb]

    def forward(self, x: Tensor | None, rgb: Tensor | None, styles: list[Tensor], noise: str,
                generator: Generators, features: Mapping[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        styles, features = list(styles), features or {}
        dtype = self.dtype or activation_dtype(styles[0].device, self.final_resolution)
        if x is None:
            x = self.const.to(dtype)[None].expand(styles[0].shape[0], -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = inject(self.conv0(x.to(dtype), styles.pop(0), noise, generator), features.get("conv0"))
        x = inject(self.conv1(x, styles.pop(0), noise, generator), features.get("conv1"))
        y = self.torgb(x, styles.pop(0))
        return x, y if rgb is None or self.upsample is None else y + self.upsample(rgb)


class SynthesisNetwork(nn.Module):
    """ws [B,num_ws,w_dim], or StyleSpace vectors, -> image [B,3,R,R], nominally in [-1,1] and not clamped."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        width = 0
        for i, channels in enumerate(config.channels):
            setattr(self, f"b{4 * 2**i}", SynthesisBlock(width, channels, config, 4 * 2**i))
            width = channels

    @property
    def blocks(self) -> list[SynthesisBlock]:
        return [getattr(self, f"b{4 * 2**i}") for i in range(len(self.config.channels))]

    def set_precision(self, dtype: torch.dtype, num_resolutions: int = 4) -> None:
        """Run the `num_resolutions` highest resolutions in `dtype` (StyleGAN2-ADA's scheme), the rest in float32.

        Without a call, `precision.activation_dtype` chooses for all of them.
        float16 should go with `clamp=256`; bfloat16 needs no clamp. Parameters stay float32.
        """
        blocks = self.blocks
        for i, block in enumerate(blocks):
            block.dtype = dtype if i >= len(blocks) - num_resolutions else torch.float32

    def style_dims(self) -> list[int]:
        """Lengths of the StyleSpace vectors, in order conv1, rgb, then (conv0, conv1, rgb) per resolution."""
        return [layer.affine.weight.shape[0] for block in self.blocks for layer in block.layers]

    def styles(self, ws: Tensor) -> list[Tensor]:
        """ws -> StyleSpace (Wu et al. 2021): the modulation vectors [B,C_i], 26 of them at 1024."""
        expected = (self.config.num_ws, self.config.w_dim)
        if ws.dim() != 3 or tuple(ws.shape[1:]) != expected:
            raise MismatchError(f"The latent has shape {tuple(ws.shape)}, this generator expects "
                                f"[B,{expected[0]},{expected[1]}]; was it made for another generator?")
        out, first = [], 0
        for block in self.blocks:
            # A block's ToRGB shares its row of ws with the first layer of the next block.
            out += [layer.affine(ws[:, first + i]) for i, layer in enumerate(block.layers)]
            first += len(block.layers) - 1
        return out

    def forward(self, ws: Tensor | None = None, noise: str = "const",
                generator: Generators = None,
                styles: list[Tensor] | None = None, features: Mapping[str, Tensor] | None = None) -> Tensor:
        """Image [B,3,R,R].

        noise: "const" (the stored noise maps), "none", or "random" (drawn from `generator` when one is given, from
        each sample's own when there are several).
        Give either `ws` or `styles` (for StyleSpace edits). features: maps [B,2,C,h,w] by the name of a layer
        ("b64.conv0"), injected into its output (see `inject`). Raises InputError or MismatchError.
        """
        if noise not in NOISE_MODES:
            raise InputError(f"Unknown noise mode {noise!r}; choose one of {', '.join(NOISE_MODES)}.")
        if ws is None and styles is None or ws is not None and styles is not None:
            raise InputError("Give either ws or styles to synthesis, not both and not neither.")
        given = styles[0] if styles is not None else ws
        assert given is not None
        batch, own_noise = given.shape[0], isinstance(generator, Sequence) and len(generator) == given.shape[0]
        level = len(self.blocks) if noise == "random" and not own_noise else self._first_alone(batch, given.device)
        if level == 0:
            return self._each(batch, lambda row: self(
                None if ws is None else ws[row], noise, _rows(generator, row),
                None if styles is None else [s[row] for s in styles],
                {name: maps[row] for name, maps in (features or {}).items()}))
        if styles is None:
            styles = self.styles(given)
        elif [s.shape[-1] for s in styles] != self.style_dims():
            raise MismatchError(f"{len(styles)} style vectors of lengths {[s.shape[-1] for s in styles]} given, "
                                f"this generator takes {self.style_dims()}.")
        by_block = self._by_block(features or {})
        x, rgb = self._run(0, level, None, None, styles, noise, generator, by_block)
        styles_of_all = styles
        if level >= len(self.blocks):
            return rgb
        # Large maps gain nothing from a batch: one at a time they stay in the cache, and memory does not grow.
        return self._each(batch, lambda row: self._run(
            level, len(self.blocks), x[row], rgb[row], [s[row] for s in styles_of_all], noise,
            _rows(generator, row),
            {name: {k: v[row] for k, v in layers.items()} for name, layers in by_block.items()})[1])

    def _each(self, batch: int, paint: Callable[[slice], Tensor]) -> Tensor:
        """Pictures one at a time into one tensor."""
        with sharing():
            first = paint(slice(0, 1))
            out = first.new_empty(batch, *first.shape[1:])
            out[:1] = first
            for i in range(1, batch):
                out[i : i + 1] = paint(slice(i, i + 1))
        return out

    def _first_alone(self, batch: int, device: torch.device) -> int:
        """The block from which on a batch goes picture by picture (on a CPU without gradients), else their number.

        In bfloat16 the first: there another order of sums is 1e-2 of a picture, and no picture may depend on the batch.
        """
        if batch < 2 or device.type != "cpu" or torch.is_grad_enabled():
            return len(self.blocks)
        dtype = self.blocks[0].dtype or activation_dtype(device, self.config.resolution)
        return 0 if dtype == torch.bfloat16 else min(int(math.log2(ONE_BY_ONE)) - 2, len(self.blocks))

    def _run(self, first: int, last: int, x: Tensor | None, rgb: Tensor | None, styles: list[Tensor], noise: str,
             generator: Generators,
             features: Mapping[str, Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
        """Blocks `first` to `last` (exclusive) on features and the picture so far; `styles` of the whole network."""
        at = 0
        for i, block in enumerate(self.blocks[:last]):
            count = len(block.layers)
            if i >= first:
                x, rgb = block(x, rgb, styles[at : at + count], noise, generator, features.get(f"b{4 * 2**i}"))
            at += count
        assert x is not None and rgb is not None  # there is at least one block
        return x, rgb

    def _by_block(self, features: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        found: dict[str, dict[str, Tensor]] = {}
        for name, maps in features.items():
            block, _, layer = name.partition(".")
            if layer not in ("conv0", "conv1") or not hasattr(getattr(self, block, None), layer):
                raise MismatchError(f"This generator has no layer {name[:40]!r} to inject features into; layers are "
                                    "named like 'b64.conv0'. They were made for another generator.")
            found.setdefault(block, {})[layer] = maps
        return found


def _rows(generator: Generators, row: slice) -> Generators:
    """The generators of some samples."""
    return generator[row] if isinstance(generator, Sequence) else generator


class Generator(nn.Module):
    """StyleGAN2: G(z) = synthesis(mapping(z)). See `MappingNetwork` and `SynthesisNetwork` for the arguments."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.z_dim, self.w_dim, self.c_dim = config.z_dim, config.w_dim, config.c_dim
        self.num_ws, self.resolution = config.num_ws, config.resolution
        self.mapping = MappingNetwork(config)
        self.synthesis = SynthesisNetwork(config)

    @property
    def w_avg(self) -> Tensor:
        """Mean of w over z, [w_dim]; the centre of truncation."""
        return self.mapping.w_avg

    def forward(self, z: Tensor, c: Tensor | int | None = None, truncation_psi: float = 1.0, noise: str = "const",
                generator: torch.Generator | None = None) -> Tensor:
        return self.synthesis(self.mapping(z, c, truncation_psi), noise=noise, generator=generator)
