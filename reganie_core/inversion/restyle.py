"""ReStyle: an encoder that looks at its own inversion and corrects the codes, a few times (Alaluf et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..latents import Latent, render
from .e4e import band, check_pair
from .protocol import MethodInverter

__all__ = ["RestyleInverter", "pooled", "refine"]


def pooled(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures ``[B,3,R,R]``, not clamped, averaged to ``size[1]`` pixels; the middle ``size[0]`` rows of them."""
    height, width = size
    if pictures.shape[-1] != width:
        pictures = F.adaptive_avg_pool2d(pictures, (width, width))
    top = (width - height) // 2
    return pictures[..., top : top + height, :]


def refine(generator: nn.Module, network: nn.Module, images: Tensor, iterations: int,
           noise: str = "const") -> Iterator[tuple[Tensor, Tensor]]:
    """Codes ``[B,num_ws,w_dim]`` and picture ``[B,3,R,R]``, not clamped: of the mean latent, then of each iteration.

    ``images [B,3,R,R]``; y_0 = G(w_avg), w_{t+1} = w_t + E(x, y_t), y_t = G(w_t) (equations 1 to 3).
    """
    codes = network.latent_avg[None]
    picture = render(generator, Latent(codes), noise)
    codes, picture = codes.expand(images.shape[0], -1, -1), picture.expand(images.shape[0], -1, -1, -1)
    yield codes, picture
    images = band(network, images)
    for _ in range(iterations):
        codes = codes + network(images, pooled(picture, network.input_size))
        picture = render(generator, Latent(codes), noise, chunk=images.shape[0])
        yield codes, picture


class RestyleInverter(MethodInverter):
    """ReStyle of either kind; ``iterations`` None takes the network's own (5), 0 gives the mean latent."""

    method = "restyle"

    def __init__(self, network: nn.Module, iterations: int | None = None) -> None:
        super().__init__(restyle=network)
        self.iterations = network.config.iterations if iterations is None else iterations
        if type(self.iterations) is not int or not 0 <= self.iterations <= 64:
            raise InputError(f"ReStyle takes 0 to 64 iterations; found {self.iterations!r}.")

    def steps(self) -> int:
        """The mean picture and the iterations."""
        return self.iterations + 1

    def check(self, generator: nn.Module) -> None:
        """See the base class."""
        super().check(generator)
        check_pair(generator, self.network["restyle"])  # type: ignore[index]

    def part(self, generator: nn.Module, images: Tensor, noise: str, tick: Callable[[], None]) -> tuple[Latent, Tensor]:
        """See the base class."""
        codes = picture = images
        for step in refine(generator, self.network["restyle"], images, self.iterations, noise):  # type: ignore[index]
            codes, picture = step
            tick()
        return Latent(codes.contiguous(), generator=getattr(generator, "fingerprint", None)), picture
