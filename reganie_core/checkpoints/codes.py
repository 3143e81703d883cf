"""Latent codes that other programs saved: a bare array in ``.pt`` or ``.npy`` (e4e's ``latents.pt``, StyleCLIP's)."""

from __future__ import annotations

import os

import torch

from ..errors import UnsupportedCheckpointError
from .ours import check_finite
from .source import open_source
from .tables import array_of

MOST = 1 << 28  # numbers: 29,000 codes of 18 x 512


def read_codes(path: str | os.PathLike[str]) -> torch.Tensor | None:
    """The codes ``[B,num_ws,w_dim]`` in a file of another program, float32; None for a safetensors file.

    ``[num_ws,w_dim]`` is one code. A table counts where exactly one array in it has a shape of codes.

    Raises:
        ReganieError: no such file, damaged, or no codes in it.
    """
    source = open_source(path)
    if source.container == "safetensors":
        return None
    values = list(source.root.values()) if isinstance(source.root, dict) else [source.root]
    arrays = [array for value in values[:64] if (array := array_of(value)) is not None]
    arrays = [a for a in arrays if a.dtype.is_floating_point and len(a.shape) in (2, 3) and 1 < a.shape[-2] <= 64]
    if len(arrays) != 1 or not 0 < arrays[0].numel <= MOST:
        raise UnsupportedCheckpointError(
            f"'{source.name}' holds no latent codes that are known here. Give what Save Latent wrote, or one array of "
            "floats [B,num_ws,w_dim], such as [1,18,512], saved with torch.save or numpy.save."
        )
    ws = arrays[0].read().float()
    check_finite({"ws": ws})
    return ws if ws.ndim == 3 else ws[None]
