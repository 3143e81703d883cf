"""``--align`` and ``--paste-back``: photos in, their faces to the editor, the edited faces back into the photos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NotFoundError
from ..paths import read_text
from .common import Source, load_source

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..domains import Domain
    from ..faces import Aligned, Detector

__all__ = ["Photos", "Work", "add_align", "points_files"]


def add_align(parser: argparse.ArgumentParser) -> None:
    """``--align`` and what belongs to it."""
    group = parser.add_argument_group("faces in photos")
    group.add_argument("--align", default="none", metavar="auto|none|FILE",
                       help="auto: find the faces; FILE: points, one face a line: x,y of the eye on "
                            "the left, the eye on the right, (nose,) the mouth corner on the left, on the right; a "
                            "folder of PHOTO.txt for several photos (FOLDER/PHOTO.txt where two have one name); none: "
                            "the picture is aligned (default)")
    group.add_argument("--detector", metavar="FILE",
                       help="another face detector than the packaged one: kornia's yunet_final.pth, a mediapipe .task, "
                            "an insightface folder")
    group.add_argument("--face", default="largest", metavar="WHICH",
                       help="largest, left, centre, all, ..., a number from the left, or @x,y (default: largest)")
    group.add_argument("--missing", choices=("error", "skip"), default="error",
                       help="what to do with a photo without a usable face (default: it counts as failed)")
    group.add_argument("--paste-back", action="store_true", help="put the edited face back into the whole photo")


@dataclass
class Work:
    """One photo: what of it is edited, and how the results become a picture again."""

    sources: list[Source]
    photo: Image.Image | None = None
    aligned: Aligned | None = None
    paste_back: bool = False

    def result(self, edited: Tensor, unedited: Tensor) -> Any:
        """The picture to save for the edited crops ``[N,3,s,s]`` and what the networks make of the unedited ones."""
        if self.aligned is None:
            return edited[0]
        from ..colours import profile_of
        from ..faces import paste_faces
        from ..images import to_pil

        if self.paste_back:
            return paste_faces(self.photo, edited, self.aligned.faces, reference=unedited).photos
        crop = to_pil(edited)[0]
        if profile := profile_of(self.photo, "RGB"):        # its numbers are those of the photo
            crop.info["icc_profile"] = profile
        return crop

    def without_faces(self) -> Any:
        """The picture to save where no face is usable and that is allowed: the photo as it was, or none."""
        return self.result(self.aligned.crops, self.aligned.crops) if self.paste_back and self.aligned else None


class Photos:
    """The photos of a command, read one at a time.

    Raises:
        InputError, NotFoundError: options that do not go together, or a detector or points that are not there.
    """

    def __init__(self, args: argparse.Namespace, domain: Domain) -> None:
        from ..images import LARGEST_PHOTO

        self.args, self.size = args, domain.generator.resolution
        self.largest = LARGEST_PHOTO if getattr(args, "output", "") == "photo" else None
        self.framing = domain.framing
        self.detector: Detector | None = None
        self.points: dict[str, Path] = {}
        if args.align == "none":
            if args.paste_back or args.detector:
                raise InputError("--paste-back and --detector need --align auto or --align FILE: nothing is cut out of "
                                 "an aligned picture.")
        elif args.align == "auto":
            self.detector = _detector(args)
        else:
            self.points = points_files(args.align, args.photo)

    def take(self, spec: str, target: Path) -> Work:
        """Read and align one photo whose result goes to ``target``.

        Raises:
            InputError, NotFoundError: a file that is not there or no picture, a photo without a face, a result that
                ``target`` cannot hold.
        """
        args = self.args
        if args.align == "none":
            return Work([load_source(spec, self.size, args.fit, self.largest)])
        from ..faces import align_photos
        from ..faces.picture import pasted_mode
        from ..images import check_target, open_picture

        photo = open_picture(spec)
        if args.paste_back:
            check_target(target, pasted_mode(photo), photo.size)
        points = None if self.detector else _read_points(self.points[spec]) if spec in self.points else []
        aligned = align_photos(photo, None if self.largest else self.size, smallest=self.size, points=points,
                               detector=self.detector, which=args.face, framing=self.framing,
                               missing=args.missing, names=[Path(spec).name])
        if len(aligned.faces) > 1 and not args.paste_back:
            raise InputError("Several faces of one photo go back into it together: add --paste-back, or choose one "
                             "--face.")
        sources = [Source(spec, Path(spec).stem, aligned.crops[i : i + 1]) for i in range(len(aligned.faces))]
        return Work(sources, photo, aligned, args.paste_back)


def _detector(args: argparse.Namespace) -> Detector:
    from ..faces import PACKAGED_DETECTOR, load_detector

    return load_detector(args.detector or PACKAGED_DETECTOR, args.device)


def points_files(place: str, photos: Sequence[str]) -> dict[str, Path]:
    """The points file of each photo that has one: ``place`` itself, or in the folder ``place`` what is there of
    FOLDER/PHOTO.txt and PHOTO.txt, with PHOTO the photo's name with or without its ending, FOLDER its folder's name.

    Raises:
        InputError: several photos and one file, or several photos whose points would be the same file.
    """
    folder = Path(place)
    if not folder.is_dir():
        if len(photos) > 1:
            raise InputError(f"There are {len(photos)} photos: give a folder with a PHOTO.txt for each of them to "
                             "--align.")
        return {photos[0]: folder}
    found: dict[str, Path] = {}
    users: dict[Path, Path] = {}
    for spec in photos:
        photo = Path(spec).resolve()
        names = [f"{photo.name}.txt", f"{photo.stem}.txt"]
        files = [folder / photo.parent.name / name for name in names] + [folder / name for name in names]
        file = next((file for file in files if file.is_file()), None)
        if file is None:        # no face in this one, or the other photos' faces only
            continue
        other = users.setdefault(file, photo)
        if other != photo:
            raise InputError(f"{other} and {photo} would both take their points from {file}. Give each its own: "
                             f"{_own(folder, other, photo)}.")
        found[spec] = file
    return found


def _own(folder: Path, *photos: Path) -> str:
    """Names of points files that no two of these photos share."""
    apart = len({photo.parent.name for photo in photos}) == len(photos)
    return " and ".join(str(folder / p.parent.name / f"{p.stem}.txt" if apart else folder / f"{p.name}.txt")
                        for p in photos)


def _read_points(file: Path) -> list[Tensor]:
    """The faces in a points file."""
    from ..faces import parse_points

    if not file.is_file():
        raise NotFoundError(f"There are no points at {file}. Give a text file, or auto or none.")
    try:
        return parse_points(read_text(file))
    except InputError as error:
        raise InputError(f"{file.name}: {error}") from error
