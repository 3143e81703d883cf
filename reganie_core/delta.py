"""dX = X0 - X^: what the inversion lost, with the two pictures that it is the difference of.

The four pictures are called as in the paper: X0 the photo, X^ its inversion, Y^ the edited inversion. dX lies in [-2,2]
and is not rescaled. Clamping has one rule: pictures are clamped to [-1,1] when they come in, and again after resizing,
which may overshoot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .errors import MismatchError
from .images import area_downsample, check_image, clamp, resize

__all__ = ["Delta", "difference", "misfit", "paste"]


@dataclass(frozen=True, eq=False)
class Delta:
    """The lost detail of N pictures.

    Attributes:
        image: X0 ``[N,3,h,h]`` in [-1,1], the prepared square picture, at the inversion's size or larger: a crop of a
            photo keeps the photo's resolution.
        inversion: X^ ``[N,3,R,R]`` in [-1,1] of the same pictures.
        generator, encoder: fingerprints of the networks that made X^; None where they are not known.
    """

    image: Tensor
    inversion: Tensor
    generator: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        for name, pictures in zip(("image", "inversion"), checked_pair(self.image, self.inversion), strict=True):
            if pictures.shape[-1] != pictures.shape[-2]:
                raise MismatchError(f"The {name} is {pictures.shape[-1]}x{pictures.shape[-2]}; rectifiers work on "
                                    "squares.")
            object.__setattr__(self, name, pictures)

    @property
    def pixels(self) -> Tensor:
        """dX ``[N,3,h,h]`` in [-2,2] at the size of the larger of the two pictures."""
        size = max(self.image.shape[-1], self.inversion.shape[-1])
        return _resized(self.image, size) - _resized(self.inversion, size)

    def at(self, size: int) -> Tensor:
        """dX ``[N,3,size,size]`` for a network that works at ``size``, which is at most X^'s.

        Raises :class:`MismatchError` when X^ is smaller.
        """
        return area_downsample(difference(self.image, self.inversion), size)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: int | slice | Tensor | list[int]) -> Delta:
        rows = [rows] if isinstance(rows, int) else rows
        return replace(self, image=self.image[rows], inversion=self.inversion[rows])

    def to(self, device: torch.device | str) -> Delta:
        """The same on another device."""
        return replace(self, image=self.image.to(device), inversion=self.inversion.to(device))

    @staticmethod
    def cat(parts: Sequence[Delta]) -> Delta:
        """Several as one; they have to come from the same networks and have the same sizes.

        Raises :class:`MismatchError` otherwise.
        """
        if not parts:
            raise MismatchError("There is no difference to join.")
        first = parts[0]
        if len({(part.image.shape[1:], part.inversion.shape[1:]) for part in parts}) > 1:
            raise MismatchError("Differences of several sizes do not fit into one batch.")
        if any((part.generator, part.encoder) != (first.generator, first.encoder) for part in parts):
            raise MismatchError("Differences of several generators or encoders do not fit into one batch.")
        return replace(first, image=torch.cat([part.image for part in parts]),
                       inversion=torch.cat([part.inversion for part in parts]))


def checked_pair(image: Tensor, inversion: Tensor) -> tuple[Tensor, Tensor]:
    """X0 and X^ as float32 ``[N,3,H,W]``, clamped to [-1,1].

    Raises:
        InputError: not images in [-1,1].
        MismatchError: another number of pictures, or another aspect ratio (then X0 is not what was inverted).
    """
    image, inversion = clamp(check_image(image)), clamp(check_image(inversion, "inversion"))
    if image.shape[0] != inversion.shape[0]:
        raise MismatchError(
            f"There are {image.shape[0]} images and {inversion.shape[0]} inversions; give one for each.")
    (h, w), (ih, iw) = image.shape[-2:], inversion.shape[-2:]
    if abs(h * iw - w * ih) > max(h, w):
        raise MismatchError(
            f"The image is {w}x{h} and its inversion {iw}x{ih}: another shape, so it is not the picture that was "
            "inverted. Use the prepared image that the inversion gives out."
        )
    return image, inversion


def _resized(pictures: Tensor, size: int | tuple[int, int]) -> Tensor:
    return clamp(resize(pictures, size))


def difference(image: Tensor, inversion: Tensor) -> Tensor:
    """dX = X0 - X^ in [-2,2] at the inversion's size; raises as :func:`checked_pair`."""
    image, inversion = checked_pair(image, inversion)
    return _resized(image, (inversion.shape[-2], inversion.shape[-1])) - inversion


def misfit(image: Tensor, inversion: Tensor) -> str | None:
    """A sentence when image and inversion hardly show the same picture (a photo in place of its crop), else None."""
    small_image, small = (resize(clamp(x), 16, "bilinear") for x in (check_image(image), check_image(inversion)))
    distance = (small_image - small).abs().mean((1, 2, 3)).max().item()
    if distance > 0.4:
        return (
            f"Image and inversion differ by {distance:.2f} on average even at 16 pixels; they are probably "
            "not the same picture. Use the prepared image that the inversion gives out, not the photo."
        )
    return None


def paste(edited: Tensor, delta: Tensor) -> Tensor:
    """The trivial baseline Y^ + dX, clamped: exact without an edit, ghosts with one."""
    return clamp(clamp(edited) + delta)
