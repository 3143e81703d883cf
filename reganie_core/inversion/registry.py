"""Every method by its name: make one of networks at hand, load one of a file, run one."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, NotFoundError
from ..images import Fit
from .e4e import EncoderInverter
from .hfgi import HfgiInverter
from .hyperstyle import HyperStyleInverter
from .optimise import OptimisationInverter, Perceptual
from .protocol import Inversion, Inverter, MethodInverter, Progress
from .pti import PtiInverter
from .restyle import RestyleInverter

__all__ = ["METHODS", "NEEDS_FILE", "invert_with", "load_inverter", "make_inverter"]

METHODS = ("e4e", "restyle", "hfgi", "hyperstyle", "pti", "w", "w+")
NEEDS_FILE = {"restyle": "restyle", "hfgi": "hfgi", "hyperstyle": "hyperstyle"}
"""Methods with networks of their own -> the kind of their file; "e4e" needs an encoder."""


def make_inverter(method: str, *, network: nn.Module | None = None, encoder: nn.Module | None = None,
                  iterations: int | None = None, perceptual: Perceptual | None = None, settings: Any = None,
                  ) -> MethodInverter:
    """An inverter of networks that are loaded already.

    Args:
        method: one of ``METHODS``.
        network: the method's own (restyle, hfgi, hyperstyle).
        encoder: what finds the first codes (e4e, hfgi, hyperstyle; optional for pti, w and w+).
        iterations: of restyle and hyperstyle; None: their own number.
        perceptual: ``(a, b) -> [B]`` for pti, w and w+.
        settings: pti: "published", "fast" or :class:`PtiSettings`; w, w+: :class:`ProjectionSettings`.

    Raises:
        InputError: an unknown method. NotFoundError: a network it needs is not given.
    """
    if method not in METHODS:
        raise InputError(f"Unknown inversion method {method!r}; there are {', '.join(METHODS)}.")
    if method in NEEDS_FILE and network is None:
        raise NotFoundError(f"{method} needs its own network: load a file of kind {NEEDS_FILE[method]}.")
    if method in ("e4e", "hfgi", "hyperstyle") and encoder is None:
        raise NotFoundError(f"{method} needs the encoder that it builds on; give one (a file of kind encoder).")
    if method == "e4e":
        return EncoderInverter(encoder)  # type: ignore[arg-type]
    if method == "restyle":
        return RestyleInverter(network, iterations)  # type: ignore[arg-type]
    if method == "hfgi":
        return HfgiInverter(network, encoder)  # type: ignore[arg-type]
    if method == "hyperstyle":
        return HyperStyleInverter(network, encoder, iterations)  # type: ignore[arg-type]
    if method == "pti":
        return PtiInverter(encoder, perceptual, settings or "published")
    return OptimisationInverter(method, encoder, perceptual, settings)


@torch.inference_mode(False)
def load_inverter(path: str | os.PathLike[str], device: torch.device | str = "cpu", *,
                  encoder: nn.Module | str | os.PathLike[str] | None = None, encoder_type: str | None = None,
                  iterations: int | None = None) -> MethodInverter:
    """The method that a file holds: ReStyle, HFGI, HyperStyle (public or ours), or a plain encoder.

    Args:
        encoder: for HFGI and HyperStyle, a network or a file. HFGI's public files hold theirs, which is the default;
            HyperStyle's W encoder is always another file.
        encoder_type: for foreign encoders that do not say what they are.

    Raises:
        NotFoundError: no such file, or the method needs an encoder and none is given.
        ReganieError: as ``load_generator``.
    """
    from ..checkpoints import loading

    kind, network = loading.load_method(path, device, encoder_type)
    method = "e4e" if kind == "encoder" else kind
    if method == "e4e":
        return EncoderInverter(network)
    if encoder is None and method == "hfgi" and "encoder" in loading.kinds(path):
        encoder = path
    if isinstance(encoder, str | os.PathLike):
        encoder = loading.load_encoder(encoder, device)
    return make_inverter(method, network=network, encoder=encoder, iterations=iterations)


def invert_with(method: str | Inverter, generator: nn.Module, images: Tensor, *, fit: Fit = "error",
                noise: str = "const", chunk: int = 8, progress: Progress | None = None, **parts: Any) -> Inversion:
    """Invert ``images [B,3,H,W]`` in [-1,1] with a method by name, or with an inverter.

    ``parts`` go to :func:`make_inverter` where a name is given. The latent carries what the method changes about the
    generator, so every editor and ``rectify`` work on it as on any other.

    Raises:
        InputError, MismatchError, NotFoundError: see the message; InversionCancelledError: ``progress`` said False.
    """
    inverter = make_inverter(method, **parts) if isinstance(method, str) else method
    return inverter(generator, images, fit=fit, noise=noise, chunk=chunk, progress=progress)  # type: ignore[call-arg]
