"""What a stage offers to the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from .config import StageConfig

__all__ = ["Stage"]


class Stage(Protocol):
    """`modules` holds everything to be saved, averages included.

    Optional: `best_metric`, the name of a metric of `validate` whose lowest value marks the best export; `group`, which
    says that the stage deals out its batch with `shares(config, group=group)` (the size of its discriminator's
    minibatch-std groups, or 1) and may therefore run in several processes and micro-batches; `get_ready()`, which makes
    what the first step would make, so that a preflight measures a step and not that. The loop sets `clock`, which
    `timed` uses.
    """

    config: StageConfig
    kind: str
    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]

    def step(self, seen: int) -> dict[str, float | Tensor]:
        """Train on the batch that starts at image number `seen`; returns terms to be averaged per tick.

        Each process trains on its own rows (`shares`); tensors among the terms are averaged over the processes.
        """

    def sheet(self, path: Path) -> None:
        """Write a sample sheet with fixed seeds."""

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write the slim file that people load."""

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data, for the status line and the provenance; may be empty."""
