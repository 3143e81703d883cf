"""Frozen networks that a stage only uses: perceptual features, attribute and identity networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reganie_core.checkpoints import fingerprint, read_checkpoint
from reganie_core.errors import InputError
from reganie_core.networks import build
from reganie_core.networks.attribute_net import AttributeNet, feature_distance


class Features:
    """An attribute network, for what it reads and as a perceptual loss."""

    def __init__(self, net: AttributeNet, name: str) -> None:
        self.net, self.fingerprint = net, name

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance [B] of pictures in [-1,1]; see `feature_distance`."""
        return feature_distance(self.net, a, b)

    def difference(self, a: Tensor, b: Tensor) -> Tensor:
        """How differently pictures a and b are read [B]: mean L1 of standardised values; of binary attributes, of
        probabilities. Gradients reach a."""
        with torch.no_grad():
            wanted = self.net.logits(b)
        found, count = self.net.logits(a), len(self.net.config.numeric)
        found, wanted = (torch.cat([x[:, :count], torch.sigmoid(x[:, count:])], dim=1) for x in (found, wanted))
        return (found - wanted).abs().mean(dim=1)

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """Attributes {name: [B]} in their units."""
        return self.net(images)


def _load(path: str, kind: str, device: str, dtype: torch.dtype) -> tuple[torch.nn.Module, str]:
    checkpoint = read_checkpoint(path, kind=kind)
    net = build(kind, checkpoint.config)
    net.load_state_dict(checkpoint.tensors)
    net.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    net.dtype = dtype
    return net, fingerprint(checkpoint.tensors)


def load_attributes(path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Features:
    """An attribute network from its file, frozen."""
    return Features(*_load(path, "attributes", device, dtype))


def load_more_attributes(first: Features, paths: Sequence[str], device: str = "cpu",
                         dtype: torch.dtype = torch.float32) -> list[torch.nn.Module]:
    """Further attribute networks from their files, frozen, which must read what `first` does: several are harder to
    deceive than one."""
    found, ours = [], (*first.net.config.numeric, *first.net.config.binary)
    for path in paths:
        loaded = load_attributes(path, device, dtype)
        net = loaded.net
        net.fingerprint = loaded.fingerprint
        reads = (*net.config.numeric, *net.config.binary)
        if reads != ours:
            raise InputError(f"more_attributes: {path} reads {', '.join(reads)}; it must read what the first network "
                             f"does, in its order: {', '.join(ours)}.")
        found.append(net)
    return found


def load_ensemble(first: Features, config: Any) -> list[Features]:
    """The perceptual loss's network and a stage's `more_attributes`, all of which `attribute_weight` compares."""
    more = load_more_attributes(first, config.more_attributes, config.device, getattr(torch, config.dtype))
    return [first, *(Features(net, net.fingerprint) for net in more)]


def mean_difference(ensemble: Sequence[Features], a: Tensor, b: Tensor) -> Tensor:
    """`Features.difference` of pictures a and b, mean over the batch and over networks."""
    return torch.stack([network.difference(a, b).mean() for network in ensemble]).mean()


def load_identity(path: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """An identity network from its file, frozen: pictures [B,3,R,R] -> unit vectors [B,dim]."""
    net, mark = _load(path, "identity", device, dtype)
    net.fingerprint = mark
    return net
