"""Where training pictures come from: a folder, a zip file, or tar shards."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from reganie_core.errors import InputError, NotFoundError

from .files import FolderPictures, ZipPictures
from .pictures import Pictures
from .shards import TarPictures

__all__ = ["FolderPictures", "Pictures", "TarPictures", "ZipPictures", "first", "numbers", "open_pictures"]


def open_pictures(path: str | Path, resolution: int, seed: int = 0, lanes: int = 1,
                  cache: str | Path | None = None) -> Pictures:
    """The pictures at `path`, decoded to squares of `resolution` pixels.

    Args:
        path: a folder of pictures, a folder of .tar shards, a .zip, a .tar, or a pattern such as "data/ffhq-*.tar".
        lanes: shards read side by side; the number of groups a batch is dealt out in, see `distributed.shares`.
        cache: folder in which the number of pictures per shard is remembered.

    Raises:
        NotFoundError: there is nothing.
        InputError: nothing in it is a picture, or it cannot be read.
    """
    path = Path(path)
    folder = Path(cache) if cache else None
    if any(c in path.name for c in "*?["):
        shards = sorted(path.parent.glob(path.name))
        if not shards:
            raise NotFoundError(f"No file matches {path}.")
        return TarPictures(shards, resolution, seed, lanes, cache=folder)
    if not path.exists():
        raise NotFoundError(f"There is no folder or file {path}; images= names a folder of pictures, a .zip, a .tar or "
                            "a pattern of tar shards.")
    if path.is_dir():
        shards = sorted(path.glob("*.tar"))
        if shards:
            return TarPictures(shards, resolution, seed, lanes, cache=folder)
        return FolderPictures(path, resolution)
    if path.suffix.lower() == ".zip":
        return ZipPictures(path, resolution)
    if path.suffix.lower() == ".tar":
        return TarPictures([path], resolution, seed, lanes, cache=folder)
    raise InputError(f"{path} is neither a folder nor a .zip or .tar file of pictures.")


def first(source: object, count: int) -> Tensor:
    """Numbers of the first pictures, at most `count`: always the same ones."""
    return torch.arange(count if getattr(source, "sequential", False) else min(count, len(source)))  # type: ignore[arg-type]


def numbers(source: object, seen: int, batch: int, random: torch.Generator) -> Tensor:
    """Which pictures the batch at image number `seen` takes: random ones, or the next ones of a shuffled stream."""
    if getattr(source, "sequential", False):
        return seen + torch.arange(batch)
    return torch.randint(len(source), (batch,), generator=random)  # type: ignore[arg-type]
