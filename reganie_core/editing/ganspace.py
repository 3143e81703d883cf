"""GANSpace: principal components of W (Härkönen et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from .directions import parse_layers
from .sefa import fix_signs

__all__ = ["Components", "ganspace"]


@dataclass(frozen=True)
class Components:
    """mean ``[w_dim]``, components ``[k,w_dim]`` (unit), deviations ``[k]`` of W along them, descending."""

    mean: Tensor
    components: Tensor
    deviations: Tensor

    def coordinate(self, w: Tensor, index: int) -> Tensor:
        """Where codes ``[B,w_dim]`` lie along a component, in standard deviations: ``[B]``."""
        return (w - self.mean.to(w)) @ self.components[index].to(w) / self.deviations[index].to(w)

    def edit_to(self, ws: Tensor, index: int, value: float | Tensor,
                layers: str | Sequence[int] | None = None) -> Tensor:
        """Move codes ``[B,num_ws,w_dim]`` to coordinate ``value`` (a number or ``[B]``), measured at their first row.

        ws + (value - <w_0 - mean, c> / s) c s on the chosen rows: the edit of e4e's GANSpace.

        Raises:
            InputError: no such component or layers.
            MismatchError: codes of another length.
        """
        if not 0 <= index < len(self.components):
            raise InputError(f"There are components 0..{len(self.components) - 1}, asked for {index}.")
        if ws.ndim != 3 or ws.shape[2] != self.components.shape[1]:
            raise MismatchError(f"The codes {list(ws.shape)} are not of the generator whose components have "
                                f"{self.components.shape[1]} numbers.")
        amount = torch.as_tensor(value, dtype=ws.dtype, device=ws.device) - self.coordinate(ws[:, 0], index)
        chosen = parse_layers(layers, ws.shape[1])
        mask = torch.zeros(ws.shape[1], 1, dtype=ws.dtype, device=ws.device)
        mask[slice(None) if chosen is None else chosen] = 1.0
        direction = self.components[index].to(ws) * self.deviations[index].to(ws)
        return ws + amount[:, None, None] * (direction * mask)


@torch.no_grad()
def ganspace(generator: nn.Module, count: int = 20, samples: int = 100_000, seed: int = 0) -> Components:
    """Principal components of the mapped latents, exact (eigh of their covariance in float64), signs fixed.

    Raises:
        InputError: more components than dimensions, or fewer than two samples.
    """
    if not 1 <= count <= generator.w_dim or samples < 2:
        raise InputError(f"GANSpace finds 1 to {generator.w_dim} components from at least 2 samples, asked for {count} "
                         f"from {samples}.")
    random = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    first = torch.zeros(generator.w_dim, dtype=torch.float64, device=device)
    second = torch.zeros(generator.w_dim, generator.w_dim, dtype=torch.float64, device=device)
    for start in range(0, samples, 4096):
        z = torch.randn(min(4096, samples - start), generator.z_dim, generator=random).to(device)
        w = generator.mapping.w(z).double()
        first += w.sum(dim=0)
        second += w.t() @ w
    mean = first / samples
    values, vectors = torch.linalg.eigh(second / samples - torch.outer(mean, mean))
    components = fix_signs(vectors.flip(1)[:, :count].t())
    return Components(mean.float(), components.float(), values.flip(0)[:count].clamp_min(0.0).sqrt().float())
