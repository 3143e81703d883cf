"""The editor stage where pictures are rendered: besides what pictures show, the exact change of the code is known.

With `exact_weight` and attribute_weight=0 codes alone are compared, several times as fast. See exact_targets.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.errors import InputError

from ..data.image_set import ImageSet
from ..data.pictures import Pictures
from ..loop.config import option
from ..stages.editor import WEIGHTS, EditorStage, EditorStageConfig, Unedited
from ..stages.editor_requests import Request
from .exact_targets import ExactEditTargets, exact_loss
from .renderer import HELD_OUT_SEED, rendered_pictures

__all__ = ["PortraitEditorConfig", "PortraitEditorStage"]

#: Weights beside exact targets: these say what stays the same, so that less has to be guessed from pictures.
WITH_TARGETS = {**WEIGHTS, "preserve": 1.2, "perceptual": 0.0, "pixel": 0.0, "norm": 0.01, "cycle": 0.05}


@dataclass
class PortraitEditorConfig(EditorStageConfig):
    data: str = option("runs/data", "folder of rendered portraits to encode; empty: generated pictures are encoded")
    exact_weight: float = option(0.0, "weight of the distance to the exact change of the code")
    exact_without: tuple[str, ...] = option((), "controls whose exact codes are not to be trusted")

    def validate(self) -> None:
        super().validate()
        if self.attribute_weight <= 0 and self.exact_weight <= 0:
            raise InputError("Nothing says what an edit should be: attribute_weight and exact_weight are both 0.")


class PortraitEditorStage(EditorStage):
    config_class = PortraitEditorConfig
    config: PortraitEditorConfig

    def __init__(self, config: PortraitEditorConfig) -> None:
        super().__init__(config)
        if unknown := sorted(set(config.exact_without) - set(self.names)):
            raise InputError(f"exact_without: {', '.join(unknown)} is not edited; {', '.join(self.names)} are.")
        if config.exact_weight > 0:
            self.targets = ExactEditTargets(self.G, self.names, config.data_count, config.data_seed)

    def loss_weights(self) -> dict[str, float]:
        config = self.config
        if config.exact_weight <= 0:
            return super().loss_weights()
        if config.attribute_weight <= 0:
            return {"exact": config.exact_weight, "attribute": 0.0, "norm": 0.0, "cycle": 0.0, "reader": 1.0}
        return {**WITH_TARGETS, "attribute": config.attribute_weight, "exact": config.exact_weight}

    def pictures_to_encode(self) -> Pictures | ImageSet | None:
        config = self.config
        if config.images or not config.data:
            return super().pictures_to_encode()
        return rendered_pictures(config.data, config.data_count, self.G.resolution, config.data_seed, config.device)

    def held_out_pictures(self, count: int) -> Tensor | None:
        if not isinstance(self.data, ImageSet):
            return super().held_out_pictures(count)
        return portraits.render(portraits.sample(count, HELD_OUT_SEED), self.G.resolution)

    def further_terms(self, draw: Request, rows: Tensor, before: Unedited, offset: Tensor, goal: Tensor,
                      active: Tensor) -> dict[str, Tensor]:
        if self.config.exact_weight <= 0:
            return {}
        return {"exact": exact_loss(offset, *self.exact_change(draw, rows, before, goal, active), self.net.spread)}

    def exact_change(self, draw: Request, rows: Tensor, before: Unedited, goal: Tensor,
                     active: Tensor) -> tuple[Tensor, Tensor]:
        """The exact changes of these rows [B,num_ws,w_dim], those of both styles where codes are mixed, and which of
        them are exact [B]."""
        net, device = self.net, self.config.device
        logits = before.reading.logits[:, self.columns]
        now = torch.where(net.binary, torch.sigmoid(logits), logits * net.std + net.mean).cpu()
        wanted = torch.where(net.binary, goal, goal * net.std + net.mean).cpu()
        rendered = self.encoded(rows) if isinstance(self.data, ImageSet) else torch.zeros_like(rows, dtype=torch.bool)
        changes = []
        for z in draw.z[:, rows]:
            scores = self.targets.scores(z)
            scores[rendered] = self.targets.codes.of(draw.indices[rows[rendered]], draw.mirror[rows[rendered]])
            change, exact = self.targets.change(scores, z, now, wanted, active.cpu())
            changes.append(change[:, None])
        trusted = torch.tensor([name not in self.config.exact_without for name in self.names])
        exact &= ~(active.cpu() & ~trusted).any(dim=1)
        second = (torch.arange(self.G.num_ws) >= draw.crossing[rows][:, None]) & ~rendered[:, None]
        return torch.where(second[:, :, None].to(device), changes[1], changes[0]), exact.to(device)
