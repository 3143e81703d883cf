"""Long measurements in pieces: flat memory, a progress line, resumed where they stopped.

Every piece yields a few numbers per picture and is stored as one small file as soon as it is done. The name of the
file holds a fingerprint of everything the numbers depend on (settings, networks, code), so a piece is reused only for
the very same measurement.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

import reganie_core
from reganie_core.paths import atomic_write

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
        folder: where finished pieces are kept; None keeps nothing.
        identity: what the numbers depend on besides the settings of a measurement: fingerprints of networks.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any] | None = None,
                 progress: bool = True) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.identity = {**(identity or {}), "code": code_fingerprint() if folder is not None else ""}
        self.progress, self._said = progress, time.monotonic()

    def run(self, name: str, settings: Mapping[str, Any], count: int, size: int, work: Work) -> dict[str, np.ndarray]:
        """work(slice) over 0 ... count-1 in pieces of `size`; its tensors [rows, ...] joined along the first axis."""
        text = json.dumps({**self.identity, **settings, "count": count, "size": size}, sort_keys=True, default=str)
        stem = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        parts: list[dict[str, np.ndarray]] = []
        began, done = time.monotonic(), 0
        for start in range(0, count, size):
            stop = min(start + size, count)
            file = None if self.folder is None else self.folder / f"{stem}-{start:07d}.npz"
            part = self._load(file)
            if part is None:
                with torch.inference_mode():
                    made = work(slice(start, stop))
                part = {key: value.detach().cpu().numpy() for key, value in made.items()}
                self._save(file, part)
                done += stop - start
            parts.append(part)
            self._say(name, stop, count, done / max(time.monotonic() - began, 1e-9))
        self._say("", 0, 0, 0.0)
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

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

    @staticmethod
    def _save(file: Path | None, part: dict[str, np.ndarray]) -> None:
        if file is not None:
            with atomic_write(file) as temporary, open(temporary, "wb") as handle:
                np.savez(handle, **part)

    def _say(self, name: str, done: int, count: int, rate: float) -> None:
        if not self.progress:
            return
        if sys.stderr.isatty():
            text = f"\r{name}: {done}/{count}, {rate:.3g} a second    " if name else "\n"
            print(text, end="", file=sys.stderr, flush=True)
        elif name and (done == count or time.monotonic() - self._said > 30):  # a log, not a terminal
            self._said = time.monotonic()
            print(f"{name}: {done}/{count}, {rate:.3g} a second", file=sys.stderr, flush=True)
