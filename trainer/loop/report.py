"""What a run tells: lines on the terminal, stats.jsonl, TensorBoard when it is installed."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch


def peak_memory() -> float:
    """Largest resident memory of this process so far, in GiB."""
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class Report:
    """The output of one run; processes other than the first stay silent."""

    def __init__(self, folder: Path, total_kimg: float, loud: bool = True) -> None:
        self.folder, self.total, self.loud = folder, total_kimg, loud
        self.bar: Any = None
        self.board: Any = None
        self._torn = False

    def open(self, kimg: float) -> None:
        """A progress bar on a terminal, a TensorBoard log when that is installed."""
        if not self.loud:
            return
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm

                self.bar = tqdm(total=self.total, initial=round(kimg, 3), unit="kimg", dynamic_ncols=True)
            except ImportError:
                pass
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=int(kimg * 1000))
        except ImportError:
            pass

    def close(self) -> None:
        for sink in (self.bar, self.board):
            if sink is not None:
                sink.close()
        self.bar = self.board = None

    def say(self, text: str) -> None:
        if self.loud and self.bar is not None:
            self.bar.write(text)
        elif self.loud:
            print(text, flush=True)

    def progress(self, kimg: float) -> None:
        if self.bar is not None:
            self.bar.update(kimg - self.bar.n)

    def record(self, record: dict[str, Any]) -> None:
        """One line of stats.jsonl, numbers to TensorBoard as well."""
        if not self.loud:
            return
        try:
            with (self.folder / "stats.jsonl").open("a") as file:
                file.write("\n" * self._torn + json.dumps(record) + "\n")
            self._torn = False
        except OSError as error:            # a full disk must not end a run; the state has its own retries
            self._torn = True               # a part of the line may be there
            self.say(f"stats.jsonl lacks a line, it cannot be written: {error.strerror}")
        if self.board is not None:
            for name, value in record.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, int(record["kimg"] * 1000))
            self.board.flush()

    def tick(self, kimg: float, hours: float, seconds: float, images: int, parts: dict[str, float],
             terms: dict[str, float]) -> None:
        """The status of the last `images` images, which took `seconds`; `parts` says where those seconds went."""
        per = 1000 / images
        record: dict[str, Any] = {"kimg": kimg, "hours": hours, "s_per_kimg": seconds * per, "peak_gib": peak_memory(),
                                  **{f"s_per_kimg_{k}": v * per for k, v in parts.items()}, **terms}
        memory = f"{record['peak_gib']:.1f} GiB"
        if torch.cuda.is_available():
            record["cuda_gib"] = torch.cuda.max_memory_allocated() / 2**30
            memory += f", GPU {record['cuda_gib']:.1f} GiB"
        self.record(record)
        split = ", ".join(f"{k} {v * per:.1f}" for k, v in parts.items())
        self.say(f"kimg {kimg:8.1f}  {seconds * per:6.1f} s/kimg{f' ({split})' if split else ''}  {memory}  "
                 + "  ".join(f"{k} {v:.4g}" for k, v in terms.items()))
        self.progress(kimg)
