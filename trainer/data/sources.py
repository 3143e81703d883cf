"""Where training pictures come from: a folder, a zip file, or tar shards."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from reganie_core.errors import InputError, NotFoundError, ReganieWarning

from .files import FolderPictures, ZipPictures, picture_names
from .pictures import Pictures
from .shards import TarPictures

__all__ = ["FolderPictures", "Pictures", "TarPictures", "ZipPictures", "first", "open_pictures"]


def open_pictures(path: str | Path, resolution: int, seed: int = 0, lanes: int = 1,
                  cache: str | Path | None = None) -> Pictures:
    """The pictures at `path`, decoded to squares of `resolution` pixels.

    Args:
        path: a folder of pictures (its subfolders and links included), a folder of .tar shards, a .zip, a .tar, or a
            pattern such as "data/ffhq-*.tar"; a folder or file of just that name wins over the pattern.
        lanes: shards read side by side; the number of groups a batch is dealt out in, see `distributed.shares`.
        cache: folder in which the number of pictures per shard is remembered.

    Raises:
        NotFoundError: there is nothing.
        InputError: nothing in it is a picture, or it cannot be read.
    """
    path = Path(path)
    folder = Path(cache) if cache else None

    def shards(paths: list[Path]) -> Pictures:
        return TarPictures(paths, resolution, seed, lanes, cache=folder)

    if not path.exists():           # what is there wins over what it would mean as a pattern: "faces [cropped]", "me?"
        if any(c in path.name for c in "*?["):
            return shards(_matching(path))
        raise NotFoundError(f"There is no folder or file {path}; images= names a folder of pictures, a .zip, a .tar or "
                            "a pattern of tar shards.")
    if path.is_dir():
        return _folder(path, resolution, shards)
    if path.suffix.lower() == ".zip":
        return ZipPictures(path, resolution)
    if path.suffix.lower() == ".tar":
        return shards([path])
    raise InputError(f"{path} is neither a folder nor a .zip or .tar file of pictures.")


def _matching(pattern: Path) -> list[Path]:
    """The tar shards of a pattern."""
    found = sorted(pattern.parent.glob(pattern.name))
    if not found:
        raise NotFoundError(f"No file matches {pattern}.")
    if other := [p for p in found if p.suffix.lower() != ".tar"]:
        raise InputError(f"{pattern} also matches {other[0]}, which is no .tar: a pattern names tar shards. Give the "
                         "folder instead to train on the pictures in it.")
    return found


def _folder(path: Path, resolution: int, shards: Callable[[list[Path]], Pictures]) -> Pictures:
    """The pictures below a folder or the tar shards in it: what there are more files of; the rest is warned of."""
    tars = sorted(p for p in path.iterdir() if p.suffix.lower() == ".tar" and p.is_file())
    if not tars:
        return FolderPictures(path, resolution)
    names = picture_names(path)
    if len(names) >= len(tars):
        warnings.warn(f"{path} holds {len(names)} pictures and {len(tars)} .tar; the pictures are used. For the tar "
                      f"name {path / '*.tar'}.", ReganieWarning, stacklevel=3)
        return FolderPictures(path, resolution)
    if names:
        warnings.warn(f"{path} holds {len(tars)} .tar and {len(names)} pictures; the shards are used. For the pictures "
                      "put them into a folder of their own.", ReganieWarning, stacklevel=3)
    return shards(tars)


def first(source: object, count: int) -> Tensor:
    """Numbers of the first pictures, at most `count`: always the same ones."""
    return torch.arange(count if getattr(source, "sequential", False) else min(count, len(source)))  # type: ignore[arg-type]
