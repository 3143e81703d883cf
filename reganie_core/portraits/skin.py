"""The samples of a face that its features and its paint colour."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .geometry import Window
from .look import Look


@dataclass
class Skin:
    """Face samples: head coordinates u (right), v (up), w (front), `au` = |u|; `front` is 1 on the front of the head.

    `painted` is the coverage of face paint so far, None where nobody wears any.
    """

    window: Window
    look: Look
    u: Tensor
    v: Tensor
    w: Tensor
    au: Tensor
    front: Tensor
    painted: Tensor | None = None
