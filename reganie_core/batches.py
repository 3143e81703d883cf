"""How many pictures go through a network at once."""

from __future__ import annotations

import torch

__all__ = ["pictures_at_once"]


def pictures_at_once(resolution: int, device: torch.device | str) -> int:
    """1 on a CPU, where the last bits of a picture would depend on its batch; else by size: 1 at 1024 px, 32 at most.
    """
    if torch.device(device).type == "cpu":
        return 1
    return max(1, min(32, 4 * 512 * 512 // (resolution * resolution)))
