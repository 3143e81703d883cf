"""PTI: find a pivot in W, then tune the generator around it until it paints the picture (Roich et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..latents import Latent, render
from ..networks.lpips import LPIPS
from .e4e import check_pair, encode
from .optimise import Perceptual, ProjectionSettings, learning, plain, project, pyramid_distance
from .protocol import MethodInverter

__all__ = ["FAST", "PUBLISHED", "SETTINGS", "PtiInverter", "PtiSettings", "tune"]


@dataclass(frozen=True)
class PtiSettings:
    """Published values by default.

    Attributes:
        projection: the first phase, in W; left out where an encoder gives the pivot.
        steps, lr: of Adam on all parameters of the synthesis network.
        l2_weight, perceptual_weight: of the mean squared difference and of the perceptual distance, at full size.
        stop_at: perceptual distance that is good enough, on the scale of the distance in use; None: never stop early.
            The published 0.06 is on the scale of LPIPS.
    """

    projection: ProjectionSettings = field(default_factory=ProjectionSettings)
    steps: int = 350
    lr: float = 3e-4
    l2_weight: float = 1.0
    perceptual_weight: float = 1.0
    stop_at: float | None = None

    def __post_init__(self) -> None:
        if type(self.steps) is not int or self.steps < 0 or not 0 < self.lr < 1:
            raise InputError(f"Pivotal tuning takes steps from 0 and a rate below 1; found {self.steps} and {self.lr}.")


PUBLISHED = PtiSettings(stop_at=0.06)
FAST = PtiSettings(ProjectionSettings(steps=100, lr=0.03, optimise_noise=False), steps=80, lr=1e-3)
SETTINGS = {"published": PUBLISHED, "fast": FAST}


def tune(generator: nn.Module, pivot: Tensor, image: Tensor, settings: PtiSettings = PUBLISHED,
         perceptual: Perceptual | None = None, tick: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
    """Additions to the generator's parameters, name -> ``[1,*shape]``, for one picture ``[1,3,R,R]``.

    ``pivot [1,num_ws,w_dim]`` stays; the generator itself is not touched. Without a perceptual distance
    :func:`pyramid_distance` is used and ``stop_at``, which is no bound for it, is not looked at.
    """
    stop_at = None if perceptual is None else settings.stop_at
    perceptual = perceptual or pyramid_distance
    with learning():
        image, pivot = plain(image), plain(pivot)
        own = {name: plain(p) for name, p in generator.synthesis.named_parameters()}
        tuned = {name: p.clone().requires_grad_(True) for name, p in own.items()}
        optimizer = torch.optim.Adam(tuned.values(), lr=settings.lr)
        for _ in range(settings.steps):
            picture = torch.func.functional_call(generator.synthesis, tuned, (pivot,), {"noise": "const"}).float()
            distance = perceptual(picture, image).sum()
            if stop_at is not None and float(distance.detach()) <= stop_at:
                break
            loss = settings.l2_weight * (picture - image).square().mean() + settings.perceptual_weight * distance
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            tick()
    changes = {name: (p.detach() - own[name])[None] for name, p in tuned.items()}
    return {f"synthesis.{name}": change for name, change in changes.items() if bool(change.any())}


class PtiInverter(MethodInverter):
    """``settings`` is "published", "fast" or a :class:`PtiSettings`; an encoder replaces the first phase.

    The published settings stop early only by LPIPS: their bound means nothing on the scale of another distance.
    """

    method = "pti"

    def __init__(self, encoder: nn.Module | None = None, perceptual: Perceptual | None = None,
                 settings: str | PtiSettings = "published") -> None:
        super().__init__(encoder=encoder)
        if isinstance(settings, str) and settings not in SETTINGS:
            raise InputError(f"PTI's settings are {' or '.join(SETTINGS)}; found {settings!r}.")
        if isinstance(settings, str):
            lpips = isinstance(getattr(perceptual, "__self__", perceptual), LPIPS)
            settings = SETTINGS[settings] if lpips else replace(SETTINGS[settings], stop_at=None)
        self.settings = settings
        self.perceptual = perceptual

    def steps(self) -> int:
        """Of both phases, for a chunk of one picture."""
        return self.settings.steps + (self.settings.projection.steps if self.network is None else 1)

    def check(self, generator: nn.Module) -> None:
        """See the base class."""
        if self.network is not None:
            check_pair(generator, self.network["encoder"])

    def __call__(self, generator: nn.Module, images: Tensor, **options: object) -> object:  # type: ignore[override]
        """See the base class; pictures are always taken one by one, since each has its own generator."""
        return super().__call__(generator, images, **{**options, "chunk": 1})  # type: ignore[arg-type]

    def part(self, generator: nn.Module, images: Tensor, noise: str, tick: Callable[[], None]) -> tuple[Latent, Tensor]:
        """See the base class."""
        settings, mark = self.settings, getattr(generator, "fingerprint", None)
        if self.network is not None:
            pivot = encode(generator, self.network["encoder"], images, 1).ws
            tick()
        else:
            pivot = project(generator, images, settings=settings.projection, perceptual=self.perceptual, tick=tick)
        changes = tune(generator, pivot, images, settings, self.perceptual, tick)
        latent = Latent(plain(pivot), changes=changes, generator=mark)
        with torch.no_grad():
            return latent, render(generator, latent, noise)
