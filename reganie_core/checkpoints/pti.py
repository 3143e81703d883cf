"""PTI's tuned generators: one whole NVIDIA module given to ``torch.save``."""

from __future__ import annotations

from typing import Any

from . import nvidia
from .parts import Part
from .records import Record

NAME = "pti"


def find(root: Any) -> list[Part]:
    """The pickled module itself, or nothing."""
    if not isinstance(root, Record):
        return []
    tensors, modules = nvidia.open_network(root)
    nvidia.refuse_alias_free(tensors, modules)
    if nvidia.is_generator(tensors):
        return [nvidia.generator(tensors, modules, NAME)]
    if nvidia.is_discriminator(tensors):
        return [nvidia.discriminator(tensors, modules, NAME)]
    return []
