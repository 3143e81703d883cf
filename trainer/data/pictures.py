"""What every source of pictures shares: decoding, cropping to a square, batches, and what happens to bad ones."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from reganie_core import picture_files
from reganie_core.errors import InputError, ReganieWarning

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".ppm")
LARGEST_FILE = picture_files.LARGEST_FILE
BAD_SHARE, BAD_FEW = 0.01, 10    # more unreadable pictures than both end the run
WORKERS = min(8, os.cpu_count() or 1)


def is_picture(name: str) -> bool:
    """Whether a file name looks like a picture; hidden files and macOS leftovers do not."""
    parts = name.replace("\\", "/").split("/")
    return name.lower().endswith(SUFFIXES) and not any(p.startswith(".") or p == "__MACOSX" for p in parts)


def decode(data: bytes, name: str, resolution: int) -> np.ndarray:
    """An encoded picture -> uint8 [3,R,R]: read as for inference, then its centre square, antialiased.

    Raises InputError for bytes that are no picture, and for one whose shorter side is below R (enlarged pictures would
    teach the network blur).
    """
    picture = picture_files.decode(data, name, about=resolution)
    if min(picture.size) < resolution:
        raise InputError(f"{name} is {picture.width}x{picture.height}, smaller than the {resolution} px to train at.")
    try:
        image = picture_files.to_rgb(ImageOps.exif_transpose(picture))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side != resolution:
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box)
    elif image.size != (side, side):
        image = image.crop(box)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


class Pictures(ABC):
    """Pictures by number, decoded by a few threads when they are asked for; nothing is kept in memory.

    A picture that cannot be used is named in a warning and replaced by its neighbour, so that one damaged file does not
    end a run of days; more than 1 % of the pictures seen (and more than ten) do, which `trouble` then says: the loop
    ends after the step, with everything saved. Each counts once, however often it is drawn.
    """

    sequential = False               # True: numbers are positions in an endless stream that is already shuffled

    def __init__(self, resolution: int) -> None:
        self.resolution = resolution
        self.trouble = ""                        # why a run should end after this step
        self._bad: dict[str, str] = {}           # name -> what is wrong with it
        self._read = 0
        self._pool: ThreadPoolExecutor | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of pictures."""

    @abstractmethod
    def where(self) -> str:
        """Which folder, file or shards they come from, for messages."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What picture `index` is called in messages; no other picture of this source is called so."""

    @abstractmethod
    def fetch(self, index: int) -> bytes:
        """Encoded bytes of picture `index`; raises InputError when it cannot be read."""

    def neighbour(self, index: int) -> int:
        """Who stands in for a picture that cannot be used."""
        return (index + 1) % len(self)

    def to(self, device: str | torch.device) -> Pictures:
        """Itself: decoding happens on the CPU."""
        return self

    def picture(self, index: int) -> np.ndarray:
        """uint8 [3,R,R] of picture `index`, or of the next one that can be read."""
        self._read += 1
        problem = ""
        for _ in range(BAD_FEW + 1):
            try:
                return decode(self.fetch(index), self.name(index), self.resolution)
            except InputError as error:
                problem = str(error)
                self._note(self.name(index), problem)
                index = self.neighbour(index)
        raise InputError(f"{BAD_FEW + 1} pictures in a row cannot be used. The last one: {problem} Repair or "
                         "remove them.")

    def _note(self, name: str, problem: str) -> None:
        if name in self._bad:
            return
        self._bad[name] = problem
        warnings.warn(f"{problem} Another picture takes its place.", ReganieWarning, stacklevel=3)
        if len(self._bad) <= BAD_FEW or self.trouble:
            return
        seen = max(min(self._read, len(self)), len(self._bad))
        if len(self._bad) > BAD_SHARE * seen:
            self.trouble = (f"{len(self._bad)} of {seen} pictures cannot be used, the last one because: {problem} "
                            "Repair or remove them.")

    def batch(self, indices: Tensor, mirror: Tensor | None = None) -> Tensor:
        """Images [B,3,R,R] in [-1,1]; rows where `mirror` is true are flipped left-right."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WORKERS)
        arrays = list(self._pool.map(self.picture, indices.tolist()))
        x = torch.from_numpy(np.stack(arrays)).float().div_(127.5).sub_(1.0)
        if mirror is not None:
            x = torch.where(mirror.cpu()[:, None, None, None], x.flip(-1), x)
        return x

    def spread(self, count: int) -> list[int]:
        """Numbers of `count` different pictures from all over the source, or of all where it holds fewer."""
        count = min(count, len(self))
        return [number * len(self) // count for number in range(count)]

    def check(self, sample: int = 32) -> None:
        """Decode pictures spread over the source; raise InputError when more than a tenth of them cannot be used."""
        problems: dict[str, str] = {}
        looked: set[str] = set()
        for index in self.spread(sample):
            name = self.name(index)
            if name in looked:               # a stream of few pictures begins again
                continue
            looked.add(name)
            try:
                decode(self.fetch(index), name, self.resolution)
            except InputError as error:
                problems[name] = str(error)
        if len(problems) > len(looked) / 10:
            first = next(iter(problems.values()))
            raise InputError(f"{len(problems)} of {len(looked)} pictures looked at cannot be used; the first: {first} "
                             "Repair the data, or choose a smaller resolution.")
