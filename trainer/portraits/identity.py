"""The identity stage: an embedder trained with ArcFace (Deng et al. 2019) on several pictures of each person.

ArcFace alone needs many people to find out what makes one. The renderer knows: a linear head, thrown away afterwards,
also reads the parameters that a person's pictures share from the embedding. The last layer of the finished network is
measured instead of learned, see fisher.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reganie_core import portraits
from reganie_core.checkpoints import save_checkpoint
from reganie_core.metrics import equal_error_rate
from reganie_core.networks import describe
from reganie_core.networks.identity_net import IdentityNet, IdentityNetConfig
from reganie_core.portraits.identity import VARYING
from reganie_core.portraits.parameters import DRAWN

from ..data.crops import shifted
from ..data.training import HeldOutConfig
from ..loop.config import option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from
from ..loop.randomness import generator_at
from ..sheets import grid
from .fisher import with_discriminant
from .renderer import HELD_OUT_SEED, identity_set

DIM = 128            # of the embedding that is learned
MARGIN = 0.3         # radians added to the angle to one's own centre
MARGIN_KIMG = 20.0   # it grows from 0 for so long: at chance level a margin only repels
VIEWS = 5            # pictures of each person
CHANNELS = (32, 64, 96, 128)
DISCRIMINANT = 24    # directions of the discriminant, which becomes the last layer in the end
SCALE = 24.0         # of the cosines; ArcFace's 64 is for millions of faces
READ_WEIGHT = 4.0
SHIFT = 2            # largest random translation in pixels


@dataclass
class IdentityStageConfig(HeldOutConfig):
    lr: float = 0.002
    beta1: float = 0.9
    lr_decay_from: float = 0.5
    batch: int = 64
    data_count: int = option(8000, "how many people")
    data_seed: int = 200_000_000
    held_out_count: int = 250
    resolution: int = option(64, "of the pictures, a power of two")


#: Columns of `portraits.scores` that are a person's own.
SHARED = [i for i, name in enumerate(DRAWN) if name not in VARYING]


class Centres(nn.Module):
    """One direction per person of the training set; thrown away afterwards."""

    def __init__(self, people: int, dim: int) -> None:
        super().__init__()
        # Only directions count; short vectors turn quickly under Adam's steps of fixed length.
        self.weight = nn.Parameter(torch.randn(people, dim) * 0.05)

    def forward(self, embedding: Tensor, person: Tensor, margin: float, scale: float) -> Tensor:
        """ArcFace loss: cross-entropy of scale * cos(angle + margin on one's own centre)."""
        cosine = embedding @ F.normalize(self.weight, dim=1).t()
        own = cosine.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = own.acos() + margin
        # Past pi the cosine would rise again; there the margin becomes a constant penalty.
        with_margin = torch.where(angle < math.pi, angle.cos(), own - margin * math.sin(margin))
        return F.cross_entropy(scale * cosine.scatter(1, person[:, None], with_margin), person)


class IdentityStage:
    config_class = IdentityStageConfig
    kind = "identity"

    def __init__(self, config: IdentityStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.data = identity_set(config.data, config.data_count, VIEWS, config.resolution,
                                 config.data_seed, config.device)
        self.net = IdentityNet(IdentityNetConfig(config.resolution, CHANNELS, DIM))
        init_from(self.net, config.init_from, "identity")
        self.net.to(config.device, memory_format=torch.channels_last)
        self.net.dtype = dtype_of(config)
        self.centres = Centres(config.data_count, DIM).to(config.device)
        self.reader = nn.Linear(DIM, len(SHARED)).to(config.device)
        self.shared = portraits.scores(config.data_count, config.data_seed)[:, SHARED].float()
        self.average = make_average(self.net)
        self.finished: IdentityNet | None = None      # with the discriminant
        self.modules = {"net": self.net, "centres": self.centres, "reader": self.reader, "average": self.average}
        self.optimizers = {"all": adam(nn.ModuleList([self.net, self.centres, self.reader]), config)}

    def step(self, seen: int) -> dict[str, Tensor]:
        config, random = self.config, generator_at(self.config.seed, seen)
        indices = torch.randint(len(self.data), (config.batch,), generator=random)
        images = shifted(self.data.batch(indices), SHIFT, random).to(config.device)
        person = indices // VIEWS
        margin = MARGIN * min(1.0, seen / (MARGIN_KIMG * 1000))
        embedding = self.net(images)
        arcface = self.centres(embedding, person.to(config.device), margin, SCALE)
        # The embedding has unit length; its entries are of the order 1 / sqrt(DIM).
        read = F.smooth_l1_loss(self.reader(embedding * DIM**0.5), self.shared[person].to(config.device))
        norm = descend(self, "all", arcface + READ_WEIGHT * read)
        update_average(self.average, self.net, config.batch, config.ema_kimg, seen + config.batch)
        self.finished = None
        return {"arcface": arcface.detach(), "read": read.detach(), "gradient": norm}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Equal-error rate on people nobody has seen, four pictures each; measures the discriminant for that."""
        config, views = self.config, 4
        directions = min(DISCRIMINANT, config.data_count - 1)
        net = self.finished = with_discriminant(self.average, self.data, VIEWS, directions)
        p = portraits.variants(portraits.sample(config.held_out_count, HELD_OUT_SEED), views, 1)
        images = portraits.render(p.to(config.device), config.resolution)
        codes = torch.cat([net(x) for x in images.split(100)]).cpu()
        person = torch.arange(config.held_out_count).repeat_interleave(views)
        similarity = codes @ codes.t()
        pairs = torch.ones_like(similarity, dtype=torch.bool).triu(1)
        own = person[:, None] == person[None]
        return {"equal_error_rate": equal_error_rate(similarity[pairs & own], similarity[pairs & ~own])[0]}

    def sheet(self, path: Path) -> None:
        grid(self.data.batch(torch.arange(min(4 * VIEWS, len(self.data)))).cpu(), columns=VIEWS).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        net = self.finished or self.average
        save_checkpoint(path, "identity", describe(net), dict(net.state_dict()), provenance, dtype=torch.float16)
