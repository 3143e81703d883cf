"""The portraits that the tables are computed on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reganie_core import portraits
from reganie_core.errors import InputError, NotFoundError
from reganie_core.pipeline import prepare

from ..portraits.renderer import FIRST_RESERVED_SEED

IN_DOMAIN = "in-domain"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FIRST_VALIDATION_SEED = 500_000_000  # for looking while developing; tables use reserved seeds


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


class Photos:
    """Pictures of a folder, in the place of rendered people; there is one group of them."""

    def __init__(self, folder: str | Path, count: int = 0) -> None:
        files = sorted(f for f in Path(folder).iterdir() if f.suffix.lower() in SUFFIXES) if Path(folder).is_dir() \
            else []
        if not files:
            raise NotFoundError(f"There are no pictures in {folder}; give a folder with {', '.join(SUFFIXES)} files.")
        self.files = files[:count] if count else files
        self.groups = ["photos"] * len(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, group: str) -> Tensor:
        """Everybody for "all"; no other group has anybody."""
        return torch.arange(len(self.files) if group == "all" else 0)

    def read(self, rows: slice | Sequence[int], size: int) -> Tensor:
        """Some of the pictures, [B,3,size,size] in [-1,1]; what is not square is cropped to its centre."""
        chosen = self.files[rows] if isinstance(rows, slice) else [self.files[i] for i in rows]
        return prepare(chosen, size, "crop")


def check_seed(seed: int, count: int, validation: bool = False) -> None:
    """Raise InputError unless the seeds are those of tables (from 10^9 up), or of validation (5e8 up to there)."""
    if validation and not (FIRST_VALIDATION_SEED <= seed and seed + count <= FIRST_RESERVED_SEED):
        raise InputError(f"Validation uses seeds from {FIRST_VALIDATION_SEED} to {FIRST_RESERVED_SEED - 1}; found "
                         f"{seed} to {seed + count - 1}.")
    if not validation and seed < FIRST_RESERVED_SEED:
        raise InputError(f"Tables use seeds from {FIRST_RESERVED_SEED} up, which no training ever sees; found {seed}. "
                         "While developing, use --validation.")


def held_out_people(count: int, seed: int = FIRST_RESERVED_SEED, validation: bool = False,
                    style: str = "default") -> People:
    """`count` portraits with seeds seed ... seed+count-1: the first half in-domain, the rest split over the items."""
    check_seed(seed, count, validation)
    half = count // 2
    parts, groups, start = [portraits.sample(half, seed, style=style)], [IN_DOMAIN] * half, half
    for i, item in enumerate(portraits.ITEMS):
        stop = half + (count - half) * (i + 1) // len(portraits.ITEMS)
        if stop > start:
            parts.append(portraits.sample(stop - start, seed + start, items=(item,), style=style))
            groups += [item] * (stop - start)
        start = stop
    return People(portraits.concat(parts), groups)


def private_generator(seed: int, *where: object) -> torch.Generator:
    """A generator that depends on a seed and on what it is for."""
    word = zlib.crc32("/".join(map(str, where)).encode())
    return torch.Generator().manual_seed(seed * 2**32 % 2**62 + word)
