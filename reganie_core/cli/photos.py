"""``--align`` and ``--paste-back``: photos in, their faces to the editor, the edited faces back into the photos."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NotFoundError
from .common import Source, load_sources

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..domains import Domain
    from ..faces import Aligned, Detector

__all__ = ["Work", "add_align", "load_work"]


def add_align(parser: argparse.ArgumentParser) -> None:
    """``--align`` and what belongs to it."""
    group = parser.add_argument_group("faces in photos")
    group.add_argument("--align", default="none", metavar="auto|none|FILE",
                       help="auto: find the faces with --detector; FILE: points, one face a line: x,y of the eye on "
                            "the left, the eye on the right, (nose,) the mouth corner on the left, on the right; a "
                            "folder of PHOTO.txt for several photos; none: the picture is aligned (default)")
    group.add_argument("--detector", metavar="FILE",
                       help="face detector: kornia's yunet_final.pth, a mediapipe .task, an insightface folder")
    group.add_argument("--face", default="largest", metavar="WHICH",
                       help="largest, left, centre, all, ..., a number from the left, or @x,y (default: largest)")
    group.add_argument("--missing", choices=("error", "skip"), default="error",
                       help="what to do with a photo without a usable face (default: stop with an error)")
    group.add_argument("--paste-back", action="store_true", help="put the edited face back into the whole photo")


@dataclass
class Work:
    """What is edited, and how the results become pictures again; one result for each photo, None where skipped."""

    sources: list[Source]
    photos: list[Image.Image] = field(default_factory=list)
    aligned: Aligned | None = None
    paste_back: bool = False

    def results(self, edited: Tensor, unedited: Tensor) -> list[Any]:
        """The pictures to save for the edited crops ``[N,3,s,s]`` and what the networks make of the unedited ones."""
        if self.aligned is None:
            return list(edited)
        from ..faces import paste_faces

        if self.paste_back:
            return list(paste_faces(self.photos, edited, self.aligned.faces, reference=unedited).photos)
        found: list[Any] = [None] * len(self.photos)
        for face, crop in zip(self.aligned.faces, edited, strict=True):
            found[face.index] = crop
        return found


def load_work(args: argparse.Namespace, domain: Domain) -> Work:
    """The pictures to edit, aligned if that was asked for.

    Raises:
        InputError, NotFoundError: options that do not go together, a file that is not there, a photo without a face.
    """
    size = domain.generator.resolution  # type: ignore[union-attr]
    from ..images import LARGEST_PHOTO

    largest = LARGEST_PHOTO if getattr(args, "output", "") == "photo" else None
    if args.align == "none":
        if args.paste_back or args.detector:
            raise InputError("--paste-back and --detector need --align auto or --align FILE: nothing is cut out of an "
                             "aligned picture.")
        return Work(load_sources(args.photo, size, args.fit, largest))
    from ..faces import align_photos
    from ..images import open_picture

    photos = [open_picture(spec) for spec in args.photo]
    points = None if args.align == "auto" else _points(args.align, args.photo)
    names = [Path(spec).name for spec in args.photo]
    aligned = align_photos(
        photos, None if largest else size, smallest=size, points=points,
        detector=_detector(args) if points is None else None, which=args.face,
        missing=args.missing, names=names, framing="portraits" if domain.name == "portraits" else "ffhq")
    if not aligned.faces:
        raise NotFoundError(f"None of the {len(photos)} photos has a usable face; nothing was written.")
    if len(aligned.faces) > int(aligned.found.sum()) and not args.paste_back:
        raise InputError("Several faces of one photo go back into it together: add --paste-back, or choose one --face.")
    sources = [Source(args.photo[face.index], Path(args.photo[face.index]).stem, aligned.crops[i : i + 1])
               for i, face in enumerate(aligned.faces)]
    return Work(sources, photos, aligned, args.paste_back)


def _detector(args: argparse.Namespace) -> Detector:
    from ..faces import load_detector

    if not args.detector:
        raise InputError("--align auto needs a face detector: add --detector yunet_final.pth (kornia's YuNet), or give "
                         "the points with --align FILE.")
    return load_detector(args.detector, args.device)


def _points(place: str, photos: list[str]) -> list[list[Tensor] | None]:
    """The faces of each photo from a file, or from a folder with one file a photo (none: no face)."""
    from ..faces import parse_points

    folder = Path(place)
    if folder.is_dir():
        files = [folder / f"{Path(photo).stem}.txt" for photo in photos]
    elif len(photos) == 1:
        files = [folder]
    else:
        raise InputError(f"There are {len(photos)} photos: give a folder with a PHOTO.txt for each of them to --align.")
    found: list[list[Tensor] | None] = []
    for file in files:
        if not file.is_file():
            if not folder.is_dir():
                raise NotFoundError(f"There are no points at {file}. Give a text file, or auto or none.")
            found.append(None)
            continue
        try:
            found.append(parse_points(file.read_text(encoding="utf-8", errors="replace")))
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from error
    return found
