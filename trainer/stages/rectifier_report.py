"""What a rectifier in training is looked at with: sheets and metrics, and the pictures for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core.algorithm1 import Triplet
from reganie_core.metrics import l2

from ..data.image_set import ImageSet
from ..data.pictures import Pictures
from ..data.sources import first
from ..extras.base import Extra, Made
from ..loop.randomness import generator_at
from ..sheets import compared, grid

__all__ = ["RectifierReport"]


class RectifierReport:
    """The part of the stage that trains nothing."""

    config: Any
    G: Any
    E: Any
    average: Any
    perceptual: Any
    editors: list[Any]
    extras: list[Extra]
    data: Pictures | ImageSet | None
    best_metric = "l2_reconstruction"

    @torch.inference_mode()
    def repaint(self, images: Tensor, edits: dict[str, float]) -> dict[str, Tensor]:
        """Inference on pictures [B,3,R,R]: X^, X_r, Y^, Y_r, all clamped."""
        codes = self.E(images)
        x_hat, y_hat = self.synthesize(torch.cat([codes, self.editors[0].edit(codes, edits)])).chunk(2)
        painted = [self.painted(self.average, Made(Triplet(images - x_hat, primary, images, x_hat), 3)).clamp(-1, 1)
                   for primary in (x_hat, y_hat)]
        return {"inversion": x_hat, "reconstruction": painted[0], "edited": y_hat, "rectified": painted[1]}

    def look(self, count: int) -> tuple[Tensor, Tensor | None, dict[str, float]]:
        """Pictures to look at, the exact answers where they are known, and the edit."""
        control = next((c for c in self.editors[0].controls if c.kind == "numeric"), self.editors[0].controls[0])
        edit = {control.name: 0.25 * (control.maximum - control.minimum)}
        if self.data is not None:
            return self.data.batch(first(self.data, count)).to(self.config.device), None, edit
        z = torch.randn(count, self.G.z_dim, generator=generator_at(1, 0, "look")).to(self.config.device)
        return torch.cat([self.synthesize(self.G.mapping(part)) for part in z.split(8)]), None, edit

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """L2 of the reconstruction, and of an edit against its exact answer where that is known."""
        images, exact, edit = self.look(120)
        parts = [self.repaint(x, edit) for x in images.split(8)]
        pictures = {k: torch.cat([part[k] for part in parts]) for k in parts[0]}
        truth = {"inversion": images, "reconstruction": images, "edited": exact, "rectified": exact}
        return {f"l2_{k}": float(l2(v, truth[k]).mean()) for k, v in pictures.items() if truth[k] is not None}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        """X0, X^, X_r, Y^, Y_r, and the exact answers where they are known."""
        images, exact, edit = self.look(12)
        p = self.repaint(images[:12], edit)
        columns = [images[:12], p["inversion"], p["reconstruction"], p["edited"], p["rectified"]]
        titles = ["X0", "X^", "X_r", "Y^ " + " ".join(f"{k} {v:+g}" for k, v in edit.items()), "Y_r"]
        if exact is not None:
            columns, titles = [*columns, exact[:12]], [*titles, "exact answer"]
        grid(compared(columns), len(columns), titles).save(path)
