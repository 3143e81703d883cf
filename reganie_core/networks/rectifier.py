"""The rectifying network of ReGANIE: ``Y_r = G_p(E_p(Y^), E_d(dX))`` with dX = X0 - X^.

Pinned by the paper: two encoders, sp at the resolution of f_x, gl of dimension 2048, and a decoder that alternates
spatial and global modulation in each layer (eq. 7-8). Where the paper is silent this file takes: sp unnormalised with
64 channels, modulation ``1 + s`` with unit RMS and static weight norm, residual blocks ``(res + skip) / sqrt 2``, no
skips from the difference image (they would paint it back where it no longer belongs), one ToRGB at the end, no noise.
Ours, beyond the paper: ``output="residual"`` adds the picture to Y^, so that training starts at "output = edited
inversion".
"""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment.flow import estimate_flow, resize_flow, warp
from ..errors import InputError, MismatchError
from .carrying import FlowCorrection
from .layers import EqualConv2d
from .modulation import GlobalModulation, SpatialModulation, UnitConv
from .precision import activation_dtype
from .rectifier_encoders import DeltaCode, DeltaEncoder, PictureEncoder

__all__ = ["MODULATIONS", "OUTPUTS", "PRESETS", "DeltaCode", "Rectifier", "RectifierConfig"]

MODULATIONS = ("spatial+global", "spatial", "global")
OUTPUTS = ("residual", "literal")
MASK_START = 3.0  # sigmoid(3) = 0.95: nearly all of the carried difference, and still a gradient


@dataclasses.dataclass(frozen=True)
class RectifierConfig:
    """Sizes and switches of a :class:`Rectifier`; the defaults are widths A at 512.

    ``encoder_channels`` of E_p and E_d from full size to the code's size: one more than there are downsamplings.
    ``decoder_channels`` one per upsampling, coarse to fine. ``body_channels`` of the ``body_blocks`` blocks that keep
    the code's size. ``gl_channels`` are the stride-2 convolutions of the global head. ``modulation`` "spatial" or
    "global" leaves the other one (and its head) out, for the ablation. ``carry_channels``, where given, are the widths
    of a :class:`FlowCorrection`: dX and its spatial code are carried along the flow from X^ to Y^, and the picture is
    added to Y^ + mask * carried dX.
    """

    resolution: int = 512
    encoder_channels: tuple[int, ...] = (32, 64, 128, 256, 512)
    body_channels: int = 512
    body_blocks: int = 2
    decoder_channels: tuple[int, ...] = (512, 256, 128, 64)
    sp_channels: int = 64
    gl_channels: tuple[int, ...] = (1024, 2048)
    gl_dim: int = 2048
    modulation: str = "spatial+global"
    output: str = "literal"
    carry_channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("encoder_channels", "decoder_channels", "gl_channels", "carry_channels"):
            object.__setattr__(self, name, tuple(int(c) for c in getattr(self, name)))
        down = self.downsamplings
        if down < 1 or len(self.decoder_channels) != down:
            raise InputError(
                f"The rectifier has {down} downsamplings (encoder_channels) and {len(self.decoder_channels)} "
                "upsamplings (decoder_channels); give one decoder width per downsampling."
            )
        sizes = (*self.encoder_channels, *self.decoder_channels, *self.gl_channels, *self.carry_channels)
        sizes += (self.resolution, self.body_channels, self.body_blocks, self.sp_channels, self.gl_dim)
        if min(sizes) < 1:
            raise InputError("Every size in a rectifier configuration must be at least 1.")
        if self.resolution % (1 << down) or self.code_resolution < 2:
            raise InputError(f"A resolution of {self.resolution} cannot be halved {down} times to a code of 2 or more.")
        if self.modulation not in MODULATIONS:
            raise InputError(f"Unknown modulation {self.modulation!r}; known: {', '.join(MODULATIONS)}.")
        if self.output not in OUTPUTS:
            raise InputError(f"Unknown output {self.output!r}; known: {', '.join(OUTPUTS)}.")
        if self.carry_channels and ("spatial" not in self.modulation or self.output != "residual"):
            raise InputError("carry_channels needs spatial modulation and a residual output: it carries the spatial "
                             f"code, and adds the carried difference; found {self.modulation!r}, {self.output!r}.")
        if self.carry_channels and self.code_resolution % (1 << len(self.carry_channels)):
            raise InputError(f"A code of {self.code_resolution} pixels is too small for {len(self.carry_channels)} "
                             "carry_channels; each but the first halves it.")
        size = self.code_resolution
        for _ in self.gl_channels if "global" in self.modulation else ():
            if size < 3:
                raise InputError(
                    f"A code of {self.code_resolution} pixels is too small for {len(self.gl_channels)} valid stride-2 "
                    "convolutions; shorten gl_channels or use fewer downsamplings."
                )
            size = (size - 3) // 2 + 1

    @property
    def downsamplings(self) -> int:
        """How often each encoder halves the picture."""
        return len(self.encoder_channels) - 1

    @property
    def code_resolution(self) -> int:
        """Height and width of f_x and sp."""
        return self.resolution >> self.downsamplings

    @classmethod
    def preset(cls, name: str, **changes: object) -> RectifierConfig:
        """A, B, C (512 px, see :data:`PRESETS`) or "small" (64 px), with ``changes`` to any field."""
        if name not in PRESETS:
            raise InputError(f"Unknown rectifier preset {name!r}; known: {', '.join(PRESETS)}.")
        return cls(**{**PRESETS[name], **changes})  # type: ignore[arg-type]


PRESETS: dict[str, dict[str, object]] = {
    # A: widths of StyleGAN2 config-f. B: widths of the swapping autoencoder. C: half of A everywhere but in gl.
    "A": {},
    "B": {"decoder_channels": (512, 512, 256, 128)},
    "C": {
        "encoder_channels": (16, 32, 64, 128, 256),
        "body_channels": 256,
        "decoder_channels": (256, 128, 64, 32),
        "sp_channels": 32,
        "gl_channels": (512, 1024),
    },
    "small": {
        "resolution": 64,
        "encoder_channels": (32, 64, 96, 128),
        "body_channels": 128,
        "decoder_channels": (128, 96, 64),
        "sp_channels": 64,
        "gl_channels": (192, 256),
        "gl_dim": 256,
    },
}


class DecoderBlock(nn.Module):
    """Residual SG block: first convolution (up-sampling where asked) modulated by sp, second by gl."""

    def __init__(self, in_channels: int, out_channels: int, up: bool, config: RectifierConfig) -> None:
        super().__init__()
        spatial, global_ = "spatial" in config.modulation, "global" in config.modulation
        self.spatial = SpatialModulation(config.sp_channels, in_channels) if spatial else None
        self.conv1 = UnitConv(in_channels, out_channels, up=up)
        self.global_ = GlobalModulation(config.gl_dim, out_channels) if global_ else None
        self.conv2 = UnitConv(out_channels, out_channels, gain=1.0)  # sqrt 2 of the activation / sqrt 2 of the sum
        self.up = up
        self.skip_gain = 1.0 / math.sqrt(2.0)
        self.skip = None
        if up or in_channels != out_channels:
            self.skip = EqualConv2d(in_channels, out_channels, 1, bias=False, gain=self.skip_gain)

    def forward(self, x: Tensor, code: DeltaCode) -> Tensor:
        """``[B,in,h,w]`` to ``[B,out,h,w]`` or twice that size."""
        main = x if self.spatial is None else self.spatial(x, code.sp)
        main = self.conv1(main)
        main = self.conv2(main, None if self.global_ is None else self.global_.style(code.gl))
        skip = x * self.skip_gain if self.skip is None else self.skip(x)
        if self.up:
            skip = F.interpolate(skip, scale_factor=2, mode="bilinear", align_corners=False)
        return main + skip if torch.is_grad_enabled() else main.add_(skip)


class PictureDecoder(nn.Module):
    """G_p: ``body_blocks`` blocks at the code's size, one up-sampling block per downsampling, ToRGB."""

    def __init__(self, config: RectifierConfig) -> None:
        super().__init__()
        c = config
        widths = (c.encoder_channels[-1], *(c.body_channels,) * c.body_blocks, *c.decoder_channels)
        self.blocks = nn.ModuleList(
            DecoderBlock(a, b, i >= c.body_blocks, c) for i, (a, b) in enumerate(pairwise(widths))
        )
        self.rgb_style = GlobalModulation(c.gl_dim, widths[-1], normalise=False) if "global" in c.modulation else None
        self.to_rgb = EqualConv2d(widths[-1], 4 if c.carry_channels else 3, 1)  # the fourth: mask of the carried dX
        if c.output == "residual":
            nn.init.zeros_(self.to_rgb.weight)

    def forward(self, f_x: Tensor, code: DeltaCode) -> Tensor:
        """Codes of equal batch to a picture ``[B,3 or 4,R,R]`` (unbounded), in the activations' dtype."""
        x = f_x
        for block in self.blocks:
            x = block(x, code)
        return self.to_rgb(x, None if self.rgb_style is None else self.rgb_style.style(code.gl))


class Rectifier(nn.Module):
    """``R(edited, delta, strength=1.0)``: paint back into Y^ what the inversion lost, where it belongs after the edit.

    ``edited`` Y^ is ``[B,3,R,R]`` in [-1,1]; ``delta`` dX = X0 - X^ is ``[N,3,R,R]`` in [-2,2], unscaled; B is N or
    K N, image-major (delta i serves ``edited[i K : (i + 1) K]``). Nothing is clamped in here: training needs the
    gradient outside [-1,1], and callers clamp the picture where it leaves the network.

    ``compute_dtype`` is the dtype of the activations (None: ``precision.activation_dtype`` chooses); weights are stored
    as they are and cast at use, results come back in the dtype of the pictures. ``memory_format`` is channels_last, the
    faster one on CPU and GPU.
    """

    def __init__(self, config: RectifierConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.E_p = PictureEncoder(c.encoder_channels)
        sp = c.sp_channels if "spatial" in c.modulation else None
        gl = c.gl_dim if "global" in c.modulation else None
        self.E_d = DeltaEncoder(c.encoder_channels, sp, c.gl_channels, gl)
        self.G_p = PictureDecoder(c)
        self.flow = None
        if c.carry_channels:
            self.flow = FlowCorrection(c.encoder_channels[-1] + c.sp_channels, c.carry_channels)
        self.compute_dtype: torch.dtype | None = None
        self.memory_format = torch.channels_last

    @property
    def resolution(self) -> int:
        """Height and width of the pictures it takes and returns."""
        return self.config.resolution

    @property
    def needs_inversion(self) -> bool:
        """Whether it needs X^ beside dX: it carries dX along the flow from X^ to Y^."""
        return self.flow is not None

    def encode_delta(self, delta: Tensor) -> DeltaCode:
        """E_d(dX), once per picture however many edits follow. Raises :class:`MismatchError` on another size."""
        code = self.E_d(self._prepare(delta, "difference image"))
        return code._replace(delta=delta) if self.needs_inversion else code

    def encode_primary(self, edited: Tensor) -> Tensor:
        """E_p(Y^): f_x ``[B,C,h,w]``. Raises :class:`MismatchError` on another size."""
        return self.E_p(self._prepare(edited, "edited picture"))

    def decode(self, f_x: Tensor, code: DeltaCode, flow: Tensor | None = None) -> Tensor:
        """G_p alone, ``[B,3,R,R]`` in the activations' dtype; a code of N serves f_x of K N, image-major.

        Where dX is carried along ``flow [B,2,R,R]`` (see :meth:`render`), it is part of the result, in float32.
        """
        code = self._repeat(code, f_x.shape[0])
        if code.sp is not None:
            code = code._replace(sp=code.sp.to(f_x.dtype))
        if self.flow is None:
            return self.G_p(f_x, code)
        if flow is None:
            flow = code.delta.new_zeros(code.delta.shape[0], 2, *code.delta.shape[-2:])
        flow = flow.float()
        coarse = resize_flow(flow, self.config.code_resolution)
        correction = self.flow(f_x, self._carried(code.sp, coarse))
        out = self.G_p(f_x, code._replace(sp=self._carried(code.sp, coarse + correction))).float()
        flow = flow + resize_flow(correction, self.resolution)
        return out[:, :3] + torch.sigmoid(out[:, 3:] + MASK_START) * warp(code.delta.float(), flow)

    def _carried(self, sp: Tensor, flow: Tensor) -> Tensor:
        return warp(sp.float(), flow).to(dtype=sp.dtype, memory_format=self.memory_format)

    def render(self, edited: Tensor, code: DeltaCode, strength: float = 1.0, flow: Tensor | None = None) -> Tensor:
        """The picture for a difference code, between ``edited`` (strength 0, bit for bit) and the network's (1).

        ``flow [B,2,R,R]`` in pixels leads from the places of Y^ to those of X^ (``estimate_flow(X^, Y^)``); networks
        that carry nothing do without, and without it the others take everything to have stayed.
        """
        if strength == 0:
            self._check(edited, "edited picture")
            return edited.clone()
        out = self.decode(self.encode_primary(edited), code, flow).to(edited.dtype)
        if self.config.output == "residual":
            return edited + (out if strength == 1 else strength * out)
        return out if strength == 1 else edited + strength * (out - edited)

    def forward(self, edited: Tensor, delta: Tensor, strength: float = 1.0, inversion: Tensor | None = None,
                flow: Tensor | None = None) -> Tensor:
        """See the class and :meth:`render`; the flow comes from X^ ``inversion [N,3,R,R]`` where it is not given.

        Raises :class:`MismatchError` for another size, a batch that is no multiple, or where X^ is needed and missing.
        """
        if strength == 0:
            self._check(delta, "difference image")
            return self.render(edited, DeltaCode(None, None), 0.0)
        if self.needs_inversion and flow is None:
            if inversion is None:
                raise MismatchError("This rectifier carries the difference along the flow from X^ to Y^: give "
                                    "inversion=X^, or use reganie_core.rectify with a Delta, which holds it.")
            repeats = max(1, len(edited) // len(inversion))
            flow = estimate_flow(inversion.repeat_interleave(repeats, 0), edited)
        return self.render(edited, self.encode_delta(delta), strength, flow)

    def _check(self, images: Tensor, what: str) -> None:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(f"The {what} must be a float tensor [B,3,H,W]; found {images.dtype} {list(images.shape)}.")
        if tuple(images.shape[-2:]) != (self.resolution, self.resolution):
            raise MismatchError(
                f"The {what} is {images.shape[-1]}x{images.shape[-2]} and this rectifier works at "
                f"{self.resolution}x{self.resolution}; resize it first."
            )

    def _prepare(self, images: Tensor, what: str) -> Tensor:
        self._check(images, what)
        dtype = self.compute_dtype or activation_dtype(images.device, self.resolution)
        return images.to(dtype=dtype, memory_format=self.memory_format)

    @staticmethod
    def _repeat(code: DeltaCode, batch: int) -> DeltaCode:
        have = next((t.shape[0] for t in code if t is not None), 0)
        if have == 0 or batch % have:
            raise MismatchError(
                f"{batch} edited pictures cannot share {have} difference images; give as many, or K times as many."
            )
        times = batch // have
        if times == 1:
            return code
        return DeltaCode(*(None if t is None else t.repeat_interleave(times, 0) for t in code))
