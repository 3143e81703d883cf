"""The portraits that the tables are computed on, and the judge that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.errors import InputError

from ..data import FIRST_RESERVED_SEED
from ..frozen import Features, load_attributes

IN_DOMAIN = "in-domain"


@dataclass
class People:
    """Portraits in groups: `IN_DOMAIN` and one per long-tail item."""

    parameters: portraits.Portraits
    groups: list[str]

    def __len__(self) -> int:
        return len(self.groups)

    def rows(self, group: str) -> Tensor:
        """Indices of a group; "long-tail" stands for every item, "all" for everybody."""
        if group == "all":
            return torch.arange(len(self.groups))
        wanted = [g != IN_DOMAIN if group == "long-tail" else g == group for g in self.groups]
        return torch.tensor(wanted).nonzero()[:, 0]


def held_out_people(count: int, seed: int = FIRST_RESERVED_SEED) -> People:
    """`count` portraits with seeds seed ... seed+count-1: the first half in-domain, the rest split over the items."""
    if seed < FIRST_RESERVED_SEED:
        raise InputError(f"Tables use seeds from {FIRST_RESERVED_SEED} up, which no training ever sees; found {seed}.")
    half = count // 2
    parts, groups, start = [portraits.sample(half, seed)], [IN_DOMAIN] * half, half
    for i, item in enumerate(portraits.ITEMS):
        stop = half + (count - half) * (i + 1) // len(portraits.ITEMS)
        if stop > start:
            parts.append(portraits.sample(stop - start, seed + start, items=(item,)))
            groups += [item] * (stop - start)
        start = stop
    return People(portraits.concat(parts), groups)


def judge(path: str = "") -> Features:
    """The attribute network that only tables use: another seed, other data and widths than any network in a loss."""
    packaged = Path(portraits.__file__).parent / "weights" / "judge.safetensors"
    return load_attributes(path or str(packaged))


def read(net: Features, images: Tensor, chunk: int = 100) -> dict[str, Tensor]:
    """Attributes of pictures [N,3,R,R]."""
    parts = [net.read(x) for x in images.split(chunk)]
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
