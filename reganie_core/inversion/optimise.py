"""W and W+ by optimisation: codes that make the generator paint the picture (Karras et al. 2020, appendix D).

Pictures of a batch are optimised side by side and do not influence each other: the loss is a sum, Adam works element by
element, and every picture meets the same random numbers, wherever in a batch it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..images import area_downsample
from ..latents import Latent
from .e4e import check_pair, encode
from .protocol import MethodInverter

__all__ = ["OptimisationInverter", "Perceptual", "ProjectionSettings", "project", "pyramid_distance"]

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""``perceptual(a, b) -> [B]``: distance of pictures ``[B,3,H,W]`` in [-1,1]; LPIPS or another one, differentiable."""
LOOK_AT = 256  # pixels that the perceptual distance sees while codes are sought
RAMP_UP, RAMP_DOWN, NOISE_RAMP, NOISE_START = 0.05, 0.25, 0.75, 0.05
W_SAMPLES, W_SEED = 600, 123


@dataclass(frozen=True)
class ProjectionSettings:
    """Published values of PTI's first phase by default: 450 steps up to a rate of 0.01, perceptual distance only.

    Attributes:
        steps, lr: number of Adam steps, and the rate between its ramps.
        l2_weight: of the mean squared difference beside the perceptual distance.
        optimise_noise: also seek noise maps, kept free of structure; they are dropped afterwards.
        noise_weight: of that regularisation.
        seed: of the exploring noise on w and of the first noise maps.
    """

    steps: int = 450
    lr: float = 0.01
    l2_weight: float = 0.0
    optimise_noise: bool = True
    noise_weight: float = 1e5
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.steps) is not int or self.steps < 0 or not 0 < self.lr < 10 or self.l2_weight < 0:
            raise InputError(f"Optimisation takes steps from 0 and positive rates; found {self}.")


def pyramid_distance(a: Tensor, b: Tensor) -> Tensor:
    """[B]: mean absolute difference at full, half, quarter and eighth size, for want of a perceptual network."""
    total = torch.zeros(a.shape[0], device=a.device)
    for _ in range(4):
        total = total + (a - b).abs().mean((1, 2, 3))
        if min(a.shape[-2:]) < 8:
            break
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return total / 4


@contextmanager
def learning() -> Iterator[None]:
    """Gradients are wanted, whatever the caller has switched off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def plain(tensor: Tensor) -> Tensor:
    """A copy that autograd may use: what was made in inference mode may not."""
    return tensor.detach().clone()


def w_spread(generator: nn.Module) -> float:
    """Standard deviation of w: the root of the mean squared distance to the mean of 600 latents (RandomState(123))."""
    z = torch.from_numpy(np.random.RandomState(W_SEED).randn(W_SAMPLES, generator.z_dim)).float()
    with torch.no_grad():
        w = generator.mapping(z.to(generator.w_avg.device))[:, 0]
    return float((w - w.mean(0)).square().sum(1).mean().sqrt())


def ramp(t: float) -> float:
    """Factor of the learning rate at the share ``t`` of the run: up over 5 %, cosine down over the last 25 %."""
    down = 0.5 - 0.5 * math.cos(min(1.0, (1.0 - t) / RAMP_DOWN) * math.pi)
    return down * min(1.0, t / RAMP_UP)


def project(generator: nn.Module, images: Tensor, *, space: str = "w", settings: ProjectionSettings | None = None,
            start: Tensor | None = None, perceptual: Perceptual | None = None,
            tick: Callable[[], None] = lambda: None) -> Tensor:
    """Codes ``[B,num_ws,w_dim]`` for ``images [B,3,R,R]`` in [-1,1]; the generator is not changed.

    Args:
        space: "w" (one row, repeated) or "w+" (a row per layer).
        start: codes to start from; the mean latent otherwise.
        perceptual: distance to minimise, seen at 256 px at most; None: :func:`pyramid_distance`.
        tick: called after every step.

    Raises:
        InputError: an unknown space.
    """
    if space not in ("w", "w+"):
        raise InputError(f"Codes are sought in w or w+; found {space!r}.")
    settings, perceptual = settings or ProjectionSettings(), perceptual or pyramid_distance
    num_ws, random = generator.num_ws, torch.Generator().manual_seed(settings.seed)
    with learning():
        images, rows = plain(images), 1 if space == "w" else num_ws
        first = generator.w_avg.expand(images.shape[0], rows, -1) if start is None else start
        if first.shape[1] != rows:
            first = first.mean(1, keepdim=True)
        code = plain(first).requires_grad_(True)
        noises = _noises(generator, images, random) if settings.optimise_noise else {}
        optimizer = torch.optim.Adam([code, *noises.values()], lr=settings.lr)
        target, spread = _seen(images), w_spread(generator)
        for step in range(settings.steps):
            t = step / settings.steps
            optimizer.param_groups[0]["lr"] = settings.lr * ramp(t)
            reach = spread * NOISE_START * max(0.0, 1.0 - t / NOISE_RAMP) ** 2
            shake = torch.randn(1, rows, code.shape[2], generator=random).to(code.device) * reach
            ws = (code + shake).expand(-1, num_ws, -1)
            picture = torch.func.functional_call(generator.synthesis, noises, (ws,), {"noise": "const"}).float()
            loss = perceptual(_seen(picture), target)
            if settings.l2_weight:
                loss = loss + settings.l2_weight * (picture - images).square().mean((1, 2, 3))
            for noise in noises.values():
                loss = loss + settings.noise_weight * _structure(noise)
            optimizer.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimizer.step()
            _normalise(noises)
            tick()
        return code.detach().expand(-1, num_ws, -1).contiguous()


def _seen(pictures: Tensor) -> Tensor:
    return area_downsample(pictures, LOOK_AT) if pictures.shape[-1] > LOOK_AT else pictures


def _noises(generator: nn.Module, images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
    """Fresh noise maps ``[B,1,r,r]`` by name, the same for every picture; none where the generator ignores noise."""
    found = {}
    for name, module in generator.synthesis.named_modules():
        if hasattr(module, "noise_const") and float(module.noise_strength.detach().abs()) > 0:
            size = module.noise_const.shape[-1]
            noise = torch.randn(1, 1, size, size, generator=random).to(images.device)
            found[f"{name}.noise_const"] = noise.repeat(images.shape[0], 1, 1, 1).requires_grad_(True)
    return found


def _structure(noise: Tensor) -> Tensor:
    """[B]: squared correlations of a noise map with itself, shifted by one, at all sizes down to 8."""
    total = torch.zeros(noise.shape[0], device=noise.device)
    while True:
        for axis in (2, 3):
            total = total + (noise * noise.roll(1, axis)).mean((1, 2, 3)).square()
        if noise.shape[-1] <= 8:
            return total
        noise = F.avg_pool2d(noise, 2)


@torch.no_grad()
def _normalise(noises: dict[str, Tensor]) -> None:
    for noise in noises.values():
        noise -= noise.mean((1, 2, 3), keepdim=True)
        noise *= (noise.square().mean((1, 2, 3), keepdim=True) + 1e-12).rsqrt()


class OptimisationInverter(MethodInverter):
    """``method`` "w" or "w+"; an encoder, where given, finds the codes to start from."""

    def __init__(self, method: str = "w", encoder: nn.Module | None = None, perceptual: Perceptual | None = None,
                 settings: ProjectionSettings | None = None) -> None:
        super().__init__(encoder=encoder)
        if method not in ("w", "w+"):
            raise InputError(f"Codes are sought in w or w+; found {method!r}.")
        self.method, self.perceptual = method, perceptual
        self.settings = settings or ProjectionSettings(l2_weight=1.0, optimise_noise=False)

    def steps(self) -> int:
        """As the settings say."""
        return self.settings.steps

    def check(self, generator: nn.Module) -> None:
        """See the base class."""
        if self.network is not None:
            check_pair(generator, self.network["encoder"])

    def part(self, generator: nn.Module, images: Tensor, noise: str, tick: Callable[[], None]) -> tuple[Latent, Tensor]:
        """See the base class."""
        start = None
        if self.network is not None:
            start = encode(generator, self.network["encoder"], images, images.shape[0]).ws
        ws = project(generator, images, space=self.method, settings=self.settings, start=start,
                     perceptual=self.perceptual, tick=tick)
        with torch.no_grad():
            return Latent(ws, generator=getattr(generator, "fingerprint", None)), generator.synthesis(ws, noise=noise)
