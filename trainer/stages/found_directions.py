"""Directions without labels for the directions stage: SeFa from the weights, GANSpace from the codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reganie_core.editing.directions import parse_layers
from reganie_core.editing.ganspace import ganspace
from reganie_core.editing.sefa import sefa

SAMPLES = 100_000        # codes that GANSpace looks at
METHODS = ("regression", "sefa", "ganspace")
_ABOUT = {"sefa": "SeFa direction; the unit is one standard deviation of codes along it.",
          "ganspace": "GANSpace principal component; the unit is one standard deviation."}


def find_directions(method: str, generator: nn.Module, count: int, rows: str, seed: int) -> dict[str, Tensor]:
    """{name: [num_ws,w_dim]} in units of a standard deviation of the codes along each; zero outside `rows`."""
    chosen = parse_layers(rows, generator.num_ws)
    mask = torch.zeros(generator.num_ws, 1)
    mask[slice(None) if chosen is None else chosen] = 1.0
    if method == "ganspace":
        found = ganspace(generator, count, SAMPLES, seed)
        table = found.components.cpu() * found.deviations.cpu()[:, None]
        return {f"pc{i:02d}": mask * row for i, row in enumerate(table)}
    directions = sefa(generator, rows, count)[0].cpu()
    with torch.no_grad():
        z = torch.randn(4096, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        w = generator.mapping.w(z.to(next(generator.parameters()).device)).cpu()
    row = int(mask[:, 0].nonzero()[0])
    return {f"sefa{i:02d}": d * (w @ d[row]).std() for i, d in enumerate(directions)}


def plain_controls(method: str, names: list[str]) -> list[dict[str, Any]]:
    """Controls of directions whose meaning nobody has named."""
    return [{"name": name, "kind": "numeric", "unit": "", "default": 0.0, "minimum": -5.0, "maximum": 5.0,
             "description": _ABOUT[method]} for name in names]
