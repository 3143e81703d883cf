"""A share of the batches shows training pictures, as triplet 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..loop.config import option
from ..loop.randomness import Draws
from .base import Extra, Made

if TYPE_CHECKING:
    from ..stages.rectifier import RectifierStage


@dataclass
class Real(Extra):
    share: float = option(0.05, "of the batches", share=True)

    def bind(self, stage: RectifierStage) -> None:
        super().bind(stage)
        stage.need_pictures("extras.real")

    def instead(self, draws: Draws, seen: int) -> Made | None:
        """See the module."""
        if float(torch.rand(1, generator=draws.random)) >= self.share:
            return None
        return self.stage.made(3, self.stage.training_pictures(draws, seen), draws)._replace(number=4)
