"""Latents and their pictures: chunked, with progress, Cancel and ComfyUI's memory management."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _host, _models


def synthesize(generator: _models.Model, latent: Any, noise: str = "const") -> Tensor:
    """IMAGE ``[B,R,R,3]`` in [0,1] on the device for results.

    Raises:
        MismatchError: the latent belongs to another generator.
    """
    latent.check(generator.value)
    size = generator.value.resolution

    def work(part: slice, chunk: int) -> tuple[Tensor]:
        (network,) = _models.on_device(_host.activation_bytes(size, chunk), generator)
        codes = latent[part].to(_host.device())
        return (rc.images.to_comfy(rc.latents.synthesize(network, codes, noise, chunk)),)

    return _host.in_chunks(latent.batch, _host.chunk_size(size), work)[0]


def sample(
    generator: _models.Model, count: int, seed: int, truncation_psi: float, truncation_cutoff: int | None
) -> Any:
    """``count`` random codes on the device for results; drawn on the CPU, so a seed means the same everywhere."""
    (network,) = _models.on_device(0, generator)
    z = torch.randn(count, network.z_dim, generator=torch.Generator().manual_seed(seed)).to(_host.device())
    ws = network.mapping(z, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
    return rc.Latent(ws.float(), generator=getattr(network, "fingerprint", None)).to(_host.results_device())
