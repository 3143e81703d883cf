"""A stage that trains in milliseconds: a small discriminator-like network with R1 and a small painter.

Run as a program it is `train.py` for this stage; the tests start, kill and resume it in processes of their own.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import save_checkpoint
from reganie_core.networks.discriminator import Discriminator, DiscriminatorConfig
from trainer.loop.config import StageConfig
from trainer.loop.ema import make_average, update_average
from trainer.loop.optimisation import adam, descend, shares, timed
from trainer.loop.randomness import generator_at
from trainer.losses import discriminator_loss, generator_loss, r1_penalty


@dataclass
class ToyConfig(StageConfig):
    batch: int = 8
    total_kimg: float = 0.08
    tick_kimg: float = 0.016
    sheet_kimg: float = 1.0
    size: int = 8
    pause: float = 0.0               # seconds per step
    die_at: int = -1                 # this rank 1 ends without a word at this image, once
    spoil_at: int = -1               # the first row of this batch is not a number


class ToyStage:
    config_class = ToyConfig
    kind = "attributes"
    group = 4
    best_metric = "distance"

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.G = nn.Conv2d(3, 3, 3, padding=1).to(config.device)
        self.D = Discriminator(DiscriminatorConfig(config.size, (8, 8))).to(config.device)
        self.average = make_average(self.G)
        self.modules: dict[str, nn.Module] = {"G": self.G, "D": self.D, "average": self.average}
        self.optimizers = {"G": adam(self.G, config), "D": adam(self.D, config, 2)}
        self.losses: list[dict[str, Tensor]] = []

    def step(self, seen: int) -> dict[str, float | Tensor]:
        config = self.config
        with timed(self, "data"):
            random = generator_at(config.seed, seen)
            pictures = torch.randn(2, config.batch, 3, config.size, config.size, generator=random)
            if seen == config.spoil_at:
                pictures[:, 0] = torch.nan
            pieces = [pictures[:, rows].to(config.device) for rows in shares(config, group=self.group)]
        self.interrupt(seen)
        terms: dict[str, Tensor] = {"D": torch.zeros(()), "G": torch.zeros(())}

        def loss_d(real: Tensor, source: Tensor) -> Tensor:
            loss = discriminator_loss(self.D(real), self.D(self.G(source).detach()))
            if seen % 2 == 0:
                loss = loss + 2 * r1_penalty(self.D, real)
            terms["D"] = terms["D"] + loss.detach() / len(pieces)
            return loss

        def loss_g(source: Tensor) -> Tensor:
            loss = generator_loss(self.D(self.G(source)))
            terms["G"] = terms["G"] + loss.detach() / len(pieces)
            return loss

        with timed(self, "D"):
            terms["gradient_D"] = descend(self, "D", (loss_d(*p) for p in pieces))
        with timed(self, "G"):
            terms["gradient_G"] = descend(self, "G", (loss_g(p[1]) for p in pieces))
        update_average(self.average, self.G, config.batch, config.ema_kimg, seen + config.batch)
        return terms

    def interrupt(self, seen: int) -> None:
        time.sleep(self.config.pause)
        first_try = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if seen == self.config.die_at and os.environ.get("RANK") == "1" and first_try:
            os._exit(9)

    def sheet(self, path: Path) -> None:
        path.write_bytes(b"")

    def validate(self) -> dict[str, float]:
        return {"distance": float(self.average.weight.detach().square().sum())}

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        save_checkpoint(path, self.kind, {}, dict(self.average.state_dict()), provenance)


if __name__ == "__main__":
    from trainer import stages, train

    stages.STAGES["toy"] = ("toy", "ToyStage")
    stages.stage_class = train.stage_class = lambda name: ToyStage
    torch.set_num_threads(1)
    train.program(["toy", *sys.argv[1:]])
