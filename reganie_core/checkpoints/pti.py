"""PTI's tuned generators: one whole NVIDIA module given to ``torch.save``."""

from __future__ import annotations

from typing import Any

from . import nvidia
from .parts import Part
from .records import Record

NAME = "pti"


def find(root: Any) -> list[Part]:
    """The networks of the pickled module, or nothing."""
    return nvidia.find(root, NAME) if isinstance(root, Record) else []
