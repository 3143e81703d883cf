"""Phase II: the edited inversion Y^ and the lost detail dX become the edited photo Y_r.

One function for every rectifier: a network trained for one generator, or :class:`~.alignment.Carry`, which has none.
"""

from __future__ import annotations

import math
import os
from typing import Literal

import torch
from torch import Tensor, nn

from .alignment.carry import Carried, Carry
from .alignment.flow import estimate_flow
from .batches import pictures_at_once
from .belonging import check_generator
from .delta import Delta
from .errors import InputError, MismatchError
from .images import area_downsample, check_image, clamp, resize
from .networks.rectifier_encoders import DeltaCode

__all__ = ["OUTPUTS", "encode_differences", "load_rectifier", "name_of", "rectify",
           "rectify_with_doubt", "repeats_of"]

Output = Literal["photo", "rectifier", "edited"]
OUTPUTS: tuple[str, ...] = ("photo", "rectifier", "edited")
_carry = Carry()


def load_rectifier(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """``"carry"``, which has no weights, or a rectifier's file. Raises as :func:`checkpoints.load_generator`."""
    if path == "carry":
        return Carry()
    from .checkpoints import load_rectifier as load_file

    return load_file(path, device)


def rectify(rectifier: nn.Module, edited: Tensor, delta: Delta | Tensor, strength: float = 1.0,
            output: Output = "photo", chunk: int | None = None, code: DeltaCode | None = None,
            inversion: Tensor | None = None) -> Tensor:
    """Y_r = G_p(E_p(Y^), E_d(dX)), interpolated with Y^ by ``strength``; see :func:`rectify_with_doubt`."""
    return rectify_with_doubt(rectifier, edited, delta, strength, output, chunk, code, inversion, doubt=False).picture


def rectify_with_doubt(rectifier: nn.Module, edited: Tensor, delta: Delta | Tensor, strength: float = 1.0,
                       output: Output = "photo", chunk: int | None = None, code: DeltaCode | None = None,
                       inversion: Tensor | None = None, doubt: bool = True) -> Carried:
    """Y_r and where it may well be wrong.

    Args:
        edited: Y^ ``[D*K,3,R,R]`` in [-1,1], image-major: difference i serves ``edited[i*K:(i+1)*K]``.
        delta: a :class:`Delta` of D pictures, or dX ``[D,3,h,h]`` in [-2,2] alone.
        strength: 0 gives Y^ bit for bit at the output's size, 1 the rectified picture, linear between.
        output: ``"photo"`` the size of the picture that was inverted, at least Y^'s; where that is larger than the
            network's, detail beyond the network is carried. ``"rectifier"`` the network's resolution (Y^'s size for
            a rectifier of any size). ``"edited"`` Y^'s size: Y^ + strength * up(R(down Y^, down dX) - down Y^).
        chunk: pictures at a time; by default as :func:`pictures_at_once` says.
        code: what :func:`encode_differences` gave for these differences; E_d does not run then.
        inversion: X^ ``[D,3,R,R]`` in [-1,1] beside a bare dX. A :class:`Delta` holds it.
        doubt: False leaves the mask out (zeros).

    Raises:
        InputError: wrong shapes or ranges, strength outside 0..2, an unknown output.
        MismatchError: batches that do not pair, pictures smaller than the rectifier's resolution, a rectifier of
            another generator, or one that needs X^ and gets none.
    """
    if output not in OUTPUTS:
        raise InputError(f"output must be one of {', '.join(OUTPUTS)}; found {output!r}.")
    if not (isinstance(strength, int | float) and math.isfinite(strength) and 0.0 <= strength <= 2.0):
        raise InputError(f"strength must be a number from 0 to 2, found {strength!r}.")
    edited = clamp(check_image(edited, "edited picture"))
    if isinstance(delta, Delta):
        _check_generator(rectifier, delta)
        inversion = delta.inversion
    else:
        delta = check_image(delta, "difference", limit=2.5)
    _check_sizes(rectifier, edited, delta, inversion)
    repeats = repeats_of(edited, delta)
    chunk = _chunk(rectifier, edited) if chunk is None else max(1, chunk)
    parts = []
    for start in range(0, len(edited), chunk):
        rows = torch.arange(start, min(start + chunk, len(edited)), device=edited.device)
        of = rows // repeats
        parts.append(_some(rectifier, edited[rows], delta[of], None if inversion is None else inversion[of],
                           None if code is None else code.rows(of), float(strength), output, doubt))
    return Carried(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _some(rectifier: nn.Module, edited: Tensor, delta: Delta | Tensor, inversion: Tensor | None,
          code: DeltaCode | None, strength: float, output: str, doubt: bool) -> Carried:
    """Some pictures with one difference each."""
    size = _output_size(rectifier, edited, delta, output)
    base = edited if size == edited.shape[-1] else clamp(_to_size(edited, size))
    mask = edited.new_zeros(len(edited), 1, size, size)
    if strength == 0.0:
        return Carried(base.clone(), mask)
    resolution = rectifier.resolution or size
    carried = None
    if inversion is not None and (doubt or rectifier.resolution is None or output == "photo" and size > resolution):
        carried = _carried(edited, delta, inversion, size)
        mask = carried.doubt if doubt else mask
    if rectifier.resolution is None:
        if carried is None:
            carried = rectifier.carried(edited, _at(delta, size), inversion)  # raises: it needs X^
        return Carried(clamp(torch.lerp(base, carried.picture, strength)), mask)
    small = area_downsample(edited, resolution)
    painted = _painted(rectifier, small, _at(delta, resolution), inversion, code)
    if size == resolution:
        return Carried(clamp(torch.lerp(small, painted, strength)), mask)
    if output == "photo" and carried is not None:
        picture = carried.picture + resize(painted - area_downsample(carried.picture, resolution), size, "bilinear")
        return Carried(clamp(torch.lerp(base, clamp(picture), strength)), mask)
    return Carried(clamp(base + strength * resize(painted - small, size, "bilinear")), mask)


def _painted(rectifier: nn.Module, edited: Tensor, delta: Tensor, inversion: Tensor | None,
             code: DeltaCode | None) -> Tensor:
    """G_p(E_p(Y^), E_d(dX)) of a network at its own resolution."""
    flow = None
    if rectifier.needs_inversion:
        flow = estimate_flow(area_downsample(clamp(check_image(inversion, "inversion")), edited.shape[-1]), edited)
    code = rectifier.encode_delta(delta) if code is None else code
    return clamp(rectifier.render(edited, code, 1.0, flow).float())


def _carried(edited: Tensor, delta: Delta | Tensor, inversion: Tensor, size: int) -> Carried:
    inversion = clamp(_to_size(inversion, edited.shape[-1]))
    found = _carry.carried(edited, _at(delta, size), inversion)
    same = (edited == inversion).flatten(1).all(1)
    if isinstance(delta, Delta) and same.any():  # nothing was edited: X^ + dX is X0, here bit for bit
        image = clamp(_to_size(delta.image, size))
        found = found._replace(picture=torch.where(same.view(-1, 1, 1, 1), image, found.picture))
    return found


def _at(delta: Delta | Tensor, size: int) -> Tensor:
    """dX at a size: a network's, which is at most X^'s, or the output's."""
    if isinstance(delta, Tensor):
        return _to_size(delta, size)
    return delta.at(size) if size <= delta.inversion.shape[-1] else _to_size(delta.pixels, size)


def _to_size(images: Tensor, size: int) -> Tensor:
    return area_downsample(images, size) if images.shape[-1] >= size else resize(images, size)


def _output_size(rectifier: nn.Module, edited: Tensor, delta: Delta | Tensor, output: str) -> int:
    own = edited.shape[-1]
    if output == "rectifier":
        return rectifier.resolution or own
    photo = (delta.image if isinstance(delta, Delta) else delta).shape[-1]
    return max(own, photo) if output == "photo" else own


def encode_differences(rectifier: nn.Module, delta: Delta | Tensor, chunk: int | None = None) -> DeltaCode | None:
    """E_d(dX) of every difference: what stays the same while an edit changes; None for a rectifier without E_d.

    ``chunk`` as in :func:`rectify_with_doubt`. Raises :class:`InputError` and :class:`MismatchError` as
    :func:`rectify` does.
    """
    if not hasattr(rectifier, "encode_delta"):
        return None
    if isinstance(delta, Tensor):
        delta = check_image(delta, "difference", limit=2.5)
    if isinstance(delta, Delta):
        _check_generator(rectifier, delta)
    _check_sizes(rectifier, None, delta, None)
    small = _at(delta, rectifier.resolution)
    return DeltaCode.cat([rectifier.encode_delta(part) for part in small.split(chunk or _chunk(rectifier, small))])


def name_of(rectifier: nn.Module) -> str:
    """What to call it in messages: carry, or the file it came from."""
    names = (getattr(rectifier, name, None) for name in ("label", "source", "fingerprint"))
    return next((name for name in names if isinstance(name, str) and name), "without a name")


def _check_generator(rectifier: nn.Module, delta: Delta) -> None:
    """Raise :class:`MismatchError` when the rectifier is known to be another generator's; silent where unknown."""
    check_generator(rectifier, delta.generator, f"rectifier {name_of(rectifier)} of {rectifier.resolution} pixels",
                    "To go on, choose auto or carry, or a rectifier trained for this generator.")


def _chunk(rectifier: nn.Module, pictures: Tensor) -> int:
    return pictures_at_once(rectifier.resolution or pictures.shape[-1], pictures.device)


def repeats_of(edited: Tensor, delta: Delta | Tensor) -> int:
    """K, the number of edited pictures for each difference; raises :class:`MismatchError` if it is no whole number."""
    pictures, differences = len(edited), len(delta)
    if pictures % differences:
        raise MismatchError(
            f"There are {pictures} edited pictures for {differences} differences; give as many, or K times as many "
            "ordered by image (difference i serves pictures i*K to i*K+K-1)."
        )
    return pictures // differences


def _check_sizes(rectifier: nn.Module, edited: Tensor | None, delta: Delta | Tensor, inversion: Tensor | None) -> None:
    """Squares only, nothing smaller than the network, X^ where it is needed and as many as differences."""
    pixels = delta.inversion if isinstance(delta, Delta) else delta
    for images, what in ((edited, "edited picture"), (pixels, "difference"), (inversion, "inversion")):
        if images is None:
            continue
        if images.shape[-2] != images.shape[-1]:
            raise MismatchError(f"The {what} is {images.shape[-1]}x{images.shape[-2]}; the rectifier works on squares.")
        if rectifier.resolution and images.shape[-1] < rectifier.resolution:
            raise MismatchError(
                f"The {what} has {images.shape[-1]} pixels, the rectifier works at {rectifier.resolution}; use a "
                f"generator of at least {rectifier.resolution} pixels, or a rectifier for this size.")
    if edited is not None and inversion is None and rectifier.needs_inversion:
        raise MismatchError(f"The rectifier {name_of(rectifier)} needs X^ beside the difference: it follows what moved "
                            "between X^ and Y^. Give inversion=X^, or a Delta, which holds it.")
    if inversion is not None and len(inversion) != len(delta):
        raise MismatchError(f"There are {len(inversion)} inversions for {len(delta)} differences; give the inversion "
                            "that each difference was taken from.")
