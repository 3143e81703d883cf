"""A set of labelled pictures of one size, as uint8 on disk or on the training device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["ImageSet"]


@dataclass
class ImageSet:
    """images [N,3,R,R] uint8 (a memory map, or a tensor on an accelerator), labels {name: [N]} in their units.

    mirrored: labels that change sign when a picture is mirrored; every other label stays.
    """

    images: np.ndarray | Tensor
    labels: dict[str, Tensor]
    resolution: int
    mirrored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: str | torch.device) -> ImageSet:
        """The set for training on `device`: an accelerator holds all pictures itself, a CPU reads the memory map."""
        if torch.device(device).type == "cpu":
            return self
        images = torch.from_numpy(np.ascontiguousarray(self.images)).to(device)
        return ImageSet(images, {k: v.to(device) for k, v in self.labels.items()}, self.resolution, self.mirrored)

    def batch(self, indices: Tensor, mirror: Tensor | None = None) -> Tensor:
        """Images [B,3,R,R] in [-1,1]; rows where `mirror` is true are flipped left-right."""
        if isinstance(self.images, Tensor):
            x = self.images[indices.to(self.images.device)]
        else:
            x = torch.from_numpy(self.images[indices.numpy()])
        x = x.float().div_(127.5).sub_(1.0)
        if mirror is not None:
            x = torch.where(mirror.to(x.device)[:, None, None, None], x.flip(-1), x)
        return x

    def label_batch(self, indices: Tensor, mirror: Tensor | None = None) -> dict[str, Tensor]:
        """Labels of those images; signs of mirrored attributes follow the flip."""
        out = {}
        for name, values in self.labels.items():
            v = values[indices.to(values.device)]
            if mirror is not None and name in self.mirrored:
                v = torch.where(mirror.to(v.device), -v, v)
            out[name] = v
        return out
