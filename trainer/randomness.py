"""Randomness as a function of (seed, position), so that a restart continues the same sequence."""

from __future__ import annotations

import hashlib

import torch


def generator_at(seed: int, position: int, purpose: str = "") -> torch.Generator:
    """A private CPU generator for the batch that starts at image number `position`."""
    digest = hashlib.blake2b(f"{seed}/{position}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
