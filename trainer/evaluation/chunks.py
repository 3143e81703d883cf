"""Long measurements in pieces: flat memory, a progress line, resumed where they stopped, shared by processes.

Every piece yields a few numbers per picture and is stored as one small file as soon as it is done. The name of the
file holds a fingerprint of everything the numbers depend on (settings, networks, code), so a piece is reused only for
the very same measurement. Processes started by torchrun take turns over the pieces and meet through these files.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

import reganie_core
from reganie_core.errors import InputError, NotFoundError

PATIENCE = 3600.0  # seconds without a new piece before other processes are given up
Work = Callable[[slice], Mapping[str, torch.Tensor]]


def code_fingerprint() -> str:
    """Of the library's and the evaluation's source: numbers of other code are not mixed in."""
    digest = hashlib.sha256()
    roots = (Path(reganie_core.__file__).parent, Path(__file__).parent)
    for root in roots:
        for file in sorted(root.rglob("*.py")):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


class Chunks:
    """Runs work in pieces.

    Args:
        folder: where finished pieces are kept; None keeps nothing (then one process does it all).
        identity: what the numbers depend on besides the settings of a measurement: fingerprints of networks.
        rank, world: this process and how many there are (torchrun's RANK and WORLD_SIZE by default).
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any] | None = None, rank: int | None = None,
                 world: int | None = None, progress: bool = True) -> None:
        self.folder = folder
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self.world = int(os.environ.get("WORLD_SIZE", 1)) if world is None else world
        if self.world > 1 and folder is None:
            raise InputError("Several processes meet through files: give --json FILE, beside which they are kept.")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.identity = {**(identity or {}), "code": code_fingerprint() if folder is not None else ""}
        self.progress, self._said = progress, time.monotonic()

    def run(self, name: str, settings: Mapping[str, Any], count: int, size: int, work: Work) -> dict[str, np.ndarray]:
        """work(slice) over 0 ... count-1 in pieces of `size`; its tensors [rows, ...] joined along the first axis.

        Raises NotFoundError when the pieces of another process do not come.
        """
        text = json.dumps({**self.identity, **settings, "count": count, "size": size}, sort_keys=True, default=str)
        stem = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        starts = range(0, count, size)
        parts: list[dict[str, np.ndarray] | None] = [None] * len(starts)
        began, done = time.monotonic(), 0
        for index, start in enumerate(starts):
            if index % self.world != self.rank:
                continue
            stop = min(start + size, count)
            file = self._file(stem, start)
            parts[index] = self._load(file)
            if parts[index] is None:
                with torch.inference_mode():
                    made = work(slice(start, stop))
                parts[index] = {key: value.detach().cpu().numpy() for key, value in made.items()}
                self._save(file, parts[index])
                done += stop - start
            self._say(name, stop, count, done / max(time.monotonic() - began, 1e-9))
        self._collect(stem, starts, parts)
        self._say("", 0, 0, 0.0)
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _file(self, stem: str, start: int) -> Path | None:
        return None if self.folder is None else self.folder / f"{stem}-{start:07d}.npz"

    def _collect(self, stem: str, starts: range, parts: list[dict[str, np.ndarray] | None]) -> None:
        """Wait for the pieces of the other processes."""
        last = time.monotonic()
        while any(part is None for part in parts):
            for index, start in enumerate(starts):
                if parts[index] is None and (found := self._load(self._file(stem, start))) is not None:
                    parts[index], last = found, time.monotonic()
            if time.monotonic() - last > PATIENCE:
                raise NotFoundError("Pieces of other processes did not come; start again, what is done is kept.")
            if any(part is None for part in parts):
                time.sleep(0.2)

    @staticmethod
    def _load(file: Path | None) -> dict[str, np.ndarray] | None:
        """A finished piece; one that cannot be read is made again."""
        if file is None or not file.is_file():
            return None
        try:
            with np.load(file, allow_pickle=False) as data:
                return {key: data[key] for key in data.files}
        except (OSError, ValueError, EOFError, BadZipFile):
            return None

    def _save(self, file: Path | None, part: dict[str, np.ndarray]) -> None:
        if file is None:
            return
        temporary = file.with_name(f"{file.name}.{self.rank}.part")
        with open(temporary, "wb") as handle:
            np.savez(handle, **part)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)

    def _say(self, name: str, done: int, count: int, rate: float) -> None:
        if not self.progress or self.rank:
            return
        if sys.stderr.isatty():
            text = f"\r{name}: {done}/{count}, {rate:.3g} a second    " if name else "\n"
            print(text, end="", file=sys.stderr, flush=True)
        elif name and (done == count or time.monotonic() - self._said > 30):  # a log, not a terminal
            self._said = time.monotonic()
            print(f"{name}: {done}/{count}, {rate:.3g} a second", file=sys.stderr, flush=True)
