"""The picture has to show the attributes of its target, as the attribute network of the loss reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from ..attribute_ensemble import AttributeEnsemble
from ..loop.config import option
from .base import Extra, Made

if TYPE_CHECKING:
    from ..stages.rectifier import RectifierStage


@dataclass
class Attribute(Extra):
    weight: float = option(1.0, "of the error of what is read")
    more: tuple[str, ...] = option((), "further attribute networks: several are harder to deceive than one")

    def bind(self, stage: RectifierStage) -> None:
        super().bind(stage)
        self.ensemble = AttributeEnsemble(stage.attribute_features("extras.attribute"), self.more, stage.config.device,
                                          stage.dtype)

    def terms(self, made: Made, picture: Tensor) -> dict[str, Tensor]:
        """See the module."""
        return {"attribute": self.weight * self.ensemble.compared(picture, made.triplet.target)[1]}
