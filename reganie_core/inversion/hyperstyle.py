"""HyperStyle: an encoder's codes stay, the generator's weights are changed for the picture (Alaluf et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..latents import Latent, render
from ..networks.winograd import direct_only
from .e4e import check_pair, encode
from .protocol import MethodInverter
from .restyle import pooled

__all__ = ["HyperStyleInverter", "paint_each", "refine"]


def refine(generator: nn.Module, network: nn.Module, images: Tensor, latent: Latent, iterations: int,
           noise: str = "const") -> Iterator[tuple[dict[int, Tensor], Tensor]]:
    """(relative weight changes per layer, picture not clamped): none and G(w) first, then every iteration's.

    delta_{t+1} = delta_t + H(x, y_t), y_t = G(w; theta (1 + delta_t)) (section 4.2).
    """
    deltas: dict[int, Tensor] = {}
    picture = render(generator, latent, noise, images.shape[0])
    yield deltas, picture
    size = network.input_resolution, network.input_resolution
    for _ in range(iterations):
        more = network(images, pooled(picture, size))
        deltas = {i: deltas[i] + delta if i in deltas else delta for i, delta in more.items()}
        picture = render(generator, replace(latent, changes=network.changes(generator, deltas)), noise)
        yield deltas, picture


def paint_each(generator: nn.Module, ws: Tensor, changes: dict[str, Tensor]) -> Tensor:
    """``[B,3,R,R]``, not clamped: every picture by its own weights (see ``Latent.changes``), all of them at once.

    For training on an accelerator: differentiable in codes and changes, with constant noise.
    """
    own = dict(generator.synthesis.named_parameters())
    named = {name.removeprefix("synthesis."): change for name, change in changes.items()}

    def one(w: Tensor, change: dict[str, Tensor]) -> Tensor:
        parameters = {name: own[name] + extra for name, extra in change.items()}
        return torch.func.functional_call(generator.synthesis, parameters, (w[None],), {"noise": "const"})[0]

    with direct_only():  # the other form writes into a tensor of its own, which vmap does not follow
        return torch.vmap(one)(ws, named)


class HyperStyleInverter(MethodInverter):
    """The hypernetwork on top of the encoder it was trained with; ``iterations`` None takes its own (5), 0 none."""

    method = "hyperstyle"

    def __init__(self, network: nn.Module, encoder: nn.Module, iterations: int | None = None) -> None:
        super().__init__(hyperstyle=network, encoder=encoder)
        self.iterations = network.config.iterations if iterations is None else iterations
        if type(self.iterations) is not int or not 0 <= self.iterations <= 64:
            raise InputError(f"HyperStyle takes 0 to 64 iterations; found {self.iterations!r}.")

    def steps(self) -> int:
        """The encoder's picture and the iterations."""
        return self.iterations + 1

    def check(self, generator: nn.Module) -> None:
        """See the base class."""
        super().check(generator)
        check_pair(generator, self.network["encoder"])  # type: ignore[index]
        self.network["hyperstyle"].check(generator)  # type: ignore[index]

    def part(self, generator: nn.Module, images: Tensor, noise: str, tick: Callable[[], None]) -> tuple[Latent, Tensor]:
        """See the base class."""
        network = self.network["hyperstyle"]  # type: ignore[index]
        latent = encode(generator, self.network["encoder"], images, images.shape[0])  # type: ignore[index]
        deltas, picture = {}, latent.ws
        for step in refine(generator, network, images, latent, self.iterations, noise):
            deltas, picture = step
            tick()
        return replace(latent, changes=network.changes(generator, deltas)), picture
