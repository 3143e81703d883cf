"""3x3 convolutions in float32 on a CPU with a quarter of the multiplications (Winograd; Lavin and Gray 2016).

Tiles of 4x4 outputs are computed from 6x6 inputs, F(4x4, 3x3): Y = A^T [(G g G^T) . (B^T d B)] A, where the product
over the channels is 36 matrix products instead of a convolution. oneDNN has no such path on x86. It pays where many
channels meet many pixels; narrower layers are bound by memory and stay with the direct form.

The result differs from a direct float32 convolution by about 1e-5 of the largest value (measured; the direct form
itself is within 3e-6 of float64).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["as_kernel", "conv3x3", "direct_only"]

MIN_CHANNELS = 128
MIN_TILES = 256     # 64 x 64 outputs: fewer do not repay the transform of the weight
STRIP_TILES = 128   # tiles transformed at a time: what they need stays in the cache, and memory does not grow
_DIRECT = ContextVar("direct", default=False)

_B = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
      (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))
_G = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
      (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))
_A = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


@contextmanager
def direct_only() -> Iterator[None]:
    """Every convolution inside is computed the direct way."""
    token = _DIRECT.set(True)
    try:
        yield
    finally:
        _DIRECT.reset(token)


@lru_cache(1)
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """Both axes at once: [36,36] for inputs, [36,9] for weights, [16,36] for outputs."""
    with torch.inference_mode(False):
        b, g, a = (torch.tensor(rows, dtype=torch.float64) for rows in (_B, _G, _A))
        return torch.kron(b, b).float(), torch.kron(g, g).float(), torch.kron(a, a).float()


def _pays(x: Tensor, weight: Tensor, padding: int) -> bool:
    height, width = x.shape[-2] + 2 * padding - 2, x.shape[-1] + 2 * padding - 2
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.shape[-2:] == (3, 3)
        and min(weight.shape[:2]) >= MIN_CHANNELS
        and height % 4 == 0 == width % 4
        and height * width >= 16 * MIN_TILES
        and not _DIRECT.get()
    )


def _framed(rows: Tensor, padding: int) -> Tensor:
    """``rows [B,H,W,C]`` contiguous with a border of zeros; ``F.pad`` fills the whole picture first."""
    if not padding:
        return rows.contiguous()
    batch, height, width, channels = rows.shape
    out = rows.new_empty((batch, height + 2 * padding, width + 2 * padding, channels))
    inner = slice(padding, -padding)
    for border in (out[:, :padding], out[:, -padding:], out[:, inner, :padding], out[:, inner, -padding:]):
        border.zero_()
    out[:, inner, inner] = rows
    return out


def as_kernel(weight: Tensor, x: Tensor) -> Tensor:
    """``weight`` in the dtype of ``x`` and, without a graph, in channels_last (written so that ``vmap`` takes it)."""
    weight = weight.to(x.dtype)
    return weight if torch.is_grad_enabled() else weight.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 1) -> Tensor:
    """``F.conv2d(x, weight, bias, padding=padding)`` with stride 1, by the cheaper of the two ways.

    x ``[B,I,H,W]``, weight ``[O,I,3,3]`` of any dtype (it is cast to that of x). The result of the Winograd form is
    channels_last.
    """
    if not _pays(x, weight, padding):
        return F.conv2d(x, as_kernel(weight, x), bias, padding=padding)
    into, prepare, out_of = _transforms()
    channels, outputs = weight.shape[1], weight.shape[0]
    kernel = (prepare @ weight.reshape(outputs * channels, 9).t()).view(36, outputs, channels).transpose(1, 2)
    rows_of = _framed(x.permute(0, 2, 3, 1), padding)
    batch, height, width = x.shape[0], rows_of.shape[1] - 2, rows_of.shape[2] - 2
    down, across = height // 4, width // 4
    step = max(1, STRIP_TILES // across)
    out = x.new_empty((batch, height, width, outputs))
    s_batch, s_row, s_column, s_channel = rows_of.stride()
    steps = (s_row, s_column, 4 * s_row, 4 * s_column, s_channel)
    for i in range(batch):
        for top in range(0, down, step):
            n = min(step, down - top)
            start = rows_of.storage_offset() + i * s_batch + 4 * top * s_row
            tiles = rows_of.as_strided((6, 6, n, across, channels), steps, start)
            transformed = into @ tiles.reshape(36, n * across * channels)
            summed = torch.bmm(transformed.view(36, n * across, channels), kernel)
            made = (out_of @ summed.view(36, n * across * outputs)).view(4, 4, n, across, outputs)
            made = made.permute(2, 0, 3, 1, 4)
            target = out[i, 4 * top : 4 * (top + n)].view(n, 4, across, 4, outputs)
            target.copy_(made) if bias is None else torch.add(made, bias, out=target)
    return out.permute(0, 3, 1, 2)
