"""What every inversion gives back, and what every inverter is: image -> latent, for one generator."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..belonging import check_generator, differ, fingerprint_of, trained_with
from ..errors import ReganieError, ReganieWarning
from ..images import Fit, clamp, fit_photo
from ..latents import Latent, concatenate

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Inversion", "InversionCancelledError", "Inverter", "MethodInverter", "Progress"]

Progress = Callable[[int, int], Any]
"""``progress(done, total)`` after every step; an answer of False, or an exception, ends the inversion."""


class InversionCancelledError(ReganieError):
    """The progress callback asked to stop; nothing was changed."""


@dataclass(frozen=True)
class Inversion:
    """The result of an inversion.

    Attributes:
        latent: the codes found, what the method changes about the generator, and the generator's fingerprint.
        inversion: X^ = G(latent), ``[B,3,R,R]`` clamped to [-1,1].
        image: X, the prepared square picture, ``[B,3,h,h]``: at its own resolution where that is larger than R
            (what was inverted is its downsampled copy). dX belongs to this one.
    """

    latent: Latent
    inversion: Tensor
    image: Tensor


@runtime_checkable
class Inverter(Protocol):
    """Image -> latent, for one generator."""

    def __call__(self, generator: nn.Module, images: Tensor) -> Inversion:
        """``images [B,3,R,R]`` in [-1,1] -> :class:`Inversion`."""
        ...


class MethodInverter:
    """What the inverters of this package have in common: preparing, working in chunks, progress, joining.

    Attributes:
        method: its name in ``METHODS``.
        network: everything it computes with, as one module (None when it only optimises); move it with :meth:`to`.
        provenance: of the method's own file; a generator or encoder other than the recorded ones is noticed.
    """

    method = ""

    def __init__(self, **networks: nn.Module | None) -> None:
        found = {name: module for name, module in networks.items() if module is not None}
        self.network: nn.ModuleDict | None = nn.ModuleDict(found) if found else None
        main = next(iter(found.values()), None)
        self.provenance: dict[str, Any] = getattr(main, "provenance", {})

    def to(self, device: torch.device | str) -> Self:
        """Move its networks; returns itself."""
        if self.network is not None:
            self.network.to(device)
        return self

    def steps(self) -> int:
        """How many progress steps one chunk takes."""
        return 1

    def check(self, generator: nn.Module) -> None:
        """Raise :class:`MismatchError` when the method was made for another generator, before anything is computed."""
        check_generator(self, generator, f"{self.method} network")
        encoder = None if self.network is None or "encoder" not in self.network else self.network["encoder"]
        wanted = trained_with(self).get("encoder")
        if differ(wanted, encoder):
            warnings.warn(f"This {self.method} network was trained on encoder {wanted}, not on "
                          f"{fingerprint_of(encoder)}.", ReganieWarning, stacklevel=4)

    def part(self, generator: nn.Module, images: Tensor, noise: str, tick: Callable[[], None]) -> tuple[Latent, Tensor]:
        """The latent and the picture (clamped later) of one chunk; calls ``tick`` :meth:`steps` times at most."""
        raise NotImplementedError

    def __call__(self, generator: nn.Module, images: Tensor, *, fit: Fit = "error", noise: str = "const",
                 chunk: int = 8, progress: Progress | None = None) -> Inversion:
        """Invert ``[B,3,H,W]`` in [-1,1], brought to the generator's square by :func:`images.fit`.

        Raises:
            InputError: pictures that cannot be used.
            MismatchError: the method was made for another generator.
            InversionCancelledError: ``progress`` answered False.
        """
        self.check(generator)
        photo, prepared = fit_photo(images, generator.resolution, fit)
        total, done = math.ceil(prepared.shape[0] / max(1, chunk)) * self.steps(), 0

        def tick() -> None:
            nonlocal done
            done += 1
            if progress is not None and progress(min(done, total), total) is False:
                raise InversionCancelledError("The inversion was cancelled.")

        found = []
        for i, images_part in enumerate(prepared.split(max(1, chunk))):
            found.append(self.part(generator, images_part, noise, tick))
            if done < (i + 1) * self.steps():  # it stopped early
                done = (i + 1) * self.steps() - 1
                tick()
        latent = concatenate([latent for latent, _ in found])
        return Inversion(latent, clamp(torch.cat([picture for _, picture in found])), photo)
