"""Latents and their pictures: chunked, with progress, Cancel and ComfyUI's memory management."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import reganie_core as rc
from . import _host, _models


def synthesize(generator: _models.Model, latent: Any, noise: str = "const", show: bool = False) -> Tensor:
    """IMAGE ``[B,R,R,3]`` in [0,1] on the device for results; ``show`` puts the first picture on the node meanwhile.

    Raises:
        MismatchError: the latent belongs to another generator.
    """
    latent.check(generator.value)
    size = generator.value.resolution

    def work(part: slice, chunk: int) -> tuple[Tensor]:
        (network,) = _models.on_device(_host.activation_bytes(size, chunk), generator)
        codes = latent[part].to(_host.device())
        return (rc.images.to_comfy(rc.latents.synthesize(network, codes, noise, chunk)),)

    return _host.in_chunks(latent.batch, _host.chunk_size(size), work, show)[0]


def sample(
    generator: _models.Model, count: int, seed: int, truncation_psi: float, truncation_cutoff: int | None,
    class_index: int | None = None,
) -> Any:
    """``count`` random codes on the device for results; drawn on the CPU, so a seed means the same everywhere.

    ``class_index``: of a class-conditional generator; None is the mean over its classes.
    """
    z = torch.randn(count, generator.value.z_dim, generator=torch.Generator().manual_seed(seed))

    def work() -> Any:
        (network,) = _models.on_device(0, generator)
        ws = network.mapping(
            z.to(_host.device()), class_index, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
        )
        return rc.Latent(ws.float(), generator=getattr(network, "fingerprint", None)).to(_host.results_device())

    return _host.falling_back(work)


def sheet(
    images: Tensor,
    columns: int,
    labels: Sequence[str] = (),
    title: str = "",
    cell: int = 192,
    before: Tensor | None = None,
) -> Tensor:
    """One IMAGE ``[1,H,W,3]``: the pictures in rows of ``columns``, with ``before[i]`` first in row i.

    Raises:
        MismatchError: pictures that fill no whole rows, or another number of pictures before than rows.
    """
    pictures = rc.images.from_comfy(images).cpu()
    if len(pictures) % columns:
        raise rc.errors.MismatchError(
            f"There are {len(pictures)} pictures for rows of {columns}; give one label for each column."
        )
    rows: list[list[Tensor]] = [list(pictures[i : i + columns]) for i in range(0, len(pictures), columns)]
    labels = list(labels)
    if before is not None:
        first = rc.images.from_comfy(before, "picture before").cpu()
        if len(first) != len(rows):
            raise rc.errors.MismatchError(f"There are {len(first)} pictures before, {len(rows)} rows; give one each.")
        rows = [[picture, *row] for picture, row in zip(first, rows, strict=True)]
        labels = ["Before", *labels] if labels else []
    drawn = rc.sheets.contact_sheet(rows, labels, title=title, cell=cell)
    return rc.images.to_comfy(rc.images.from_pil(drawn)).to(_host.results_device())
