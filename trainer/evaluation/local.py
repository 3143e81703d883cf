"""The field's own measuring networks, for domains of real faces, from a folder of files that the user has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from reganie_core import metrics
from reganie_core.errors import NotFoundError
from reganie_core.metrics.files import FILES

LPIPS_VGG, LPIPS_ALEX = "LPIPS (VGG16)", "LPIPS (AlexNet)"
ARCFACE, CURRICULARFACE = "ID (ArcFace)", "ID (CurricularFace)"
SMALLEST_FACE = 256  # below, the recognisers' crop would have to be enlarged


@dataclass(frozen=True)
class Local:
    """distances: LPIPS; recognisers: identity; readers: attribute -> network that gives it in its unit."""

    distances: Mapping[str, nn.Module] = field(default_factory=dict)
    recognisers: Mapping[str, nn.Module] = field(default_factory=dict)
    readers: Mapping[str, nn.Module] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.distances or self.recognisers or self.readers)

    def compare(self, images: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """{metric: [B]} of pictures [B,3,R,R] in [-1,1]; identity only from 256 px up."""
        out = {label: net(images, truth) for label, net in self.distances.items()}
        if images.shape[-1] >= SMALLEST_FACE:
            out |= {label: net.similarity(images, truth) for label, net in self.recognisers.items()}
        return out

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """{attribute: [B]}: yaw and pitch in degrees, age in years."""
        out: dict[str, Tensor] = {}
        for name, net in self.readers.items():
            found = net(images)
            out |= {k: found[k] for k in ("yaw", "pitch")} if isinstance(found, Mapping) else {name: found}
        return out

    def names(self) -> list[str]:
        """What there is, for notes."""
        return [*self.distances, *self.recognisers, *(f"{type(n).__name__} ({a})" for a, n in self.readers.items())]


def load_local(folder: str | Path, device: torch.device | str = "cpu") -> Local:
    """Every network whose files are in the folder.

    Raises NotFoundError that lists all files and where they come from when there is none. Nothing is downloaded.
    """
    place = Path(folder)
    have = {what for what, files in FILES.items() if all((place / name).is_file() for name, _ in files)}
    if not have:
        listed = "; ".join(f"{what}: {' and '.join(f'{n} ({o})' for n, o in files)}" for what, files in FILES.items())
        raise NotFoundError(f"{place} holds none of the measuring networks. Put there what you want to measure with: "
                            f"{listed}. Nothing is downloaded.")
    distances = {label: metrics.load_lpips(place, net, device=device)
                 for label, net in ((LPIPS_VGG, "vgg"), (LPIPS_ALEX, "alex")) if f"lpips_{net}" in have}
    recognisers = {label: load(place, device) for label, what, load in (
        (ARCFACE, "arcface", metrics.load_arcface), (CURRICULARFACE, "curricularface", metrics.load_curricularface))
        if what in have}
    readers = {name: load(place, device) for name, what, load in (
        ("yaw", "hopenet", metrics.load_hopenet), ("age", "dex", metrics.load_dex)) if what in have}
    return Local(distances, recognisers, readers)
