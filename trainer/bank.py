"""A bank of finished triplets on disk: steps that meet a batch again skip generator, encoder and editor.

The bank is only a cache. What a slot holds is a function of the options and of the slot's number and age, never of what
happens to lie on the disk: a slot that is missing, torn or of another age is made again. So a resumed run, or one that
lost its bank, equals an uninterrupted one, and the first round equals a run without a bank up to half precision.

A round visits every slot once, in a new random order from the second round on, and flips half of the rows. Every
`refresh` rounds a slot is made anew, its turn depending on its number, so that the bank is renewed evenly.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reganie_core import flow
from reganie_core.errors import InputError
from reganie_core.paths import atomic_write

from .randomness import Draws, generator_at
from .stages.triplets import Triplet

__all__ = ["Bank", "bank_of", "key_of"]

SHARD_BYTES = 2**30
EMPTY = -1
#: Options that do not change triplets; every other one is part of the key, also one that is added later.
NOT_IN_KEY = frozenset("""
    total_kimg lr beta1 beta2 lr_decay_from ema_kimg accumulate compile threads device tick_kimg sheet_kimg
    validate_kimg save_minutes init_from generator encoder editors attributes more_attributes lpips encoder_channels
    body_channels body_blocks decoder_channels carry_channels flow_dropout sp_channels gl_channels gl_dim modulation
    output primary_skips primary_input l1_weight l2_weight perceptual_weight attribute_weight changed_weight
    behind_weight behind_share edit_gains gan_weight gan_start_kimg r1_gamma r1_interval d_channels bank bank_gib
    bank_refresh
    """.split())


def key_of(config: Any, fingerprints: Mapping[str, Any]) -> dict[str, Any]:
    """What triplets depend on: networks, options, and the code that makes them."""
    options = {k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_IN_KEY}
    folder = Path(__file__).parent
    code = hashlib.sha256()
    files = [folder / name for name in ("stages/triplets.py", "crops.py", "paste.py", "randomness.py")]
    for file in (*files, Path(flow.__file__)):
        code.update(file.read_bytes())
    return {"networks": dict(fingerprints), "options": json.loads(json.dumps(options)), "code": code.hexdigest()[:16]}


class Bank:
    """Triplets of pictures [n,3,R,R] in half precision, one slot per batch, in memory-mapped files of about 1 GiB.

    Args:
        folder: the bank's place; every key has a folder of its own in it, and every process one in that.
        gib: the most that it takes in all. key: see `key_of`. own: this process's rows of a batch, ascending.
        refresh: rounds after which a slot is made again; 0: never. steps: of the run, for the room it needs.

    Raises InputError when not even one batch fits, or the disk has no room.
    """

    def __init__(self, folder: Path, gib: float, refresh: int, key: Mapping[str, Any], own: Tensor, batch: int,
                 resolution: int, seed: int, steps: int | None = None) -> None:
        self.batch_size, self.seed, self.refresh, self.own = batch, seed, refresh, own.tolist()
        self.shape = (3, len(own), 3, resolution, resolution)
        whole, mine = (2 * 9 * n * resolution**2 for n in (batch, len(own)))
        self.slots = int(gib * 2**30 / whole)
        if self.slots < 1 or refresh < 0:
            raise InputError(f"bank_gib={gib:g} holds no batch of {batch} triplets at {resolution} px: one takes "
                             f"{whole / 2**30:.3g} GiB (and bank_refresh is 0 or more, found {refresh}).")
        text = json.dumps({**key, "slots": self.slots, "rows": self.own}, sort_keys=True)
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.per_shard = max(SHARD_BYTES // mine, 1)
        self._shards: dict[int, np.memmap] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.marks = self._map("marks.i64", np.int64, (self.slots, 3))     # what it shows + 1, triplet, checksum
            with atomic_write(self.folder / "bank.json") as temporary:
                Path(temporary).write_text(text)
        except OSError as error:
            raise InputError(f"The bank {folder} cannot be written: {error.strerror}.") from error
        empty = int((np.asarray(self.marks[:, 0]) == 0).sum())
        missing = mine * (empty if steps is None else min(empty, steps))
        free = shutil.disk_usage(self.folder).free
        if free < missing:
            raise InputError(f"The bank in {folder} grows by up to {missing / 2**30:.2f} GiB, its disk has "
                             f"{free / 2**30:.2f} GiB left. Choose a smaller bank_gib or another folder.")

    def _map(self, name: str, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
        """A memory map of exactly this size; new files are sparse and read as zeros."""
        path, size = self.folder / name, int(np.prod(shape)) * np.dtype(dtype).itemsize
        with open(path, "ab") as file:
            if file.tell() != size:
                file.truncate(size)
        return np.memmap(path, dtype, "r+", shape=shape)

    def _slot(self, slot: int) -> np.ndarray:
        shard, place = divmod(slot, self.per_shard)
        if shard not in self._shards:
            count = min(self.per_shard, self.slots - shard * self.per_shard)
            self._shards[shard] = self._map(f"triplets-{shard:05d}.f16", np.float16, (count, *self.shape))
        return self._shards[shard][place]

    def visit(self, seen: int) -> tuple[int, int, int]:
        """(slot, image number that it shall show, round) of the step that starts at image number `seen`."""
        number, place = divmod(seen // self.batch_size, self.slots)
        slot = place
        if number:
            if getattr(self, "_order", (EMPTY,))[0] != number:
                order = torch.randperm(self.slots, generator=generator_at(self.seed, number, "bank"))
                self._order = (number, order)
            slot = int(self._order[1][place])
        born = number - (number + slot) % self.refresh if self.refresh else 0
        return slot, (max(born, 0) * self.slots + slot) * self.batch_size, number

    def triplets(self, seen: int, rows: Sequence[Tensor], device: str,
                 make: Callable[[int], list[Triplet]]) -> list[Triplet]:
        """The triplets of a step, one per micro-batch with these rows; `make(image number)` makes them fresh."""
        slot, shows, number = self.visit(seen)
        stored, mark = self._slot(slot), self.marks[slot]
        if mark[0] != shows + 1 or zlib.crc32(stored) != mark[2]:
            made = make(shows)
            order = torch.cat(list(rows)).argsort()
            parts = [torch.cat([m[i].detach().cpu() for m in made])[order] for i in range(3)]
            mark[0] = 0                                   # torn from here on
            stored[:] = torch.stack(parts).to(torch.float16).numpy()
            mark[1:] = made[0][3], zlib.crc32(stored)
            mark[0] = shows + 1
        whole = torch.from_numpy(np.array(stored))        # a copy: the map may change under a tensor
        place = {row: i for i, row in enumerate(self.own)}
        found: list[Triplet] = []
        for piece in rows:
            part = whole[:, [place[row] for row in piece.tolist()]].to(device).float()
            if number:
                flip = Draws(generator_at(self.seed, seen, "bank"), self.batch_size, piece).rand() < 0.5
                part = torch.where(flip.to(device)[None, :, None, None, None], part.flip(-1), part)
            delta, primary, target = (x.contiguous(memory_format=torch.channels_last) for x in part.unbind(0))
            found.append(Triplet(delta, primary, target, int(mark[1])))
        return found


def bank_of(config: Any, fingerprints: Mapping[str, Any], rows: Sequence[Tensor], resolution: int) -> Bank:
    """The bank that a rectifier's options describe."""
    own = torch.cat(list(rows)).sort().values
    return Bank(Path(config.bank), config.bank_gib, config.bank_refresh, key_of(config, fingerprints), own,
                config.batch, resolution, config.seed, int(config.total_kimg * 1000 / config.batch) + 1)
