"""A share of the batches shows edited training pictures. What such an edit should look like is not known.

What should be read in it is: what the attribute networks read in X0, changed by as much as from X^ to Y^. Where the
edit changes nothing, the picture is the answer. And what is seen behind an object that is put on, such as eyes behind
glasses, is known better from the picture than from the generator: there the answer is the difference pasted, or the
share of it that such an object lets through.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reganie_core.algorithm1 import Triplet
from reganie_core.errors import InputError
from reganie_core.metrics import changed_region

from ..attribute_ensemble import AttributeEnsemble
from ..loop.config import option
from ..loop.randomness import Draws
from .base import Extra, ExtraStage, Made
from .changed import regional_mean
from .crop_error import CropError


@dataclass
class EditedPictures(Extra):
    share: float = option(0.4, "of the batches", share=True)
    weight: float = option(1.0, "of the error of what is read")
    more: tuple[str, ...] = option((), "further attribute networks: several are harder to deceive than one")
    gains: dict[str, float] = option({}, "attribute -> how much of a change has to be read; above 1 where networks "
                                         "without a part in the training read less")
    behind_weight: float = option(0.0, "of what is behind an object that is put on")
    behind_share: float = option(1.0, "how much of the picture shows there: glass tints, a frame hides", share=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.gains.values(), default=1.0) <= 0:
            raise InputError(f"edited_pictures.gains must be above 0; found {self.gains}.")

    def bind(self, stage: ExtraStage) -> None:
        super().bind(stage)
        stage.need_pictures("extras.edited_pictures")
        self.ensemble = AttributeEnsemble(stage.attribute_features("extras.edited_pictures"), self.more,
                                          stage.config.device, stage.dtype, self.gains)

    def instead(self, draws: Draws, seen: int) -> Made | None:
        """X0 and its edit as in use: dX = X0 - X^, Y^ = G(Editor(E(X0))). Binary controls are only switched on."""
        if float(torch.rand(1, generator=draws.random)) >= self.share:
            return None
        stage = self.stage
        x = stage.training_pictures(draws, seen)
        for extra in stage.extras:
            x = extra.pictures(x, draws) if isinstance(extra, CropError) else x
        codes, edit = stage.E(x), stage.drawn_edit(draws, switch_on=True)
        x_hat, y_hat = stage.synthesize(torch.cat([codes, edit(codes)])).chunk(2)
        more = {"region": changed_region(x_hat, y_hat), "adds_object": edit.only_adds_objects()}
        return Made(Triplet(x - x_hat, y_hat, x, x_hat), 5, self, more)

    def loss(self, made: Made, picture: Tensor) -> dict[str, Tensor]:
        """See the module."""
        delta, primary, x, source = made.triplet
        region, rows = made.more["region"], made.more["adds_object"]
        pasted = (primary + self.behind_share * delta).clamp(-1, 1)
        behind = regional_mean((picture - pasted).abs()[rows], region[rows]) if rows.any() else x.new_zeros(())
        return {"kept": self.weight * self.ensemble.edit_error(picture, x, source, primary),
                "rest": self.stage.config.l1_weight * ((picture - x).abs() * (1 - region)).mean(),
                "behind": self.behind_weight * behind}
