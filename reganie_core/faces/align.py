"""From photos to aligned crops."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..errors import InputError, NotFoundError, ReganieWarning
from ..images import LARGEST_PHOTO, clamp
from .choose import Found, as_found, choose
from .cutout import cut_out
from .face import Face
from .fitness import Limits, measure_misfit, problem_with, warn_of_misfit
from .framing import FFHQ, Framing, framing_named
from .picture import Photos, Picture, open_photos
from .points import check_points
from .warp import sample_square

__all__ = ["Aligned", "Detector", "Missing", "align_faces", "align_photos", "find_faces", "make_face"]

Missing = Literal["error", "skip"]
Points = Tensor | Sequence[Tensor] | Sequence[Sequence[Tensor] | Tensor | None]


@runtime_checkable
class Detector(Protocol):
    """What finds faces: ``detect(images [B,3,H,W] in [-1,1])`` gives, for each picture, the faces in its pixels."""

    def detect(self, images: Tensor) -> list[list[Found]]:
        """Every face of every picture; an empty list where there is none."""
        ...


@dataclass(frozen=True)
class Aligned:
    """Aligned crops and where they came from.

    Attributes:
        crops: ``[N,3,size,size]`` in [-1,1], photo by photo and from left to right within one.
        faces: the N faces; ``faces[i].index`` is the photo of crop i.
        found: ``[B]`` bool, whether photo b has at least one crop.
        reasons: for each photo why a face was skipped, or None.
    """

    crops: Tensor
    faces: tuple[Face, ...]
    found: Tensor
    reasons: tuple[str | None, ...]


def make_face(points: Tensor | Sequence[Sequence[float]], photo_size: tuple[int, int], size: int,
              framing: str | Framing = FFHQ, **more: object) -> Face:
    """The face that belongs to points ``[4|5|68,2]`` of a photo (width, height), cut with ``size`` pixels.

    ``more``: Face's ``index``, ``name`` and ``score``. Raises :class:`InputError` for unusable points.
    """
    checked = check_points(points)
    return Face.from_quad(framing_named(framing).quad(checked), size, photo_size, checked, **more)


def align_faces(photos: Photos, faces: Face | Sequence[Face], device: torch.device | str | None = None) -> Tensor:
    """Cut known faces out of their photos (``face.index`` says of which).

    Follows the published FFHQ alignment: shrinking, reflection padding with its blur, subpixel sampling, antialiased.

    Args:
        photos: tensor ``[B,C,H,W]`` in [-1,1] with 1, 3 or 4 channels, PIL images, or a list of either.
        device: where to compute; default: where each photo is.

    Returns:
        ``[N,3,size,size]`` in [-1,1].

    Raises:
        InputError: no face, faces of several crop sizes, a photo of another size than the face's.
    """
    faces = [faces] if isinstance(faces, Face) else list(faces)
    if not faces:
        raise InputError("There is no face to cut out.")
    if len({face.size for face in faces}) > 1:
        raise InputError(f"The faces have several crop sizes: {sorted({face.size for face in faces})}; use one.")
    pictures = open_photos(photos)
    return torch.cat([cut(picture_of(pictures, face), face, device) for face in faces])


def picture_of(pictures: Sequence[Picture], face: Face) -> Picture:
    """The photo of a face, or :class:`InputError` where it is another one."""
    if not 0 <= face.index < len(pictures):
        raise InputError(f"A face belongs to photo {face.index}, but there are {len(pictures)}; give the same photos "
                         "that were aligned.")
    picture = pictures[face.index]
    if picture.size != tuple(face.photo_size):
        raise InputError(f"{picture.name} is {picture.size[0]}x{picture.size[1]}, but the face was found in a photo of "
                         f"{face.photo_size[0]}x{face.photo_size[1]}; give the photo that was aligned.")
    return picture


def cut(picture: Picture, face: Face, device: torch.device | str | None = None) -> Tensor:
    """One crop ``[1,3,size,size]``."""
    with torch.no_grad():
        place = None if device is None else torch.device(device)
        # A picture that came aligned is all there is: the published padding would blur its edges for nothing.
        region, quad = cut_out(picture, face.corners, face.size, place, pad=face.points is not None)
        return clamp(sample_square(region, quad, face.size))


def find_faces(photos: Photos, detector: Detector, names: Sequence[str] | None = None) -> list[list[Found]]:
    """Every face of every photo, in photo pixels, from left to right; one photo at a time."""
    found = []
    with torch.no_grad():
        for picture in open_photos(photos, names):
            faces = detector.detect(picture.read())[0]
            found.append(sorted(faces, key=lambda face: face.centre))
    return found


def align_photos(photos: Photos, size: int | None, *, points: Points | None = None, detector: Detector | None = None,
                 aligned: bool = False, which: str | int = "largest", framing: str | Framing = FFHQ,
                 missing: Missing = "error", limits: Limits | None = None, names: Sequence[str] | None = None,
                 device: torch.device | str | None = None, smallest: int = 64) -> Aligned:
    """Find, choose and cut out faces.

    Args:
        photos: tensor ``[B,C,H,W]`` in [-1,1] with 1, 3 or 4 channels, PIL images, or a list of either. PIL images are
            turned upright by their EXIF orientation first; points belong to the upright picture.
        size: side of the crops; None: the largest face's own in its photo, from ``smallest`` to 2048 pixels, so that
            the photo's detail is kept.
        points: known points, in photo pixels: for one photo ``[K,2]``, ``[N,K,2]`` or a list of faces; for several one
            such entry a photo (None: no face there); K is 4, 5 or 68.
        detector: finds the points where none are given.
        aligned: the photos are aligned already: their largest centred square is taken. With points or a detector
            the misfit is measured and a large one warned of, as is a picture in which no face is found.
        which: see :func:`reganie_core.faces.choose`.
        framing: "ffhq", "portraits" or a :class:`Framing`: which square belongs to the points.
        missing: what happens to a photo without a usable face: "error", or "skip" (no crop, ``found`` is False).
        limits: what is too small, too far in profile, or too far outside.
        names: of the photos, for messages.
        device: where to compute; default: where each photo is.

    Raises:
        InputError: arguments that make no sense; with missing="error" also an unusable face, naming its photo.
        NotFoundError: with missing="error" a photo without a face, naming it.
    """
    if missing not in ("error", "skip"):
        raise InputError(f"missing must be error or skip, found {repr(missing)[:60]}.")
    if not aligned and points is None and detector is None:
        raise InputError("Nothing says where the faces are: give points, a detector, or say that the photos are "
                         "aligned.")
    limits = limits or Limits()
    pictures = open_photos(photos, names)
    given = _points_of(points, len(pictures))
    faces: list[Face] = []
    reasons: list[str | None] = []
    for index, picture in enumerate(pictures):
        known = given[index] if points is not None else _detected(picture, detector)
        if aligned and detector is not None and not known:
            warnings.warn(f"{picture.name} was given as aligned, but no face was found in it.", ReganieWarning,
                          stacklevel=2)
        try:
            own, reason = _faces_of(picture, index, known, size or smallest, aligned, which, framing_named(framing),
                                    limits)
        except NotFoundError as error:
            if missing == "error":
                raise
            own, reason = [], str(error)
        if reason is not None and missing == "error":
            raise InputError(f"{picture.name}: {reason}. Choose another face or photo, or let such photos be skipped.")
        faces += own
        reasons.append(reason)
    if size is None:
        size = max([smallest, *(min(LARGEST_PHOTO, round(face.side)) for face in faces)])
        faces = [replace(face, size=size) for face in faces]
    crops = [cut(pictures[face.index], face, device) for face in faces]
    empty = pictures[0].read((0, 1, 0, 1)).new_zeros(0, 3, size, size)
    found = torch.zeros(len(pictures), dtype=torch.bool)
    found[[face.index for face in faces]] = True
    return Aligned(torch.cat(crops) if crops else empty, tuple(faces), found, tuple(reasons))


def _points_of(points: Points | None, count: int) -> list[list[Found]]:
    """Faces photo by photo."""
    if points is None:
        return [[] for _ in range(count)]
    if count == 1:
        alone = not isinstance(points, Tensor) and len(points) == 1 and not isinstance(points[0], Tensor | Found)
        return [as_found(points[0] if alone else points)]
    if len(points) != count or (isinstance(points, Tensor) and points.ndim == 2):
        raise InputError(f"There are {count} photos; give points for each of them, found {len(points)}.")
    return [as_found(own) for own in points]


def _detected(picture: Picture, detector: Detector | None) -> list[Found]:
    if detector is None:
        return []
    with torch.no_grad():
        return detector.detect(picture.read())[0]


def _faces_of(picture: Picture, index: int, known: list[Found], size: int, aligned: bool, which: str | int,
              framing: Framing, limits: Limits) -> tuple[list[Face], str | None]:
    """The faces of one photo, and why one or all of them were left out."""
    more = {"index": index, "name": picture.name}
    if aligned:
        if known:
            best = choose(known, "largest", picture.size, picture.name)[0]
            warn_of_misfit(measure_misfit(best.points, picture.size, framing), picture.name, stacklevel=5)
        return [Face.whole(picture.size, size, **more)], None
    chosen = choose(known, which, picture.size, picture.name)
    faces = [Face.from_quad(framing.quad(f.points), size, picture.size, f.points, score=f.score, **more)
             for f in chosen]
    problems = [problem_with(face, limits) for face in faces]
    kept = [face for face, problem in zip(faces, problems, strict=True) if problem is None]
    reason = next((problem for problem in problems if problem is not None), None)
    return kept, None if kept and str(which).strip().lower() == "all" else reason


def with_index(faces: Sequence[Face], index: int) -> tuple[Face, ...]:
    """The faces of a photo under another number: for batches worked through in parts."""
    return tuple(replace(face, index=index) for face in faces)
