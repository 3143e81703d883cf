"""What every inversion gives back: a latent, its picture, and the picture that was inverted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from ..latents import Latent

__all__ = ["Inversion", "Inverter"]


@dataclass(frozen=True)
class Inversion:
    """The result of an inversion.

    Attributes:
        latent: the codes found, with the generator's fingerprint.
        inversion: X^ = G(latent), ``[B,3,R,R]`` clamped to [-1,1].
        image: X, the prepared square picture that was inverted, ``[B,3,R,R]``. dX belongs to this one.
    """

    latent: Latent
    inversion: Tensor
    image: Tensor


@runtime_checkable
class Inverter(Protocol):
    """Image -> latent, for one generator."""

    def __call__(self, generator: nn.Module, images: Tensor) -> Inversion:
        """``images [B,3,R,R]`` in [-1,1] -> :class:`Inversion`."""
        ...
