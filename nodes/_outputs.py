"""Files that nodes write: below ComfyUI's output folder, and pictures that may vanish."""

from __future__ import annotations

import uuid
from pathlib import Path

from torch import Tensor

from .. import reganie_core as rc
from . import _host


def list_outputs(folder: str, extensions: tuple[str, ...]) -> list[str]:
    """Relative names of the files below a folder of the output folder, newest first."""
    root = _host.output_directory() / folder
    found = [path for path in root.rglob("*") if path.suffix.lower() in extensions and rc.paths.is_file(path)]
    found.sort(key=lambda path: (-path.stat().st_mtime_ns, path.name))
    return [path.relative_to(root).as_posix() for path in found]


def output_file(folder: str, name: str) -> Path:
    """A file below a folder of the output folder.

    Raises:
        UnsafePathError: a name that leaves the folder.
        NotFoundError: no such file.
    """
    path = rc.paths.safe_join(_host.output_directory() / folder, name)
    if not rc.paths.is_file(path):
        raise rc.errors.NotFoundError(f"There is no file {str(name)[:120]!r} in {_host.output_directory() / folder}.")
    return path


def free_output(folder: str, name: str, extension: str) -> Path:
    """A path for a new file there: ``name_00001`` or the next number; its folders are made.

    Raises:
        UnsafePathError: a name that leaves the folder.
    """
    root = _host.output_directory() / folder
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while (path := rc.paths.safe_join(root, f"{name}_{number:05d}{extension}")).exists():
        number += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def temp_pictures(pictures: list[Tensor], prefix: str) -> list[dict[str, str]]:
    """Pictures ``[3,H,W]`` in [-1,1] as PNG files that may vanish; what the page needs to fetch them."""
    entries = []
    for picture in pictures:
        name = f"{prefix}_{uuid.uuid4().hex}.png"
        rc.images.to_pil(picture[None])[0].save(_host.temp_directory() / name, compress_level=1)
        entries.append({"filename": name, "subfolder": "", "type": "temp"})
    return entries
