"""The edited crop goes back into its photo; what lies outside the square is not touched.

With P the photo, A the aligned crop, B the edited one, W the warp of a crop into the photo and m a weight that falls
from 1 inside the square to 0 on its edge:

    residual   P + m (W(B - A))                              what the edit changed is added
    replace    P + m (W(B) - P)                              the new picture covers the old one
    auto       P + m (W(B - k A) - (1 - W(k)) P)             the first where nothing changed, the second where it did

Here k in [0,1] tells where the edit left the picture alone (from |B - A|, smoothed): k = 1 is the residual form, which
keeps the photo's detail that is finer than the crop; k = 0 replaces it. So an unchanged crop gives the photo back
exactly, a changed part leaves no ghost of the old detail, and a small crop does not blur the rest of the face.

A may also be what the networks make of the crop without the edit (``reference``, the reconstruction X_r): then only
what the edit itself changed comes into the photo, and what the networks cannot draw well stays the photo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError, MismatchError
from ..images import area_downsample, check_image, resize
from .align import cut, picture_of
from .cutout import blur
from .face import Face
from .picture import Photo, Photos, Picture, open_photos
from .warp import crop_coordinates, edge_distance, spread_square

__all__ = ["PASTE_MODES", "PasteMode", "Pasted", "paste_faces"]

PasteMode = Literal["auto", "residual", "replace"]
PASTE_MODES: tuple[str, ...] = ("auto", "residual", "replace")
#: Mean change, of a range of 2, at which detail of the photo fades (to 37 %) in mode "auto".
CHANGE = 0.06
#: Width over which changes are averaged for that, as a share of the crop.
SMOOTH = 0.04
#: Width of the frame of the crop that tells a change of tone, as a share of the crop; the largest tone corrected.
RING, LARGEST_TONE = 0.06, 0.25


@dataclass(frozen=True)
class Pasted:
    """``photos``: as they were given (tensor, PIL image or list). ``masks``: one ``[1,1,H,W]`` in [0,1] a photo: the
    share of the crops in each pixel; exactly 0 where the photo is untouched. ``mask``: joined ``[B,1,H,W]``."""

    photos: Photos
    masks: tuple[Tensor, ...]

    @property
    def mask(self) -> Tensor:
        """``[B,1,H,W]``; raises :class:`MismatchError` for photos of several sizes."""
        if len({mask.shape for mask in self.masks}) > 1:
            raise MismatchError("The photos have several sizes; take the masks one by one.")
        return torch.cat(self.masks)


def paste_faces(photos: Photos, edited: Tensor, faces: Face | Sequence[Face], *, mode: PasteMode = "auto",
                feather: float = 0.08, mask: Tensor | None = None, match_tone: bool = True,
                strength: float = 1.0, reference: Tensor | None = None) -> Pasted:
    """Put edited crops back into their photos.

    Args:
        photos: the photos that were aligned: tensor ``[B,C,H,W]`` in [-1,1], PIL image, or a list of either. Alpha,
            grey, 16 bits and sizes are kept; pixels outside the squares are bit-identical.
        edited: ``[N,3,s,s]`` in [-1,1], crop i belongs to ``faces[i]``; any s, larger or smaller than when aligned.
        faces: where they belong; several may share a photo, and where they overlap the nearer centre counts.
        mode: "auto", "residual" or "replace"; see the module. "auto" is right for edits of every kind.
        feather: width of the soft edge as a share of the square's side, in [0, 0.5].
        mask: ``[N|1,1,h,w]`` or ``[N|1,h,w]`` in [0,1] in the crop's frame: where the edit is let through.
        match_tone: subtract the change of colour that most of the crop's frame shares, such as a generator's slightly
            different tone, so that no seam shows.
        strength: 0 gives the photo, 1 the edit.
        reference: ``[N,3,r,r]`` in [-1,1]: the unedited counterparts of ``edited``, such as ``EditResult``'s
            ``reconstruction`` (or ``inversion`` where nothing was rectified); None: the aligned crops themselves.

    Raises:
        InputError: shapes, ranges or options that do not make sense.
        MismatchError: as many faces as crops are needed, and the photos that were aligned.
    """
    if mode not in PASTE_MODES:
        raise InputError(f"mode must be one of {', '.join(PASTE_MODES)}; found {repr(mode)[:60]}.")
    if not 0.0 <= feather <= 0.5 or not 0.0 <= strength <= 1.0:
        raise InputError(f"feather lies in 0..0.5 and strength in 0..1; found {feather} and {strength}.")
    faces = [faces] if isinstance(faces, Face) else list(faces)
    _check_crops(edited, len(faces), "edited crops")
    if reference is not None:
        _check_crops(reference, len(faces), "reference crops")
    crop_mask = _check_mask(mask, len(faces))
    originals, pictures = open_photos(photos), open_photos(photos, copy=True)
    masks = tuple(torch.zeros(1, 1, p.size[1], p.size[0], device=p.pixels.device) for p in pictures)
    with torch.no_grad():
        for i, face in enumerate(faces):
            source = picture_of(originals, face)
            others = [f for j, f in enumerate(faces) if j != i and f.index == face.index]
            crop = edited[i : i + 1].float().to(source.pixels.device)
            base = cut(source, face) if reference is None else reference[i : i + 1].to(crop)
            change = _change(base, crop, face, source.size, mode, match_tone)
            own = None if mask is None else crop_mask[i % len(crop_mask)].to(crop)[None]
            _put(source, pictures[face.index], masks[face.index], face, others, change, own, feather, strength)
    return Pasted(_in_form_of(photos, [picture.done() for picture in pictures]), masks)


def _in_form_of(photos: Photos, results: list[Photo]) -> Photos:
    if isinstance(photos, Tensor):
        return torch.stack([r for r in results if isinstance(r, Tensor)]) if photos.ndim == 4 else results[0]
    if not isinstance(photos, Sequence):
        return results[0]
    return [result[None] if isinstance(photo, Tensor) and isinstance(result, Tensor) and photo.ndim == 4 else result
            for photo, result in zip(photos, results, strict=True)]


def _check_crops(crops: Tensor, count: int, what: str) -> None:
    if count or crops.shape[0]:
        shape = list(check_image(crops, what).shape)
        if shape[0] != count or shape[2] != shape[3]:
            raise MismatchError(f"There are {count} faces and {what} of the shape {shape}; give one square crop for "
                                "each face, in the same order.")


def _check_mask(mask: Tensor | None, count: int) -> Tensor:
    if mask is None:
        return torch.ones(1, 1, 1, 1)
    shape = list(mask.shape)
    mask = mask[:, None] if mask.ndim == 3 else mask
    if mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[0] not in (1, count) or 0 in mask.shape:
        raise InputError(f"The mask must be [N,1,h,w] or [N,h,w] with N = {count} or 1, found {shape}.")
    mask = mask.float()
    low, high = (float(v) for v in torch.aminmax(mask))
    if not (-1e-3 <= low and high <= 1.0 + 1e-3):
        raise InputError(f"The mask has values from {low:.3g} to {high:.3g}; expected 0..1.")
    return mask.clamp(0.0, 1.0)


def _change(base: Tensor, edited: Tensor, face: Face, photo_size: tuple[int, int], mode: PasteMode,
            match_tone: bool) -> Tensor:
    """``[1,4,s,s]``: B - k A and k in the edited crop's size, as ``W`` will carry them into the photo."""
    size = edited.shape[-1]
    base = area_downsample(base, size) if size < base.shape[-1] else resize(base, size)
    difference = edited - base
    if match_tone:
        difference = difference - _tone(difference, face, photo_size)
    if mode == "auto":
        changed = blur(difference.abs().mean(1, keepdim=True), max(1.0, SMOOTH * size))
        keep = torch.exp(-((changed / CHANGE) ** 2))
    else:
        keep = torch.full_like(difference[:, :1], 1.0 if mode == "residual" else 0.0)
    return torch.cat([difference + (1.0 - keep) * base, keep], 1)


def _tone(difference: Tensor, face: Face, photo_size: tuple[int, int]) -> Tensor:
    """Median change ``[1,3,1,1]`` in the frame of the crop, of the part inside the photo; 0 where it is no tone."""
    size = difference.shape[-1]
    ticks = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    m = face.matrix
    place = ticks[None, :, None] * m[:, 0] + ticks[:, None, None] * m[:, 1] + m[:, 2]
    inside = ((place > -0.5) & (place < torch.tensor(photo_size, dtype=torch.float64) - 0.5)).all(-1)
    edge = torch.minimum(ticks, 1.0 - ticks)
    frame = inside & (torch.minimum(edge[None], edge[:, None]) < RING)
    values = difference[0][:, frame.to(difference.device)]
    if values.shape[1] < 16:
        return difference.new_zeros(1, 3, 1, 1)
    tone = values.median(-1).values
    return torch.where(tone.abs() < LARGEST_TONE, tone, 0.0)[None, :, None, None]


def _smooth(distance: Tensor, width: float) -> Tensor:
    """0 on the edge of the square, 1 from ``width`` inwards."""
    if width <= 0.0:
        return (distance > 0.0).float()
    ramp = (distance / width).clamp(0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def _put(source: Picture, target: Picture, total: Tensor, face: Face, others: list[Face], change: Tensor,
         mask: Tensor | None, feather: float, strength: float) -> None:
    """Lay one face's change onto ``target`` and its weight onto ``total`` [1,1,H,W]; strips bound the memory."""
    x0, x1, top, bottom = face.bounds()
    step = max(16, (1 << 22) // max(1, x1 - x0))
    for y0 in range(top, bottom if x1 > x0 else top, step):
        bounds = (x0, x1, y0, min(y0 + step, bottom))
        place = crop_coordinates(face.corners, bounds, change.device)
        distance = edge_distance(place)
        weight = _smooth(distance, feather) * strength
        if others:
            weight = weight * _share(distance, [crop_coordinates(o.corners, bounds, change.device) for o in others])
        if mask is not None:
            weight = weight * spread_square(mask, place, face.side)[0, 0].clamp(0.0, 1.0)
        spread = spread_square(change, place, face.side)
        difference = spread[:, :3] - (1.0 - spread[:, 3:]) * source.read(bounds)
        target.write(bounds, target.read(bounds) + weight * difference, weight > 0.0)
        _part(total, bounds).add_(weight).clamp_(max=1.0)


def _part(total: Tensor, bounds: tuple[int, int, int, int]) -> Tensor:
    x0, x1, y0, y1 = bounds
    return total[0, 0, y0:y1, x0:x1]


def _share(own: Tensor, others: list[Tensor]) -> Tensor:
    """This face's share of each pixel where squares overlap; exactly 1 where only its own lies."""
    mine = own**4
    everybody = mine.clone()
    for place in others:
        everybody = everybody + edge_distance(place) ** 4
    return mine / everybody.clamp_min(1e-20)
