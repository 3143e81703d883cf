"""What was learned for a generator holds for one that grew from it (`growing.py`): its codes have more style vectors.

The added vectors start as copies of the last one, as in codes of the mapping network, where all are equal; what reads
codes ignores them. So an encoder or editor for the smaller generator gives the same pictures with the larger one, only
finer, from the first step on.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["longer_codes"]


def longer_codes(kind: str, tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Tensors of an encoder or DyStyle editor for fewer style vectors, as `network` takes them; others unchanged."""
    grow = GROWN.get(kind)
    counted = grow and (tensors.get("latent_avg") if kind == "encoder" else tensors.get("query"))
    if not isinstance(counted, Tensor) or not hasattr(network, "config"):
        return tensors
    before, after = len(counted), int(getattr(network.config, "num_ws", 0))
    return grow(tensors, before, after) if before < after else tensors


def _repeated(tensor: Tensor, dim: int, before: int, after: int) -> Tensor:
    """[..., before * n, ...] -> [..., after * n, ...]: the last of `before` parts again."""
    parts = list(tensor.chunk(before, dim))
    return torch.cat([*parts, *parts[-1:] * (after - before)], dim)


def _encoder(tensors: dict[str, Tensor], before: int, after: int) -> dict[str, Tensor]:
    """Each vector but the first has a head of its own, `deltas.<i - 1>`."""
    out = dict(tensors) | {"latent_avg": _repeated(tensors["latent_avg"], 0, before, after)}
    last = f"deltas.{before - 2}."
    for name in [n for n in tensors if n.startswith(last)]:
        for i in range(before - 1, after - 1):
            out[f"deltas.{i}.{name[len(last):]}"] = tensors[name].clone()
    return out


def _dystyle(tensors: dict[str, Tensor], before: int, after: int) -> dict[str, Tensor]:
    out = dict(tensors)
    for name, dim in (("experts.bank", 2), ("experts.direction", 1), ("query", 0), ("query_bias", 0)):
        out[name] = _repeated(tensors[name], dim, before, after)
    for name in ("reader.0.weight", "trunk.0.weight"):
        weight = tensors[name]
        added = weight.new_zeros(weight.shape[0], weight.shape[1] // before * (after - before))
        # These layers divide by the root of their inputs' number, which grows.
        out[name] = torch.cat([weight, added], dim=1) * math.sqrt(after / before)
    return out


GROWN: dict[str, Callable[[dict[str, Tensor], int, int], dict[str, Tensor]]] = {
    "encoder": _encoder, "dystyle": _dystyle}
