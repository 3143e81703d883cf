"""What one or several attribute networks read in pictures, and losses on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reganie_core.errors import InputError
from reganie_core.networks.attribute_net import AttributeNet

from .frozen import Features, load_more_attributes

__all__ = ["AttributeEnsemble", "Reading", "layer_distance", "read", "read_one"]


@dataclass
class Reading:
    """What one pass of an attribute network gives: logits [B,A], embedding [B,H], feature maps (finest first)."""

    logits: Tensor
    embedding: Tensor
    layers: list[Tensor]


def read_one(net: AttributeNet, images: Tensor) -> Reading:
    """All three from one pass; pictures [B,3,R,R] in [-1,1]."""
    layers = net.features(images)
    embedding = net.fc(layers[-1].float().flatten(1))
    return Reading(net.out(embedding), embedding, layers)


def read(nets: Sequence[AttributeNet], images: Tensor) -> Reading:
    """The first network's reading with the mean of all logits, in the first one's standardisation."""
    first, *others = nets
    reading = read_one(first, images)
    if not others:
        return reading
    logits = [reading.logits]
    ours = standards(first).to(images.device)
    for net in others:
        mean, std = standards(net).to(images.device)
        logits.append((net.logits(images) * std + mean - ours[0]) / ours[1])
    return Reading(torch.stack(logits).mean(dim=0), reading.embedding, reading.layers)


def standards(net: AttributeNet) -> Tensor:
    """[2,A]: mean and standard deviation of every logit, 0 and 1 for binary ones."""
    reads = net.config
    fill = len(reads.binary)
    return torch.tensor([[*reads.mean, *[0.0] * fill], [*reads.std, *[1.0] * fill]])


def layer_distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Perceptual distance [B] of two lists of feature maps; see `attribute_net.feature_distance`."""
    total = torch.zeros(a[0].shape[0], device=a[0].device)
    for x, y in zip(a, b, strict=True):
        x, y = (F.normalize(t.float(), dim=1, eps=1e-6) for t in (x, y))
        total = total + (x - y).square().sum(dim=1).mean(dim=(1, 2))
    return total / len(a)


class AttributeEnsemble:
    """The perceptual loss's attribute network and further ones; all of them count alike. gains: attribute -> how much
    of a change has to be read in an edit, 1 where not named."""

    def __init__(self, first: Features, more: Sequence[str], device: str, dtype: torch.dtype,
                 gains: Mapping[str, float] | None = None) -> None:
        self.first: AttributeNet = first.net
        self.others = load_more_attributes(first, more, device, dtype)
        gains, config = gains or {}, self.first.config
        if unknown := sorted(gains.keys() - set(config.numeric)):
            raise InputError(f"edit_gains: the attribute network reads no number {', '.join(unknown)}; it reads "
                             f"{', '.join(config.numeric)}. Name some of these, or leave edit_gains empty.")
        self.gains = torch.tensor([gains.get(name, 1.0) for name in (*config.numeric, *config.binary)], device=device)

    def read(self, images: Tensor) -> list[Tensor]:
        """Pictures [B,3,R,R] in [-1,1] -> logits [B,A], one per network."""
        return [net.logits(images) for net in (self.first, *self.others)]

    def compared(self, picture: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(perceptual distance [B] to the first network's features, error of what is read) from one pass of each."""
        with torch.no_grad():
            aim = read_one(self.first, target)
            wanted = [aim.logits, *(net.logits(target) for net in self.others)]
        shown = read_one(self.first, picture)
        found = [shown.logits, *(net.logits(picture) for net in self.others)]
        return layer_distance(shown.layers, aim.layers), reading_error(found, wanted)

    def edit_error(self, picture: Tensor, x: Tensor, x_hat: Tensor, y_hat: Tensor) -> Tensor:
        """How far what is read in an edit of X is from what is read in X, changed by as much as from X^ to Y^ (times
        `gains`)."""
        with torch.no_grad():
            before = self.read(torch.cat([x, x_hat, y_hat]))
            wanted = [self.changed(*logits.chunk(3)) for logits in before]
        return reading_error(self.read(picture), wanted)

    def changed(self, x: Tensor, x_hat: Tensor, y_hat: Tensor) -> Tensor:
        """Logits [B,A] of X plus the change times `gains`; those of yes or no are saturated and do not add up: Y^'s."""
        numeric = torch.arange(x.shape[1], device=x.device) < len(self.first.config.numeric)
        return torch.where(numeric, x + self.gains * (y_hat - x_hat), y_hat)


def reading_error(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean over networks of how far logits [B,A] are from those that are wanted."""
    return torch.stack([F.smooth_l1_loss(a, b, beta=0.1) for a, b in zip(found, wanted, strict=True)]).mean()
