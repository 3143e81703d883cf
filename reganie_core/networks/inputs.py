"""What every encoder does with the picture it is given: check it, and bring it to its own input size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError

__all__ = ["fit_images"]


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
