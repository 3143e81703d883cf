"""The directions stage where pictures are rendered with exact labels: `source=rendered` inverts these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reganie_core.checkpoints import load_encoder
from reganie_core.errors import InputError

from ..data.training import RenderedConfig
from ..loop.config import option
from ..stages.directions import DirectionsStage, DirectionsStageConfig
from .renderer import rendered_pictures

__all__ = ["PortraitDirectionsConfig", "PortraitDirectionsStage"]


@dataclass
class PortraitDirectionsConfig(DirectionsStageConfig, RenderedConfig):
    controls: tuple[str, ...] = ("yaw", "pitch", "smile", "age", "glasses", "eye_openness", "beard", "hair_length")
    source: str = option("generated", "of codes and labels: generated, or rendered (portraits, inverted)")
    encoder: str = option("runs/encoder/encoder.safetensors", "the frozen encoder, for source=rendered")

    def validate(self) -> None:
        super().validate()
        if self.source not in ("generated", "rendered"):
            raise InputError(f"source is generated or rendered; found {self.source!r}.")


class PortraitDirectionsStage(DirectionsStage):
    config_class = PortraitDirectionsConfig
    config: PortraitDirectionsConfig

    def __init__(self, config: PortraitDirectionsConfig) -> None:
        super().__init__(config)
        self.inverting = self.labelled and config.source == "rendered"
        if self.inverting:
            self.E = load_encoder(config.encoder, config.device)
            self.data = rendered_pictures(config.data, config.data_count, self.G.resolution, config.data_seed)

    def samples(self, count: int, random: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        if not self.inverting:
            return super().samples(count, random)
        indices = torch.randint(len(self.data), (count,), generator=random)
        mirror = torch.rand(count, generator=random) < 0.5
        return self.E(self.data.batch(indices, mirror).to(self.config.device)), self.data.label_batch(indices, mirror)
