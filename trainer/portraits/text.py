"""The text stage: a small text-image encoder of the portraits domain, trained contrastively on captioned renders.

Captions are made from the renderer's parameters (`reganie_core.portraits.captions`), so it is known which of the
batch's portraits each caption is true of. The symmetric InfoNCE loss of CLIP (Radford et al. 2021) therefore spreads
its targets over all of them instead of calling the other true ones wrong: for a caption the portraits it describes
share the probability; for a portrait its true captions weigh as much as they say (one over how many they describe).

A linear head that reads the parameters from the image embedding trains along. It keeps every quality in the
embedding at every value, not only near the words' limits, and is not part of the exported network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reganie_core import portraits
from reganie_core.checkpoints import read_checkpoint, save_checkpoint
from reganie_core.errors import InputError, MismatchError
from reganie_core.networks.text_image import TextImageNet, TextImageNetConfig
from reganie_core.portraits.captions import (
    GROUPS,
    PARAMETERS,
    PHRASES,
    Caption,
    captions_of,
    matches,
    truth,
    vocabulary,
)
from reganie_core.portraits.parameters import MIRRORED, Portraits
from reganie_core.text import WordEncoder, split_words

from ..data.training import HeldOutConfig
from ..loop.config import option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from
from ..loop.randomness import generator_at
from ..sheets import grid
from .renderer import FIRST_RESERVED_SEED, HELD_OUT_SEED

RENDER_CHUNK = 512
#: Parameters of the text side; the others embed pictures.
TEXT_SIDE = ("words", "positions", "blocks", "norm", "text_out", "log_scale")
SHEET_TEXTS = ("a smiling child", "a sad old man with a beard", "a woman with long blond hair", "dark skin, glasses",
               "a person looking left with closed eyes", "black hair, lit from the right")


HIDDEN, DIM = 192, 64         # of the image side
TEXT_WIDTH, TEXT_LAYERS = 128, 2
READ_WEIGHT = 0.5
SHIFT, NOISE = 2, 0.04        # pixels of translation; largest deviation of noise: a generator's pictures are not clean


@dataclass
class TextStageConfig(HeldOutConfig):
    lr: float = 0.001
    beta1: float = 0.9
    lr_decay_from: float = 0.5
    batch: int = 256
    resolution: int = option(64, "of the pictures, a power of two")
    channels: tuple[int, ...] = option((32, 64, 96, 128), "widths of the image side from full size down")
    trunk: str = option("", "attribute network of the same sizes whose features it starts from")
    frozen: bool = option(False, "only the text side learns: what was measured with the image side stays valid")

    def validate(self) -> None:
        super().validate()
        if self.data_seed + self.data_count > FIRST_RESERVED_SEED:
            raise InputError(f"Seeds from {FIRST_RESERVED_SEED} up are reserved for evaluation.")
        if self.frozen and not self.init_from:
            raise InputError("frozen keeps the image side as it is: name a trained text-image network in init_from.")


@dataclass
class Pool:
    """Rendered portraits: images [N,3,R,R] uint8 on the device, values {parameter: [N]} on the CPU."""

    images: Tensor
    values: dict[str, Tensor]

    @classmethod
    def render(cls, count: int, seed: int, config: TextStageConfig) -> Pool:
        """Draw the portraits with seeds seed ... seed + count - 1 on the config's device."""
        people = portraits.sample(count, seed)
        images = torch.empty(count, 3, config.resolution, config.resolution, dtype=torch.uint8, device=config.device)
        for start in range(0, count, RENDER_CHUNK):
            part = slice(start, min(start + RENDER_CHUNK, count))
            drawn = portraits.render(Portraits({k: v[part] for k, v in people.values.items()}).to(config.device),
                                     config.resolution)
            images[part] = drawn.add(1.0).mul(127.5).round().to(torch.uint8)
        return cls(images, {name: people.values[name] for name in PARAMETERS})

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor, mirror: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Images [B,3,R,R] in [-1,1] on the device and values {parameter: [B]} on the CPU, flipped where `mirror`."""
        x = self.images[indices.to(self.images.device)].float().div_(127.5).sub_(1.0)
        x = torch.where(mirror.to(x.device)[:, None, None, None], x.flip(-1), x)
        return x, self.values_of(indices, mirror)

    def values_of(self, indices: Tensor, mirror: Tensor) -> dict[str, Tensor]:
        """{parameter: [B]} of those portraits, flipped where `mirror`."""
        values = {name: table[indices] for name, table in self.values.items()}
        return {k: torch.where(mirror, -v, v) if k in MIRRORED else v for k, v in values.items()}


class TextStage:
    config_class = TextStageConfig
    kind = "text_image"

    def __init__(self, config: TextStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.network_config = TextImageNetConfig(
            config.resolution, config.channels, " ".join(vocabulary()), DIM, HIDDEN, TEXT_WIDTH,
            TEXT_LAYERS)
        self.net = TextImageNet(self.network_config).to(config.device, memory_format=torch.channels_last)
        init_from(self.net, config.init_from, "text_image")
        if config.trunk:
            start_from_trunk(self.net, config.trunk)
        self.net.dtype = dtype_of(config)
        if config.frozen:
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad_(name.startswith(TEXT_SIDE))
        self.head = nn.Linear(DIM, len(PARAMETERS)).to(config.device)
        self.average = make_average(self.net)
        self.modules = {"net": self.net, "average": self.average, "head": self.head}
        self.optimizers = {"net": adam(nn.ModuleList([self.net, self.head]), config)}
        self._pool: Pool | None = None
        self._held_out: Pool | None = None
        self._known: Tensor | None = None
        self.noise = torch.randn(64, 3, config.resolution, config.resolution,
                                 generator=generator_at(config.seed, 0, "noise")).to(config.device)

    @property
    def pool(self) -> Pool:
        """The training portraits, rendered when they are first needed."""
        if self._pool is None:
            self._pool = Pool.render(self.config.data_count, self.config.data_seed, self.config)
            table = torch.stack([self._pool.values[name] for name in PARAMETERS], dim=1)
            self.mean, self.std = table.mean(dim=0), table.std(dim=0)
        return self._pool

    def get_ready(self) -> None:
        """Make what the first step would make."""
        _ = self.known if self.config.frozen else self.pool

    @property
    def held_out(self) -> Pool:
        if self._held_out is None:
            self._held_out = Pool.render(self.config.held_out_count, HELD_OUT_SEED, self.config)
        return self._held_out

    @property
    def known(self) -> Tensor:
        """Embeddings of the training portraits and of their mirrored pictures [2,N,dim], for a frozen image side."""
        if self._known is None:
            images = self.pool.images
            with torch.no_grad():
                self._known = torch.stack([self.embed(Pool(x, {})) for x in (images, images.flip(-1))]).clone()
        return self._known

    def augmented(self, images: Tensor, random: torch.Generator) -> Tensor:
        """The batch shifted together, and each picture with some blur and noise of its own."""
        n = len(images)
        limit, size = SHIFT, images.shape[-1]
        dx, dy = torch.randint(0, 2 * limit + 1, (2,), generator=random).tolist()
        blur, strength = torch.rand(2, n, 1, 1, 1, generator=random).to(images.device)
        which = torch.randint(len(self.noise), (n,), generator=random).to(images.device)
        x = F.pad(images, (limit,) * 4, mode="replicate")[..., dy:dy + size, dx:dx + size]
        soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return torch.lerp(x, soft, 0.7 * blur) + (NOISE * strength) * self.noise[which]

    def loss(self, seen: Tensor, said: list[Caption], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Contrastive and reading losses of pictures' embeddings [B,dim], their captions and their parameters."""
        device = seen.device
        true = matches(said, values).float().to(device)                                    # [caption, portrait]
        read = self.net.embed_words(self.net.numbers([split_words(c.text) for c in said]))
        logits = self.net.log_scale.clamp(max=4.6).exp() * read @ seen.t()
        for_captions = true / true.sum(dim=1, keepdim=True)
        for_portraits = (for_captions / for_captions.sum(dim=0, keepdim=True)).t()
        contrast = -0.5 * ((for_captions * logits.log_softmax(dim=1)).sum(dim=1).mean()
                           + (for_portraits * logits.t().log_softmax(dim=1)).sum(dim=1).mean())
        table = torch.stack([values[name] for name in PARAMETERS], dim=1)
        target = ((table - self.mean) / self.std).to(device)
        # The embedding has unit length; its entries are of the order 1 / sqrt(dim).
        reading = F.smooth_l1_loss(self.head(seen * DIM**0.5), target, beta=0.5)
        return {"contrast": contrast, "read": reading}

    def step(self, seen: int) -> dict[str, Tensor]:
        config, random = self.config, generator_at(self.config.seed, seen)
        indices = torch.randint(len(self.pool), (config.batch,), generator=random)
        mirror = torch.rand(config.batch, generator=random) < 0.5
        phrase_seed = int(torch.randint(2**31, (1,), generator=random))
        if config.frozen:
            values, embedded = self.pool.values_of(indices, mirror), self.known[mirror.long(), indices]
        else:
            images, values = self.pool.batch(indices, mirror)
            embedded = self.net.embed_images(self.augmented(images, random))
        terms = self.loss(embedded, captions_of(values, phrase_seed), values)
        norm = descend(self, "net", terms["contrast"] + (0.0 if config.frozen else READ_WEIGHT) * terms["read"])
        update_average(self.average, self.net, config.batch, config.ema_kimg, seen + config.batch)
        return {**{name: value.detach() for name, value in terms.items()}, "gradient": norm}

    @torch.inference_mode()
    def embed(self, pool: Pool) -> Tensor:
        """Embeddings [N,dim] of a pool's portraits by the averaged network."""
        parts = pool.images.split(RENDER_CHUNK)
        return torch.cat([self.average.embed_images(part.float() / 127.5 - 1.0) for part in parts])

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """On held-out renders: how often the best of 1000 portraits fits its caption and the best caption its
        portrait, and the area under the ROC curve of single phrases, averaged over each group of phrases."""
        pool, encoder = self.held_out, WordEncoder(self.average)
        seen = self.embed(pool)
        said = captions_of(pool.values, seed=1)
        scores = encoder.encode_text([caption.text for caption in said]) @ seen.t()
        true = matches(said, pool.values).to(scores.device)
        each = torch.arange(len(said), device=scores.device)
        result = {"best_portrait": float(true[each, scores.argmax(dim=1)].float().mean()),
                  "best_caption": float(true[scores.argmax(dim=0), each].float().mean())}
        areas: dict[str, list[float]] = {group: [] for group in GROUPS}
        fits = truth(pool.values, [phrase.bounds for phrase in PHRASES])
        for phrase, fit in zip(PHRASES, fits, strict=True):
            if not bool(fit.any()) or bool(fit.all()):
                continue
            text = (phrase.tags or phrase.clauses or tuple(f"{word} hair" for word in phrase.hair))[0]
            areas[phrase.group].append(area_under_curve(encoder.encode_text([text])[0] @ seen.t(), fit))
        result.update({f"auc_{group.replace(' ', '_')}": sum(a) / len(a) for group, a in areas.items() if a})
        return result

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        """A row for each of SHEET_TEXTS: the held-out portraits that fit it best."""
        pool = self.held_out
        scores = WordEncoder(self.average).encode_text(SHEET_TEXTS) @ self.embed(pool).t()
        best = scores.topk(min(8, len(pool)), dim=1).indices.flatten()
        grid(pool.images[best].float().cpu() / 127.5 - 1.0, columns=min(8, len(pool))).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        config = {"type": "TextImageNet", **asdict(self.network_config)}
        save_checkpoint(path, self.kind, config, dict(self.average.state_dict()), provenance, dtype=torch.float16)


def start_from_trunk(net: TextImageNet, path: str) -> None:
    """Copy the convolutions and the hidden layer of an attribute network, which already sees what captions name."""
    tensors = {name: tensor for name, tensor in read_checkpoint(path, kind="attributes").tensors.items()
               if not name.startswith("out.")}
    own = net.state_dict()
    wrong = [name for name, tensor in tensors.items() if name not in own or own[name].shape != tensor.shape]
    if wrong:
        raise MismatchError(f"trunk={path} has other layers than this config ({wrong[0]}); give both the same "
                            "resolution and channels.")
    net.load_state_dict({**own, **tensors})


def area_under_curve(scores: Tensor, positive: Tensor) -> float:
    """Probability that a positive scores above a negative: scores [n], positive [n] bool, both kinds present."""
    order = scores.double().cpu().argsort().argsort().double() + 1.0
    positive = positive.cpu()
    count = int(positive.sum())
    return float((order[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))
