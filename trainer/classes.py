"""Classes of a class-conditional generator: training pictures are drawn of all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def map_random(generator: nn.Module, z: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    """z [B,z_dim] -> w [B,w_dim] on the generator's device, each of a random class where there are any.

    ``draw`` gives [B] uniform numbers in [0,1), and is only called where there are classes: runs of other generators
    draw the same random numbers as ever.
    """
    device, count = generator.w_avg.device, generator.c_dim
    if not count:
        return generator.mapping.w(z.to(device))
    labels = F.one_hot((draw() * count).long().clamp(0, count - 1), count).to(torch.float32)
    return generator.mapping.w(z.to(device), labels.to(device))
