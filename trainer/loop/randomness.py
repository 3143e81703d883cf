"""Randomness as a function of (seed, position), so that a restart continues the same sequence."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator_at(seed: int, position: int, purpose: str = "") -> torch.Generator:
    """A private CPU generator for the batch that starts at image number `position`."""
    digest = hashlib.blake2b(f"{seed}/{position}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def numbers(source: object, seen: int, batch: int, random: torch.Generator) -> Tensor:
    """Which pictures the batch at image number `seen` takes: random ones, or the next ones of a shuffled stream."""
    if getattr(source, "sequential", False):
        return seen + torch.arange(batch)
    return torch.randint(len(source), (batch,), generator=random)  # type: ignore[arg-type]


class Draws:
    """The random numbers of a whole batch, of which a share keeps those of its own rows.

    Every process and micro-batch draws the same numbers in the same order, so that how a batch is dealt out changes
    nothing. Draws that concern the whole batch (which triplet, which editor) go through `random`.
    """

    def __init__(self, random: torch.Generator, batch: int, rows: Tensor | None = None) -> None:
        self.random, self.batch = random, batch
        self.rows = torch.arange(batch) if rows is None else rows

    @classmethod
    def of(cls, random: torch.Generator | Draws, batch: int) -> Draws:
        """`random` itself, or all rows of a batch drawn from it."""
        return random if isinstance(random, Draws) else cls(random, batch)

    def __len__(self) -> int:
        return len(self.rows)

    def randn(self, *shape: int) -> Tensor:
        """Own rows [n, *shape] of standard normal numbers."""
        return torch.randn(self.batch, *shape, generator=self.random)[self.rows]

    def rand(self, *shape: int) -> Tensor:
        """Own rows [n, *shape] of uniform numbers in [0,1)."""
        return torch.rand(self.batch, *shape, generator=self.random)[self.rows]

    def randint(self, low: int, high: int, *shape: int) -> Tensor:
        """Own rows [n, *shape] of integers from `low` to `high` - 1."""
        return torch.randint(low, high, (self.batch, *shape), generator=self.random)[self.rows]

    def numbers(self, source: object, seen: int) -> Tensor:
        """Which pictures of `source` the own rows show, see `numbers`."""
        return numbers(source, seen, self.batch, self.random)[self.rows]
