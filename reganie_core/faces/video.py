"""Frames in a row: points and codes smoothed over time, a flicker measure, and a loop whose memory stays flat.

Landmarks found frame by frame jitter by a pixel or so, and so would every aligned crop (Tzaban et al. 2022, "Stitch
it in Time", section 3.1). Smoothing the points before cutting removes it at its source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

import torch
from torch import Tensor

from ..errors import InputError, NotFoundError
from .align import Detector, Missing, align_faces, make_face
from .choose import choose
from .face import Face
from .fitness import Limits, problem_with
from .framing import FFHQ, Framing
from .paste import PasteMode, paste_faces
from .picture import Photo, Picture

__all__ = ["Track", "edit_frames", "flicker", "follow", "smooth", "track_faces"]

GAUSSIAN_REACH = 4.0
Change = Callable[[Tensor], Tensor | tuple[Tensor, Tensor]]


def smooth(values: Tensor, sigma: float, valid: Tensor | None = None) -> Tensor:
    """Gaussian over the first dimension, without lag; for points ``[T,K,2]``, codes ``[T,num_ws,w_dim]``, anything.

    Args:
        sigma: standard deviation in frames; 0 changes nothing but missing frames.
        valid: ``[T]`` bool; frames that are False count nothing and are filled from their neighbours in time, linearly.
            At the ends the weights are normalised, so a constant stays itself.

    Raises:
        InputError: no frames, a wrong sigma, or none of them valid.
    """
    frames = values.shape[0] if values.ndim else 0
    if not frames or not math.isfinite(sigma) or sigma < 0:
        raise InputError(f"Smoothing needs frames and a sigma of at least 0, found {frames} frames and {sigma}.")
    valid = torch.ones(frames, dtype=torch.bool) if valid is None else valid.bool().cpu()
    if valid.shape != (frames,) or not bool(valid.any()):
        raise InputError("No frame has anything to smooth; at least one must be valid.")
    flat = _filled(values.reshape(frames, -1).double(), valid)
    if sigma > 0:
        time = torch.arange(frames, dtype=torch.float64)
        result = torch.empty_like(flat)
        for start in range(0, frames, 512):  # the weights of long clips do not fit a square matrix
            some = time[start : start + 512]
            low = max(0, start - math.ceil(GAUSSIAN_REACH * sigma))
            high = min(frames, start + len(some) + math.ceil(GAUSSIAN_REACH * sigma))
            weights = torch.exp(-0.5 * ((some[:, None] - time[None, low:high]) / sigma) ** 2)
            weights = (weights / weights.sum(1, keepdim=True)).to(flat.device)
            result[start : start + 512] = weights @ flat[low:high]
        flat = result
    return flat.view(values.shape).to(values.dtype)


def _filled(flat: Tensor, valid: Tensor) -> Tensor:
    """Missing rows of [T,D] interpolated linearly from their neighbours; the nearest one beyond the ends."""
    if bool(valid.all()):
        return flat
    known = valid.nonzero()[:, 0]
    time = torch.arange(len(flat))
    after = torch.searchsorted(known, time).clamp_max(len(known) - 1)
    before = (torch.searchsorted(known, time, right=True) - 1).clamp_min(0)
    low, high = known[before], known[after]
    share = torch.where(high > low, (time - low).double() / (high - low).clamp_min(1), 0.0)[:, None].to(flat.device)
    return flat[low.to(flat.device)] * (1.0 - share) + flat[high.to(flat.device)] * share


@dataclass(frozen=True)
class Track:
    """One face through a clip.

    Attributes:
        faces: one a frame (``index`` is the frame), None where the frame is left alone.
        found: ``[T]`` bool, where the face was really found.
        reasons: why a frame is missing, or None.
    """

    faces: tuple[Face | None, ...]
    found: Tensor
    reasons: tuple[str | None, ...]


def track_faces(points: Sequence[Tensor | None], photo_size: tuple[int, int], size: int, *, sigma: float = 2.0,
                framing: str | Framing = FFHQ, missing: Missing | str = "skip", longest_gap: int = 12,
                limits: Limits | None = None, reasons: Sequence[str | None] | None = None) -> Track:
    """Faces of one person in T frames from points ``[K,2]`` found frame by frame (None: not found).

    Args:
        photo_size: (width, height) of the frames.
        size: side of the crops.
        sigma: smoothing in frames; 0 for none.
        missing: frames without a face: "error"; "skip" leaves them alone; "hold" fills gaps of up to ``longest_gap``
            frames from the neighbours in time and skips longer ones.
        limits: what is refused, as a missing face is.
        reasons: known reasons for missing frames, for messages.

    Raises:
        InputError: an unknown choice, points of several kinds, or with missing="error" an unusable face.
        NotFoundError: with missing="error" a frame has no face; it is named.
    """
    if missing not in ("error", "skip", "hold"):
        raise InputError(f"missing must be error, skip or hold, found {repr(missing)[:60]}.")
    limits, why = limits or Limits(), list(reasons or [None] * len(points))
    for frame, own in enumerate(points):
        if own is None:
            why[frame] = why[frame] or "no face was found"
        else:
            why[frame] = problem_with(make_face(own, photo_size, size, framing), limits)
        if why[frame] is not None and missing == "error":
            kind = NotFoundError if own is None else InputError
            raise kind(f"Frame {frame}: {why[frame]}. Let such frames be skipped or held, or give their points.")
    found = torch.tensor([reason is None for reason in why])
    if not bool(found.any()):           # nothing to hold on to; skipped like any other
        return Track((None,) * len(points), found, tuple(why))
    known = [p for p, ok in zip(points, found.tolist(), strict=True) if ok and p is not None]
    if len({len(p) for p in known}) > 1:
        raise InputError("The frames have faces with different numbers of points; use one kind.")
    blank = torch.zeros_like(torch.as_tensor(known[0], dtype=torch.float64))
    stacked = torch.stack([torch.as_tensor(p, dtype=torch.float64) if ok else blank
                           for p, ok in zip(points, found.tolist(), strict=True)])
    stacked = smooth(stacked, sigma, found)
    wanted = _without_long_gaps(found, longest_gap) if missing == "hold" else found
    faces = tuple(make_face(stacked[t], photo_size, size, framing, index=t, name=f"frame {t}") if wanted[t] else None
                  for t in range(len(points)))
    return Track(faces, found, tuple(why))


def _without_long_gaps(found: Tensor, longest: int) -> Tensor:
    """Frames to be used when gaps of up to ``longest`` frames between (or beside) found ones are filled."""
    known = found.nonzero()[:, 0].tolist()
    used = found.clone()
    for a, b in zip([-1, *known], [*known, len(found)], strict=True):
        if b - a - 1 <= longest:
            used[a + 1 : b] = True
    return used


def follow(frames: Iterable[Photo], detector: Detector, which: str | int = "largest",
           progress: Callable[[int], None] | None = None) -> tuple[list[Tensor | None], list[str | None]]:
    """Points of one face in every frame: the chosen one in the first frame that has one, then the nearest to it.

    Returns points (None where none was found) and reasons. A face further than its own square's half side from where
    it was is another one.
    """
    points: list[Tensor | None] = []
    reasons: list[str | None] = []
    last = None
    for index, frame in enumerate(frames):
        picture = Picture(frame, f"frame {index}")
        with torch.no_grad():
            found = detector.detect(picture.read())[0]
        own, reason = None, "no face was found"
        if found and last is None:
            own = choose(found, which, picture.size, picture.name)[0]
        elif found and last is not None:
            before = last.centre
            nearest = min(found, key=lambda face: math.dist(face.centre, before))
            near = math.dist(nearest.centre, before) < 0.5 * last.side
            own, reason = (nearest, None) if near else (None, "the face went out of sight")
        last = own or last
        points.append(None if own is None else own.points)
        reasons.append(None if own is not None else reason)
        if progress is not None:
            progress(index)
    return points, reasons


def edit_frames(frames: Iterable[Photo], faces: Iterable[Face | None], change: Change, *,
                chunk: int = 8, mode: PasteMode = "auto", feather: float = 0.08) -> Iterator[Photo]:
    """Every frame with its face changed, one after the other; frames whose face is None come back as they are.

    Only ``chunk`` frames are held at a time, whatever the clip's length, and the next ones are read when they are
    asked for: stopping early costs nothing.

    Args:
        frames: tensors ``[C,H,W]`` in [-1,1] or PIL images; a generator will do.
        faces: as many; their ``index`` does not matter here.
        change: crops ``[n,3,size,size]`` in [-1,1] to edited crops ``[n,3,s,s]``, n <= chunk; or to a pair of these and
            their unedited counterparts (see ``reference`` of :func:`paste_faces`).
        mode, feather: see :func:`paste_faces`.

    Raises:
        InputError: fewer or more faces than frames.
    """
    pairs = _pairs(frames, faces)
    while part := list(islice(pairs, max(1, chunk))):
        own = [replace(face, index=i) for i, (_, face) in enumerate(part) if face is not None]
        photos = [photo for photo, _ in part]
        if own:
            made = change(align_faces(photos, own))
            edited, reference = made if isinstance(made, tuple) else (made, None)
            if edited.shape[0] != len(own):
                raise InputError(f"{len(own)} crops came back as {edited.shape[0]}; an edit keeps their number.")
            pasted = paste_faces(photos, edited, own, mode=mode, feather=feather, reference=reference)
            photos = cast(list[Photo], pasted.photos)  # a list gives a list
            del made, edited, reference, pasted
        del part
        yield from photos


def _pairs(frames: Iterable[Photo], faces: Iterable[Face | None]) -> Iterator[tuple[Photo, Face | None]]:
    try:
        yield from zip(frames, faces, strict=True)
    except ValueError as error:
        if "zip()" not in str(error):
            raise
        raise InputError("There are not as many faces as frames; give one a frame, None for none.") from error


def flicker(frames: Tensor) -> Tensor:
    """How much a clip flickers: mean |x(t-1) - 2 x(t) + x(t+1)| over ``[T,C,H,W]``, a 0-dimensional tensor.

    Steady motion of smooth pictures gives little, jitter gives much. Compare clips of the same content only: aligned
    crops (:func:`align_faces` with smoothed faces), or whole frames before and after.

    Raises:
        InputError: fewer than three frames.
    """
    if frames.ndim != 4 or frames.shape[0] < 3:
        raise InputError(f"Flicker needs at least three frames [T,C,H,W], found {list(frames.shape)}.")
    total = frames.new_zeros((), dtype=torch.float64)
    for t in range(1, frames.shape[0] - 1):
        total = total + (frames[t - 1] - 2.0 * frames[t] + frames[t + 1]).abs().mean(dtype=torch.float64)
    return total / (frames.shape[0] - 2)
