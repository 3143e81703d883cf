"""Fisher's linear discriminant as the last layer of an identity embedder.

ArcFace moves pictures towards the centres of people it knows; what tells people apart who are not among them is
measured afterwards: the directions of the last feature map in which different people differ most, compared with
pictures of one person (Fisher 1936; "LDA" of speaker and face verification). Directions in which a person's own
pictures scatter no longer count.
"""

from __future__ import annotations

import dataclasses

import torch
from einops import rearrange
from torch import Tensor

from reganie_core.errors import InputError
from reganie_core.networks.identity_net import IdentityNet

__all__ = ["discriminant", "with_discriminant"]


def discriminant(features: Tensor, views: int, dim: int, ridge: float = 0.003) -> tuple[Tensor, Tensor]:
    """Weight [dim,F] and bias [dim] of the discriminant; within a person its outputs have unit variance.

    Args:
        features: [people * views, F], person by person.
        views: pictures of each person, at least 2.
        dim: directions to keep, at most people - 1.
        ridge: added to the variances within a person, as a share of their mean; features that never vary would
            otherwise be divided by nothing.
    """
    people = len(features) // views
    if views < 2 or not 1 <= dim < min(people, features.shape[1] + 1):
        raise InputError(f"The discriminant needs at least two pictures of each person, and at most as many directions "
                         f"as there are features and people less one; found {views} pictures of {people} people, "
                         f"{features.shape[1]} features and {dim} directions.")
    features = features.double()
    mean = features.mean(dim=0)
    persons = rearrange(features - mean, "(person view) f -> person view f", view=views)
    centre = persons.mean(dim=1)
    scatter = rearrange(persons - centre[:, None], "person view f -> (person view) f")
    within = scatter.T @ scatter / (people * (views - 1))
    between = centre.T @ centre / people - within / views     # the centre of a few pictures scatters too
    within.diagonal().add_(ridge * within.diagonal().mean())
    values, vectors = torch.linalg.eigh(within)
    whiten = vectors * values.rsqrt()
    directions = whiten @ torch.linalg.eigh(whiten.T @ between @ whiten)[1].flip(1)[:, :dim]
    return directions.T.float(), -(mean @ directions).float()


@torch.no_grad()
def with_discriminant(net: IdentityNet, pictures: object, views: int, dim: int, batch: int = 200) -> IdentityNet:
    """The same trunk with a new last layer for `dim` numbers; `pictures.batch(indices)` gives those of the training
    set, person by person. The network itself stays as it is."""
    device = net.out.weight.device
    parts = torch.arange(len(pictures)).split(batch)
    features = torch.cat([net.features(pictures.batch(part).to(device))[-1].float().flatten(1).cpu()
                          for part in parts])
    weight, bias = discriminant(features, views, dim)
    made = IdentityNet(dataclasses.replace(net.config, dim=dim))
    made.load_state_dict({**net.state_dict(), "out.weight": weight / made.out.weight_gain, "out.bias": bias})
    return made.to(device).requires_grad_(False)
