"""HFGI: an encoder's inversion, and the detail it misses injected into the generator (Wang et al. 2022).

The latent carries the detail and the network that aligns it: where codes are edited afterwards, the detail is aligned
with the *edited* picture, as the method defines it, whenever that latent is painted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from ..latents import Latent, render, synthesize
from ..networks.inputs import fit_images
from .e4e import check_pair, encode
from .protocol import MethodInverter

__all__ = ["HfgiInverter"]


class HfgiInverter(MethodInverter):
    """HFGI's two networks on top of the encoder that they were trained with."""

    method = "hfgi"

    def __init__(self, network: nn.Module, encoder: nn.Module) -> None:
        super().__init__(hfgi=network, encoder=encoder)

    def check(self, generator: nn.Module) -> None:
        """See the base class."""
        super().check(generator)
        check_pair(generator, self.network["encoder"])  # type: ignore[index]
        self.network["hfgi"].check(generator)  # type: ignore[index]

    def part(self, generator: nn.Module, images: Tensor, noise: str, tick: Callable[[], None]) -> tuple[Latent, Tensor]:
        """See the base class."""
        network, size = self.network["hfgi"], images.shape[0]  # type: ignore[index]
        latent = encode(generator, self.network["encoder"], images, size)  # type: ignore[index]
        plain = synthesize(generator, latent, noise, size)
        residual = network.residual(fit_images(images, network.config.input_resolution), plain)
        latent = replace(latent, features=network.features(residual, plain))
        picture = render(generator, latent, noise, size)
        tick()
        return replace(latent, residual=residual, aligner=network), picture
