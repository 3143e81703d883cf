"""What encoders have in common: their sizes, and what each does with a picture: check it, bring it to its own size."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["SizedEncoder", "fit_images"]


class SizedEncoder(nn.Module):
    """A network ``E(images [B,3,H,W] in [-1,1]) -> [B,num_ws,w_dim]`` whose config says its sizes."""

    config: Any
    latent_avg: Tensor

    @property
    def input_resolution(self) -> int:
        """Size its input is resized to (its width, where height differs)."""
        return self.config.input_resolution

    @property
    def num_ws(self) -> int:
        """Number of style vectors."""
        return self.config.num_ws

    @property
    def w_dim(self) -> int:
        """Width of a style vector."""
        return self.config.w_dim


def fit_images(images: Tensor, size: int | tuple[int, int], channels: int = 3) -> Tensor:
    """``[B,channels,H,W]`` in [-1,1] to ``[B,channels,*size]``, bilinear and antialiased (as PIL resizes).

    A picture that has the size already is returned as it is. Raises :class:`InputError` for anything but a float
    tensor of that layout.
    """
    if images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point():
        raise InputError(
            f"An encoder takes a float tensor [B,{channels},H,W] in [-1,1]; found {images.dtype} {list(images.shape)}."
        )
    size = (size, size) if isinstance(size, int) else size
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
