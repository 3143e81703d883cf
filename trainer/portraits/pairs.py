"""Pictures with known codes: a rendered portrait and the z that stands for it.

What is drawn for a portrait has independent normal scores (`portraits.scores`), and a generator's z is a vector of
independent normal numbers. So the first entries of z can be the portrait: a generator trained on such pairs learns the
renderer by regression. The other entries are random and say nothing. What the mapping network sees of such a z is
distributed nearly as of any other (scores are not shrunk by z's norm), so that sampling, inversion and editing are
those of any generator.

Neither StyleGAN2 nor ReGANIE do this; it is possible only because the domain's pictures are rendered.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reganie_core import portraits
from reganie_core.errors import InputError, ReganieWarning
from reganie_core.portraits.parameters import BEARDED, BINARY, DRAWN, MIRRORED, NORMAL, UNIFORM, beard_of

from ..loop.randomness import generator_at

__all__ = ["PortraitCodes", "pretrain_mapping", "score_of", "warn_without_pairs", "with_values"]


class PortraitCodes:
    """z of the portraits with seeds seed ... seed + count - 1.

    The mapping network divides z by its root mean square. The random entries are scaled so that this is 1 and what the
    network sees is the scores themselves.
    """

    def __init__(self, count: int, seed: int, z_dim: int) -> None:
        if z_dim < 2 * len(DRAWN):
            raise InputError(f"A portrait is {len(DRAWN)} numbers; pairs need z_dim of at least {2 * len(DRAWN)}, "
                             f"found {z_dim}. Raise w_dim, which z_dim follows.")
        self.z_dim = z_dim
        self.scores = portraits.scores(count, seed).float()
        self.sign = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in DRAWN])

    def batch(self, indices: Tensor, mirror: Tensor | None, free: Tensor) -> Tensor:
        """z [B,z_dim] of these portraits, flipped where `mirror` is true; `free` [B,z_dim] fills the rest."""
        return self.filled(self.of(indices, mirror), free)

    def of(self, indices: Tensor, mirror: Tensor | None) -> Tensor:
        """Scores [B,len(DRAWN)] of these portraits, flipped where `mirror` is true."""
        scores = self.scores[indices]
        return scores if mirror is None else torch.where(mirror[:, None], scores * self.sign, scores)

    def filled(self, scores: Tensor, free: Tensor) -> Tensor:
        """z [B,z_dim] that begins with these scores, the rest from `free` [B,z_dim]."""
        free = free[:, scores.shape[1]:]
        room = (self.z_dim - scores.square().sum(dim=1)).clamp_min(1.0)
        return torch.cat([scores, free * (room / free.square().sum(dim=1)).sqrt()[:, None]], dim=1)

    @staticmethod
    @torch.no_grad()
    def ignore_free_entries(mapping: nn.Module) -> None:
        """Let the first layer start with no weight on the random entries. They outnumber the scores, and what a score
        says about a small thing (a collar, the eyes' colour) would have to be found under their noise."""
        mapping.fc0.weight[:, len(DRAWN):] = 0.0


def warn_without_pairs(generator: nn.Module, option: str) -> None:
    """Warn when a generator's file does not say that it learned portraits' codes, which `option` relies on."""
    record = getattr(generator, "provenance", {})
    config = record.get("config", {}) if isinstance(record, Mapping) else {}
    if not isinstance(config, Mapping) or not config.get("pairs"):
        warnings.warn(f"{option} takes the first entries of z for a portrait's scores, and the generator's file does "
                      f"not say that it was trained so. Train it with pairs=1, or set {option}=0.", ReganieWarning,
                      stacklevel=3)


def score_of(name: str, values: Tensor) -> Tensor:
    """Scores of values of a control, in its unit: the inverse of what `portraits.sample` draws; binary values and
    "no beard" get the median score of their side. Values at the ends of a range have scores within 2.6."""
    if name in NORMAL:
        return values / NORMAL[name][0]
    if name in BINARY:
        share = BINARY[name]
        quantile = torch.where(values > 0.5, share / 2, (1 + share) / 2)
    elif name in UNIFORM:
        low, high = UNIFORM[name]
        quantile = (values - low) / (high - low)
    elif name == "eye_openness":
        quantile = (values.clamp_min(0.0) / 1.1) ** (1 / 0.6)
    elif name == "beard":
        quantile = (values - 0.25) / 0.75
    else:
        raise InputError(f"{name} is not a control of the portraits domain.")
    return torch.special.ndtri(quantile.double().clamp(0.005, 0.995)).to(values.dtype)


def with_values(scores: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Scores [B,len(DRAWN)] of the same portraits with these controls [B] set, in their units."""
    scores = scores.clone()
    for name, value in values.items():
        scores[:, DRAWN.index(name)] = score_of(name, value)
        if name == "beard":
            quantile = torch.where(value > 0.125, torch.tensor(BEARDED / 2), torch.tensor((1 + BEARDED) / 2))
            scores[:, DRAWN.index("bearded")] = torch.special.ndtri(quantile.to(scores.dtype))
    return scores


def contents(scores: Tensor) -> Tensor:
    """What these scores [B,len(DRAWN)] say, in terms that a picture depends on smoothly: hues as points on a circle,
    yes or no as 1 or -1, how much of a beard there is, everything else as it is. [B,T], about standard normal."""
    quantile = torch.special.ndtr(scores)
    column = {name: quantile[:, i] for i, name in enumerate(DRAWN)}
    beard = beard_of(column["bearded"], column["beard"], 2 * column["age"] - 1)
    columns = [(beard - 0.184) / 0.308]                      # its mean and deviation
    for name, score in zip(DRAWN, scores.unbind(dim=1), strict=True):
        quantile = torch.special.ndtr(score)
        if name.endswith("_hue"):
            columns += [(2 * torch.pi * quantile).sin() * 2**0.5, (2 * torch.pi * quantile).cos() * 2**0.5]
        elif name in BINARY or name == "bearded":
            share = BINARY.get(name, BEARDED)
            columns.append(((quantile < share).float() - share) / (share * (1 - share)) ** 0.5)
        else:
            columns.append(score)
    return torch.stack(columns, dim=1)


def pretrain_mapping(mapping: nn.Module, steps: int, seed: int = 0, keep: float = 0.0, batch: int = 512) -> float:
    """Let a mapping network say linearly, in w, what a portrait is made of; returns the share that w does not say.

    By pictures alone it learns this last where it matters least: the hue of a collar is a circle in the picture and a
    line in z, and as long as w does not tell hues apart the best collar is grey. A linear reader with small weights is
    trained along, so that every content has a size in w that the synthesis network notices.

    Args:
        keep: weight of staying where the network was, in units of w's variance, for one that has learned already.
    """
    device = mapping.w_avg.device
    before = copy.deepcopy(mapping).requires_grad_(False)
    random = generator_at(seed, 0, "teach")
    width = contents(torch.zeros(1, len(DRAWN))).shape[1]
    reader = nn.Linear(mapping.w_avg.shape[0], width).to(device)
    nn.init.zeros_(reader.weight), nn.init.zeros_(reader.bias)
    z_dim = mapping.fc0.weight.shape[1]
    codes = PortraitCodes(0, 0, z_dim)
    optimizer = torch.optim.Adam([*mapping.parameters(), *reader.parameters()], lr=3e-3)
    error = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        codes.scores = torch.randn(batch, len(DRAWN), generator=random)
        z = codes.batch(torch.arange(batch), None, torch.randn(batch, z_dim, generator=random)).to(device)
        w = mapping.w(z)
        error = (reader(w) - contents(codes.scores).to(device)).square().mean()
        loss = error + 0.02 * reader.weight.square().sum(dim=1).mean()
        if keep > 0:
            with torch.no_grad():
                old = before.w(z)
            loss = loss + keep * (w - old).square().mean() / old.var(dim=0).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return float(error.detach())
