"""Phase II: what the inversion lost, and the network that paints it back (ReGANIE, Algorithm 1, inference).

The four pictures are called as in the paper: X0 the photo, X^ its inversion, Y^ the edited inversion, and
dX = X0 - X^ the difference, which lies in [-2,2] and is not rescaled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from .editing.protocol import Editor, EditValue, edit_latent
from .errors import InputError, MismatchError
from .flow import estimate_flow
from .images import area_downsample, check_image, clamp, resize
from .inversion.e4e import encode
from .latents import Latent, concatenate, synthesize
from .networks.rectifier_encoders import DeltaCode

__all__ = ["OUTPUTS", "Algorithm1", "algorithm1", "difference", "encode_differences", "misfit", "paste", "rectify"]

Output = Literal["rectifier", "edited"]
OUTPUTS: tuple[str, ...] = ("rectifier", "edited")


class Algorithm1(NamedTuple):
    """Everything Algorithm 1 computes on the way; images ``[B,3,H,W]`` in [-1,1], delta in [-2,2]."""

    latent: Latent
    edited_latent: Latent
    inversion: Tensor
    edited: Tensor
    delta: Tensor
    reconstruction: Tensor | None
    rectified: Tensor | None
    code: DeltaCode | None = None  # E_d(dX)


def algorithm1(generator: nn.Module, encoder: nn.Module, editor: Editor | None, rectifier: nn.Module | None, x0: Tensor,
               edits: Mapping[str, EditValue], strength: float = 1.0, output: Output = "rectifier") -> Algorithm1:
    """Algorithm 1 of the paper at inference for ``x0 [B,3,R,R]``, R the generator's resolution.

    X^ and Y^ go through G in one batch, and E_d sees each difference once for both pictures it serves. Without a
    rectifier the last two pictures are None; without edits Y^ = X^ and no editor is needed.
    """
    w = encode(generator, encoder, x0)  # Phase I: w = E(X0)
    w_edit = edit_latent(editor, w, edits)  # Editor(w)
    pictures = synthesize(generator, concatenate([w, w_edit]) if edits else w, chunk=2 * w.batch)
    x_hat, y_hat = pictures.chunk(2) if edits else (pictures, pictures)  # X^ = G(w), Y^ = G(Editor(w))
    delta = difference(x0, x_hat)  # Phase II: dX = X0 - X^
    if rectifier is None:
        return Algorithm1(w, w_edit, x_hat, y_hat, delta, None, None)
    primary = torch.stack([x_hat, y_hat], 1).flatten(0, 1) if edits else x_hat  # image-major: X^0, Y^0, X^1, Y^1, ...
    code = encode_differences(rectifier, delta) if strength else None
    painted = rectify(rectifier, primary, delta, strength, output, code=code, inversion=x_hat)  # G_p(E_p(.), E_d(dX))
    x_r, y_r = (painted[0::2], painted[1::2]) if edits else (painted, painted)
    return Algorithm1(w, w_edit, x_hat, y_hat, delta, x_r, y_r, code)


def difference(image: Tensor, inversion: Tensor) -> Tensor:
    """dX = X - X^ in [-2,2]; both are clamped first, and the image is brought to the inversion's size (antialiased).

    Raises:
        InputError: not images in [-1,1].
        MismatchError: another number of pictures, or another aspect ratio (then X is not what was inverted).
    """
    image, inversion = check_image(image), check_image(inversion, "inversion")
    if image.shape[0] != inversion.shape[0]:
        raise MismatchError(
            f"There are {image.shape[0]} images and {inversion.shape[0]} inversions; give one for "
            "each."
        )
    (h, w), (ih, iw) = image.shape[-2:], inversion.shape[-2:]
    if abs(h * iw - w * ih) > max(h, w):
        raise MismatchError(
            f"The image is {w}x{h} and its inversion {iw}x{ih}: another shape, so it is not the picture that was "
            "inverted. Use the prepared image that the inversion gives out."
        )
    return clamp(resize(clamp(image), (ih, iw))) - clamp(inversion)


def misfit(image: Tensor, inversion: Tensor) -> str | None:
    """A sentence when image and inversion hardly show the same picture (a photo in place of its crop), else None."""
    small_image, small = (resize(clamp(x), 16, "bilinear") for x in (check_image(image), check_image(inversion)))
    distance = (small_image - small).abs().mean((1, 2, 3)).max().item()
    factor = image.shape[-1] / inversion.shape[-1]
    if distance > 0.4:
        return (
            f"Image and inversion differ by {distance:.2f} on average even at 16 pixels; they are probably "
            "not the same picture. Use the prepared image that the inversion gives out, not the photo."
        )
    if factor > 8 or factor < 1 / 8:
        return (
            f"The image is {factor:.3g} times the size of its inversion; use the prepared image that the "
            "inversion gives out."
        )
    return None


def paste(edited: Tensor, delta: Tensor) -> Tensor:
    """The trivial baseline Y^ + dX, clamped: exact without an edit, ghosts with one."""
    return clamp(clamp(edited) + delta)


def rectify(rectifier: nn.Module, edited: Tensor, delta: Tensor, strength: float = 1.0, output: Output = "rectifier",
            chunk: int | None = None, code: DeltaCode | None = None, inversion: Tensor | None = None) -> Tensor:
    """Y_r = G_p(E_p(Y^), E_d(dX)), interpolated with Y^ by ``strength``.

    Args:
        edited: ``[D*K,3,H,W]`` in [-1,1], image-major: difference i serves ``edited[i*K:(i+1)*K]``.
        delta: ``[D,3,h,w]`` in [-2,2]; E_d runs once for each.
        strength: 0 gives Y^ bit for bit at the output's size, 1 the network's picture, linear between.
        output: ``"rectifier"`` gives the network's resolution R; ``"edited"`` gives Y^'s own size:
            Y^ + strength * up(R(down Y^, down dX) - down Y^).
        chunk: pictures in the network at a time; by default 8, and 1 on a CPU from 256 px up, where company gains
            nothing and memory would grow.
        code: what :func:`encode_differences` gave for these differences; E_d does not run then.
        inversion: X^ ``[D,3,H,W]`` in [-1,1], which the differences were taken from. A rectifier that carries them to
            where they belong in Y^ sees from X^ and Y^ what went where; without X^ it takes everything to have stayed.

    Raises:
        InputError: wrong shapes or ranges, strength outside 0..2, an unknown output.
        MismatchError: batches that do not pair, pictures smaller than the rectifier's resolution.
    """
    if output not in OUTPUTS:
        raise InputError(f"output must be one of {', '.join(OUTPUTS)}; found {output!r}.")
    if not (isinstance(strength, int | float) and math.isfinite(strength) and 0.0 <= strength <= 2.0):
        raise InputError(f"strength must be a number from 0 to 2, found {strength!r}.")
    edited, delta = clamp(check_image(edited, "edited picture")), check_image(delta, "difference", limit=2.5)
    repeats = _repeats(edited, delta)
    size = rectifier.resolution
    small, small_delta = _to_resolution(edited, size, "edited picture"), _to_resolution(delta, size, "difference")
    start_from = None
    if inversion is not None and getattr(rectifier, "carries", False):
        start_from = _to_resolution(clamp(check_image(inversion, "inversion")), size, "inversion")
        if len(start_from) != len(delta):
            raise MismatchError(f"There are {len(start_from)} inversions for {len(delta)} differences; give the "
                                "inversion that each difference was taken from.")
    base = small if output == "rectifier" else edited
    if strength == 0.0:
        return base.clone()
    parts = []
    chunk = _chunk(rectifier, edited) if chunk is None else chunk
    for start in range(0, delta.shape[0], max(1, chunk // repeats)):
        stop = min(start + max(1, chunk // repeats), delta.shape[0])
        if code is None:
            group = rectifier.encode_delta(small_delta[start:stop])
        else:
            group = DeltaCode(*(None if part is None else part[start:stop] for part in code))
        for k in range(0, (stop - start) * repeats, chunk):  # only one difference with many edits needs a second round
            rows = torch.arange(k, min(k + chunk, (stop - start) * repeats), device=edited.device)
            picked = type(group)(*(None if part is None else part[rows // repeats] for part in group))
            primary = small[start * repeats + rows]
            moved = {} if start_from is None else {"flow": estimate_flow(start_from[start + rows // repeats], primary)}
            parts.append(clamp(rectifier.render(primary, picked, 1.0, **moved).float()))
    painted = torch.cat(parts)
    if output == "rectifier" or edited.shape[-1] == size:
        return clamp(torch.lerp(small, painted, float(strength)))
    return clamp(edited + float(strength) * resize(painted - small, tuple(edited.shape[-2:]), "bilinear"))


def encode_differences(rectifier: nn.Module, delta: Tensor) -> DeltaCode:
    """E_d(dX) of every difference ``[D,3,h,w]`` in [-2,2]: what stays the same while an edit changes.

    Raises :class:`InputError` and :class:`MismatchError` as :func:`rectify` does.
    """
    small = _to_resolution(check_image(delta, "difference", limit=2.5), rectifier.resolution, "difference")
    codes = [rectifier.encode_delta(part) for part in small.split(_chunk(rectifier, small))]
    return DeltaCode(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*codes, strict=True)))


def _chunk(rectifier: nn.Module, pictures: Tensor) -> int:
    return 1 if rectifier.resolution >= 256 and pictures.device.type == "cpu" else 8


def _repeats(edited: Tensor, delta: Tensor) -> int:
    pictures, differences = edited.shape[0], delta.shape[0]
    if pictures % differences:
        raise MismatchError(
            f"There are {pictures} edited pictures for {differences} differences; give as many, or K times as many "
            "ordered by image (difference i serves pictures i*K to i*K+K-1)."
        )
    return pictures // differences


def _to_resolution(images: Tensor, size: int, what: str) -> Tensor:
    if images.shape[-2] != images.shape[-1]:
        raise MismatchError(f"The {what} is {images.shape[-1]}x{images.shape[-2]}; the rectifier works on squares.")
    if images.shape[-1] < size:
        raise MismatchError(
            f"The {what} has {images.shape[-1]} pixels, the rectifier works at {size}; use a generator of at least "
            f"{size} pixels, or a rectifier for this size."
        )
    return area_downsample(images, size)
