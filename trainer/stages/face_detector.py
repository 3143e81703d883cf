"""The face detector's stage: a finder and a refiner of five points, from labelled photographs of faces alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import InputError
from reganie_core.networks.face_detector import CELL, FaceDetectorNet, FaceDetectorNetConfig

from ..data import face_scenes
from ..loop.config import StageConfig, option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, init_from
from ..loop.randomness import generator_at
from ..sheets import grid

HELD_OUT = 20               # every so manieth photograph is validation's
POSITIVE, IGNORED = 0.14, 0.35   # of a face's side: places nearer to its centre are the face; up to the second neither


@dataclass
class FaceDetectorStageConfig(StageConfig):
    batch: int = 32
    beta1: float = 0.9
    beta2: float = 0.99
    lr_decay_from: float = 0.3
    total_kimg: float = 400.0
    images: str = option("", "a folder of photographs with labels.csv: file, and x and y of five points")


class FaceDetectorStage:
    config_class = FaceDetectorStageConfig
    kind = "face_detector"

    def __init__(self, config: FaceDetectorStageConfig) -> None:
        if not config.images:
            raise InputError("The face detector learns from labelled photographs: give images=FOLDER with labels.csv.")
        self.config = config
        torch.manual_seed(config.seed)
        everything = face_scenes.read(Path(config.images))
        held = torch.arange(len(everything.images)) % HELD_OUT == 0
        self.photos, self.held_out = (face_scenes.Photographs(everything.images[rows], everything.points[rows])
                                      for rows in (~held, held))
        if not len(self.photos.images):
            raise InputError("At least two labelled photographs are needed: one to learn from, one to look at.")
        self.net = FaceDetectorNet(FaceDetectorNetConfig()).to(config.device)
        init_from(self.net, config.init_from, self.kind)
        self.average = make_average(self.net)
        self.modules = {"net": self.net, "average": self.average}
        self.optimizers = {"net": adam(self.net, config)}

    def step(self, seen: int) -> dict[str, Tensor]:
        """``batch`` scenes for the finder and as many squares for the refiner."""
        config, random = self.config, generator_at(self.config.seed, seen)
        scenes = face_scenes.scenes(self.photos, config.batch, random)
        crops, wanted = face_scenes.crops(self.photos, config.batch, random)
        self.net.train()
        terms = self.losses(scenes)
        found = self.net.refine(crops.to(config.device))
        terms["refined"] = F.smooth_l1_loss(found, wanted.to(found), beta=0.01)
        loss = terms["face"] + terms["points"] + 0.3 * terms["side"] + 10.0 * terms["refined"]
        norm = descend(self, "net", loss)
        update_average(self.average, self.net, config.batch, config.ema_kimg, seen + config.batch)
        return {**{name: value.detach() for name, value in terms.items()}, "gradient": norm}

    def losses(self, scenes: face_scenes.Scenes) -> dict[str, Tensor]:
        """Focal loss of "a face is here", and L1 of points and size where one is."""
        images = scenes.images.to(self.config.device)
        points, side = scenes.points.to(images), scenes.side.to(images)
        logits, sides, found = self.net.find(images)
        h, w = logits.shape[-2:]
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        places = ((torch.stack([x, y], -1) + 0.5) * CELL - 0.5).to(images)
        away = (places[None] - points.mean(1)[:, None, None]).norm(dim=-1)
        reach = side[:, None, None]
        nearest = away == away.amin((1, 2), keepdim=True)            # a small face has one place at least
        here = (side[:, None, None] > 0) & ((away < POSITIVE * reach) | nearest)
        decided = here | (away > IGNORED * reach)
        probability = logits.sigmoid()
        focus = torch.where(here, 1 - probability, probability).square() * torch.where(here, 1.0, 0.5)
        face = F.binary_cross_entropy_with_logits(logits, here.float(), reduction="none") * focus
        count = here.sum().clamp_min(1)
        error = F.smooth_l1_loss(found, points[:, None, None].expand_as(found), reduction="none", beta=1.0)
        error = error.mean((-1, -2)) / reach.clamp_min(1.0)
        size = (sides / reach.clamp_min(1.0)).log().abs()
        return {"face": (face * decided).sum() / count, "points": 10.0 * (error * here).sum() / count,
                "side": (size * here).sum() / count}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """On scenes of held-out photographs: faces found, scenes without one that score as high, errors of points."""
        random = torch.Generator().manual_seed(1)
        scenes = face_scenes.scenes(self.held_out, 512, random)
        logits, _, points = (torch.cat(parts) for parts in zip(*(self.average.find(part.to(self.config.device))
                                                                 for part in scenes.images.split(64)), strict=True))
        best = logits.flatten(1).cpu().max(1)
        points = points.flatten(1, 2).cpu()[torch.arange(512), best.indices]
        there = scenes.side > 0
        error = (points - scenes.points).norm(dim=-1).mean(1) / scenes.side.clamp_min(1.0)
        found = there & (best.values > 0) & (error < 0.15)
        crops, wanted = face_scenes.crops(self.held_out, 512, random)
        refined = torch.cat([self.average.refine(part.to(self.config.device)).cpu() for part in crops.split(64)])
        return {"found": float(found.sum() / there.sum()),
                "false": float(((best.values > 0) & ~there).sum() / (~there).sum()),
                "points": float(error[found].mean()) if found.any() else 1.0,
                "refined": float((refined - wanted).norm(dim=-1).mean() * 1.15)}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        """Scenes of held-out photographs with the points of the best place as dots."""
        scenes = face_scenes.scenes(self.held_out, 32, torch.Generator().manual_seed(2))
        logits, _, points = self.average.find(scenes.images.to(self.config.device))
        images = scenes.images.clone()
        best = logits.flatten(1).argmax(1)
        for i, place in enumerate(best.tolist()):
            colour = torch.tensor([-1.0, 1.0, -1.0]) if logits[i].max() > 0 else torch.tensor([1.0, -1.0, -1.0])
            for x, y in points.flatten(1, 2)[i, place].round().long().tolist():
                images[i, :, max(y - 1, 0):y + 2, max(x - 1, 0):x + 2] = colour[:, None, None]
        grid(images, 8).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        config = {"type": "FaceDetectorNet", **asdict(self.average.config)}
        save_checkpoint(path, self.kind, config, dict(self.average.state_dict()), provenance, dtype=torch.float16)
