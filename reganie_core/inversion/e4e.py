"""One pass of an encoder: w = E(X), X^ = G(w) (Tov et al. 2021, Richardson et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import MismatchError
from ..images import Fit, fit_photo
from ..latents import Latent, render, synthesize
from .protocol import Inversion, MethodInverter

__all__ = ["EncoderInverter", "band", "check_pair", "encode", "invert"]


def check_pair(generator: nn.Module, encoder: nn.Module) -> None:
    """Raise :class:`MismatchError` when the encoder was made for another generator (by the size of its codes)."""
    wanted, found = (generator.num_ws, generator.w_dim), (encoder.num_ws, encoder.w_dim)
    if wanted != found:
        raise MismatchError(
            f"The encoder gives {found[0]} style vectors of {found[1]}, the generator (at "
            f"{generator.resolution} pixels) takes {wanted[0]} of {wanted[1]}: it was made for another generator. "
            "Choose a matching pair."
        )


def encode(generator: nn.Module, encoder: nn.Module, images: Tensor, chunk: int = 8) -> Latent:
    """E(images) for ``[B,3,H,W]`` in [-1,1] -> :class:`Latent` that belongs to ``generator``; ``chunk`` at a time.

    An encoder of wide pictures (cars: 256x192) sees the middle band of square ones, which is where its generator
    paints: the 512 px car generators leave the 64 rows at the top and at the bottom empty.
    """
    check_pair(generator, encoder)
    ws = torch.cat([encoder(band(encoder, part)) for part in images.split(max(1, chunk))]).float()
    return Latent(ws, generator=getattr(generator, "fingerprint", None))


def band(encoder: nn.Module, images: Tensor) -> Tensor:
    """The middle rows of square pictures, where the encoder looks at wide ones; else the pictures themselves."""
    config = getattr(encoder, "config", None)
    width, height = getattr(config, "input_resolution", None), getattr(config, "input_height", None)
    if height is None or height >= width or images.shape[-2] != images.shape[-1]:
        return images
    size = images.shape[-1]
    rows = size * height // width
    top = (size - rows) // 2
    return images[..., top : top + rows, :]


def invert(generator: nn.Module, encoder: nn.Module, images: Tensor, *, fit: Fit = "error",
           noise: str = "const", chunk: int = 8) -> Inversion:
    """Invert ``[B,3,H,W]`` in [-1,1]; pictures are first brought to the generator's square by :func:`images.fit`.

    Raises:
        InputError: pictures that cannot be used (shape, range, not square with fit "error").
        MismatchError: the encoder belongs to another generator.
    """
    check_pair(generator, encoder)
    photo, prepared = fit_photo(images, generator.resolution, fit)
    latent = encode(generator, encoder, prepared, chunk)
    return Inversion(latent, synthesize(generator, latent, noise, chunk), photo)


class EncoderInverter(MethodInverter):
    """One pass of an encoder (e4e, pSp, or our own) behind the protocol of all methods."""

    method = "e4e"

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder=encoder)

    def check(self, generator: nn.Module) -> None:
        """See the base class; an encoder's provenance is no reason to refuse it, its sizes are."""
        check_pair(generator, self.network["encoder"])  # type: ignore[index]

    def part(self, generator: nn.Module, images: Tensor, noise: str, tick: Callable[[], None]) -> tuple[Latent, Tensor]:
        """See the base class."""
        latent = encode(generator, self.network["encoder"], images, images.shape[0])  # type: ignore[index]
        picture = render(generator, latent, noise, images.shape[0])
        tick()
        return latent, picture
