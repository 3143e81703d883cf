"""SeFa: directions from the generator's own weights (Shen and Zhou 2021, "Closed-Form Factorization of Latent
Semantics in GANs"). No pictures, no labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from .directions import parse_layers

__all__ = ["fix_signs", "row_of_style", "sefa"]


def fix_signs(directions: Tensor) -> Tensor:
    """Each row of ``[k,w_dim]`` with the sign that makes its largest entry positive: eigenvectors come with either."""
    largest = directions.abs().argmax(dim=1, keepdim=True)
    return directions * directions.gather(1, largest).sign()


def row_of_style(index: int) -> int:
    """The row of W+ that StyleSpace vector ``index`` reads: a ToRGB shares its row with the next convolution."""
    block, place = divmod(index + 1, 3)  # the first block lacks the upsampling convolution
    return 2 * block - 1 + place


def sefa(generator: nn.Module, layers: str | Sequence[int] | None = None, count: int = 10) -> tuple[Tensor, Tensor]:
    """The ``count`` directions of W that change the chosen layers' styles most.

    A stacks the style layers' weights of the convolutions (unit rows); the directions are the eigenvectors of
    A^T A in descending order of eigenvalue.

    Args:
        layers: rows of W+, see :func:`parse_layers`; None for all.

    Returns:
        ``directions [count,num_ws,w_dim]``, unit rows on the chosen layers and zero elsewhere, and eigenvalues
        ``[count]``.

    Raises:
        InputError: layers or a count that the generator does not have.
    """
    num_ws, w_dim = generator.num_ws, generator.w_dim
    if not 1 <= count <= w_dim:
        raise InputError(f"SeFa finds 1 to {w_dim} directions in this generator, asked for {count}.")
    chosen = parse_layers(layers, num_ws)
    chosen = list(range(num_ws)) if chosen is None else chosen
    consumers = [layer for block in generator.synthesis.blocks for layer in block.layers]
    weights = [layer.affine.weight.detach().double() for index, layer in enumerate(consumers)
               if index % 3 != 1 and row_of_style(index) in chosen]
    if not weights:
        raise InputError(f"The layers {chosen} feed no convolution; choose others of 0..{num_ws - 1}.")
    rows = torch.cat(weights)
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    values, vectors = torch.linalg.eigh(rows.t() @ rows)
    found = fix_signs(vectors.flip(1)[:, :count].t())
    directions = torch.zeros(count, num_ws, w_dim, dtype=torch.float32, device=found.device)
    directions[:, chosen] = found.float()[:, None]
    return directions, values.flip(0)[:count].float()
