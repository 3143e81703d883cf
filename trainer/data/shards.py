"""Pictures in tar shards, read as one endless shuffled stream with memory that does not grow with the data.

The stream is a function of (seed, position), so nothing has to be saved but the number of pictures seen, and neither a
restart nor another number of processes changes it. Position p belongs to lane p mod `lanes`; each lane owns every
`lanes`-th shard and shuffles by itself: its shards in a new order every epoch, and the pictures within a window of a
few consecutive shards. The processes' rows of a batch fall into different lanes, so each process opens its own shards.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from reganie_core.errors import InputError
from reganie_core.paths import atomic_write

from ..loop.randomness import generator_at
from .pictures import LARGEST_FILE, SUFFIXES, Pictures, is_picture

WINDOW = 4           # shards whose pictures are mixed with each other
OPEN_SHARDS = 32     # files and tables of contents held at a time


def contents(path: Path) -> np.ndarray:
    """Offsets and sizes [n,2] of the pictures in a tar file; only the headers are read."""
    found = []
    try:
        with tarfile.open(path, "r:") as file:
            while (member := file.next()) is not None:
                if member.isreg() and is_picture(member.name) and 0 < member.size <= LARGEST_FILE:
                    found.append((member.offset_data, member.size))
                file.members = []            # tarfile would keep every header
    except (tarfile.TarError, OSError, EOFError) as error:
        hint = " Compressed tar files cannot be read at random: unpack them to .tar." if ".tar." in path.name else ""
        raise InputError(f"{path} cannot be read as a tar file: {error}.{hint} Copy it again or remove it.") from error
    return np.asarray(found, dtype=np.int64).reshape(-1, 2)


def _remembered(known: object, name: str, size: int, time: int) -> int:
    """The number of pictures that a cache has for a shard of this size and time; 0 when it has none."""
    entry = known.get(name) if isinstance(known, dict) else None
    fits = isinstance(entry, list) and len(entry) == 3 and entry[:2] == [size, time] and type(entry[2]) is int
    return entry[2] if fits and 0 < entry[2] <= size // 512 else 0      # a member takes at least a header


class TarPictures(Pictures):
    """See the module. `cache` is a folder in which the number of pictures per shard is remembered."""

    sequential = True

    def __init__(self, paths: list[Path], resolution: int, seed: int = 0, lanes: int = 1, window: int = WINDOW,
                 cache: Path | None = None) -> None:
        super().__init__(resolution)
        self.paths, self.seed, self.window, self.cache = sorted(paths), seed, window, cache
        if not self.paths:
            raise InputError("No tar files were given.")
        self.lanes = max(n for n in range(1, lanes + 1) if lanes % n == 0 and n <= len(self.paths))
        self._counts: dict[int, list[int]] = {}                           # lane -> pictures per shard
        self._tables: OrderedDict[Path, tuple[int, np.ndarray]] = OrderedDict()      # open file, contents
        self._windows: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return sum(sum(self.counts(lane)) for lane in range(self.lanes))

    def where(self) -> str:
        return str(self.paths[0]) if len(self.paths) == 1 else f"{len(self.paths)} shards in {self.paths[0].parent}"

    def neighbour(self, index: int) -> int:
        return index + self.lanes

    def spread(self, count: int) -> list[int]:
        return list(range(count))

    def shards(self, lane: int) -> list[Path]:
        return self.paths[lane::self.lanes]

    def counts(self, lane: int) -> list[int]:
        """Pictures in each shard of a lane: from the cache where names, sizes and times agree, else counted."""
        if lane in self._counts:
            return self._counts[lane]
        stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in self.shards(lane)]
        file = self.cache / f"shards_{lane}_of_{self.lanes}.json" if self.cache else None
        known: dict[str, list[int]] = {}
        if file is not None and file.exists():
            try:
                known = json.loads(file.read_text(encoding="utf-8"))
            except (ValueError, RecursionError):
                pass                     # half of a file that something else wrote: count again
        found = {name: [size, time, _remembered(known, name, size, time) or len(contents(Path(name)))]
                 for name, size, time in stats}
        if file is not None and found != known:
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as temporary:
                temporary.write_bytes(json.dumps(found).encode())
        counts = [found[name][2] for name, _, _ in stats]
        if not sum(counts):
            raise InputError(f"{stats[0][0]} and {len(stats) - 1} other shards hold no pictures; members must end "
                             f"in {', '.join(SUFFIXES)}.")
        self._counts[lane] = counts
        return counts

    def locate(self, position: int) -> tuple[Path, int]:
        """(shard, number of the picture in it) at a position of the stream."""
        lane, place = position % self.lanes, position // self.lanes
        counts = self.counts(lane)
        epoch, place = divmod(place, sum(counts))
        order = np.argsort(self._random(len(counts), lane, epoch, -1), kind="stable").tolist()
        start, members, total = 0, order[:self.window], 0
        while place >= (total := sum(counts[m] for m in members)):
            place -= total
            start += self.window
            members = order[start:start + self.window]
        place = int(self._mixed(lane, epoch, start, total)[place])
        ends = list(accumulate(counts[m] for m in members))
        which = next(i for i, end in enumerate(ends) if place < end)
        return self.shards(lane)[members[which]], place - (ends[which - 1] if which else 0)

    def _mixed(self, lane: int, epoch: int, start: int, total: int) -> np.ndarray:
        """The order of the pictures within the window of shards from `start` on."""
        key = (lane, epoch, start)
        if key not in self._windows:
            self._windows[key] = np.argsort(self._random(total, lane, epoch, start), kind="stable")
            while len(self._windows) > 2 * self.lanes:
                self._windows.popitem(last=False)
        return self._windows[key]

    def _random(self, count: int, lane: int, epoch: int, window: int) -> np.ndarray:
        random = generator_at(self.seed, epoch, f"shards {lane}/{self.lanes} {window}")
        return torch.rand(count, generator=random, dtype=torch.float64).numpy()

    def _table(self, path: Path) -> tuple[int, np.ndarray]:
        if path in self._tables:
            self._tables.move_to_end(path)
        else:
            self._tables[path] = (os.open(path, os.O_RDONLY), contents(path))
            while len(self._tables) > max(OPEN_SHARDS, 2 * self.window * self.lanes):
                os.close(self._tables.popitem(last=False)[1][0])
        return self._tables[path]

    def name(self, index: int) -> str:
        with self._lock:
            path, member = self.locate(index)
        return f"{path.name}[{member}]"

    def fetch(self, index: int) -> bytes:
        with self._lock:
            path, member = self.locate(index)
            descriptor, table = self._table(path)
            if member >= len(table):
                raise InputError(f"{path} changed while it was used; start again.")
            offset, size = (int(v) for v in table[member])
            descriptor = os.dup(descriptor)          # stays valid when the table is closed meanwhile
        try:
            data = os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)
        if len(data) < size:
            raise InputError(f"{path} ends inside picture {member}; it is truncated.")
        return data
