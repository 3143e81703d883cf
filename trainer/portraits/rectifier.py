"""The rectifier stage where pictures are rendered: training pictures without a folder, and edits with exact answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reganie_core import portraits

from ..data.image_set import ImageSet
from ..data.pictures import Pictures
from ..loop.config import option
from ..stages.rectifier import RectifierStage
from ..stages.rectifier_options import RectifierStageConfig
from .renderer import rendered_pictures

__all__ = ["PortraitRectifierConfig", "PortraitRectifierStage"]

VALIDATION_SEED = 600_000_000      # held-out portraits to look at while training; the tables use others


@dataclass
class PortraitRectifierConfig(RectifierStageConfig):
    data: str = option("runs/data", "folder of rendered portraits, filled on first use; used where an extra needs some")
    data_count: int = option(20000, "how many portraits")


class PortraitRectifierStage(RectifierStage):
    config_class = PortraitRectifierConfig
    config: PortraitRectifierConfig

    def __init__(self, config: PortraitRectifierConfig) -> None:
        super().__init__(config)
        if self.is_portraits:
            self.best_metric = "l2_rectified"

    @property
    def is_portraits(self) -> bool:
        """Whether the exact answer to an edit is known: the loss network reads the portraits' own attributes."""
        names = getattr(getattr(getattr(self.perceptual, "net", None), "config", None), "numeric", ())
        return not self.config.images and "yaw" in names and any(c.name == "yaw" for c in self.editors[0].controls)

    def open_pictures(self) -> Pictures | ImageSet | None:
        config = self.config
        if config.images or not ({"real", "edited_pictures"} & (config.extras.keys() - set(config.without))):
            return super().open_pictures()
        return rendered_pictures(config.data, config.data_count, self.resolution, 0, config.device)

    def look(self, count: int) -> tuple[Tensor, Tensor | None, dict[str, float]]:
        if not self.is_portraits:
            return super().look(count)
        return *self.held_out(max(count // 6, 1)), {"yaw": 15.0}

    def held_out(self, per_kind: int) -> tuple[Tensor, Tensor]:
        """Portraits without and with each long-tail item, and the same turned by 15 degrees."""
        groups = [(), *((item,) for item in portraits.ITEMS)]
        people = portraits.concat([portraits.sample(per_kind, VALIDATION_SEED + 1000 * i, items=items)
                                   for i, items in enumerate(groups)])
        pictures = [portraits.render(p, self.resolution).to(self.config.device)
                    for p in (people, portraits.edit(people, {"yaw": 15.0}))]
        return torch.stack(pictures).unbind(0)
