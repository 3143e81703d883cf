"""The StyleCLIP stage where prompts have known meanings: edits by text are read by an attribute network."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..evaluation.texts import text_table
from ..frozen import load_attributes
from ..loop.config import option
from ..stages.styleclip import StyleCLIPStage, StyleCLIPStageConfig

__all__ = ["PortraitStyleCLIPConfig", "PortraitStyleCLIPStage"]


@dataclass
class PortraitStyleCLIPConfig(StyleCLIPStageConfig):
    attributes: str = option("", "global: attribute network that reads what prompts change; empty: nothing is read")


class PortraitStyleCLIPStage(StyleCLIPStage):
    config_class = PortraitStyleCLIPConfig
    config: PortraitStyleCLIPConfig

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Global, with an attribute network: the share of pictures moved the right way and the worst drift of other
        attributes, the mean over twenty prompts and the least good of them."""
        config = self.config
        if config.mode == "mapper" or not config.attributes:
            return super().validate()
        read = load_attributes(config.attributes, config.device).read
        rows = text_table(self.G, self.editor(), read, self.held_out())
        count = len(rows)
        return {"right": sum(row["right"] for row in rows) / count, "least_right": min(row["right"] for row in rows),
                "drift": sum(row["worst_drift"] for row in rows) / count,
                "worst_drift": max(row["worst_drift"] for row in rows)}
