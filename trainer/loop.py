"""The loop that every stage shares: count images, report, save, resume, export."""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from reganie_core.errors import InputError, ReganieError

from . import provenance, state
from .config import StageConfig, to_dict


class Stage(Protocol):
    """What a stage offers to the loop. `modules` holds everything to be saved, averages included."""

    config: StageConfig
    kind: str
    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]

    def step(self, seen: int) -> dict[str, float | Tensor]:
        """Train on one batch starting at image number `seen`; returns terms to be averaged per tick.

        Terms are numbers or detached 0-dim tensors; tensors let the loop decide when to wait for the device.
        """

    def sheet(self, path: Path) -> None:
        """Write a sample sheet with fixed seeds."""

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write the slim file that people load."""

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data, for the status line and the provenance; may be empty."""


SYNC_STEPS = 16        # steps on an accelerator between looks at the terms; each look waits for the device


def to_numbers(steps: list[dict[str, float | Tensor]]) -> list[dict[str, float]]:
    """Terms of several steps as plain numbers, with one transfer for all of them."""
    tensors = [v.detach().float() for terms in steps for v in terms.values() if isinstance(v, Tensor)]
    values = iter(torch.stack(tensors).tolist() if tensors else [])
    return [{k: next(values) if isinstance(v, Tensor) else float(v) for k, v in terms.items()} for terms in steps]


class Diverged(ReganieError):
    """Too many non-finite steps in a row."""


class Run:
    """One training run in one folder: config.json, stats.jsonl, state.safetensors, sheets, the exported network."""

    def __init__(self, stage: Stage, folder: Path, command: list[str]) -> None:
        self.stage, self.config, self.folder, self.command = stage, stage.config, folder, command
        self.seen, self.elapsed, self.stopping = 0, 0.0, False
        self.bad_steps = 0

    @property
    def state_path(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def export_path(self) -> Path:
        return self.folder / f"{self.stage.kind}.safetensors"

    def prepare(self, resume: bool) -> None:
        """Make the folder, refuse to overwrite another run, load the state when resuming."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.state_path.exists():
            if not resume:
                raise InputError(f"{self.folder} already holds a run; add --resume to continue it, or choose "
                                 "another --out folder.")
            counters = state.load_state(self.state_path, self.stage.modules, self.stage.optimizers)
            self.seen, self.elapsed = int(counters["seen"]), float(counters["elapsed"])
            self.say(f"resumed at {self.seen / 1000:.1f} kimg")
        (self.folder / "config.json").write_text(json.dumps(to_dict(self.config), indent=1) + "\n")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def save(self) -> None:
        counters = {"seen": self.seen, "elapsed": self.elapsed}
        state.save_state(self.state_path, self.stage.modules, self.stage.optimizers, counters, to_dict(self.config))

    def export(self, metrics: dict[str, float]) -> None:
        self.stage.export(self.export_path, provenance.collect(self.command, self.config, self.seen, metrics))

    def set_lr(self) -> None:
        start = self.config.lr_decay_from
        done = self.seen / (self.config.total_kimg * 1000)
        factor = 1.0 if done <= start or start >= 1 else max((1 - done) / (1 - start), 0.0)
        for optimizer in self.stage.optimizers.values():
            for group in optimizer.param_groups:
                group.setdefault("base_lr", group["lr"])
                group["lr"] = group["base_lr"] * factor

    def check_finite(self, terms: dict[str, float]) -> bool:
        """Count steps with a non-finite term; stop after ten in a row, naming the terms."""
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        self.bad_steps = self.bad_steps + 1 if bad else 0
        if self.bad_steps >= 10:
            raise Diverged(f"Ten steps in a row were not finite ({', '.join(bad)}). The last good state is "
                           f"{self.state_path}; resume from it with a lower lr, or with dtype=float32.")
        return not bad

    def run(self) -> None:
        """Train to total_kimg. SIGTERM and Ctrl-C save and leave cleanly."""
        previous = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._run()
        finally:
            for sig, handler in previous.items():
                signal.signal(sig, handler)

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _run(self) -> None:
        config, total = self.config, int(self.config.total_kimg * 1000)
        sums: dict[str, list[float]] = defaultdict(list)
        tick_start, tick_seen, last_save = time.time(), self.seen, time.time()
        next_sheet = self.seen
        pending: list[dict[str, float | Tensor]] = []
        patience = 1 if torch.device(config.device).type == "cpu" else SYNC_STEPS
        while self.seen < total and not self.stopping:
            if self.seen >= next_sheet:
                self.stage.sheet(self.folder / f"sheet_{self.seen // 1000:06d}.png")
                next_sheet = self.seen + int(config.sheet_kimg * 1000)
            self.set_lr()
            pending.append(self.stage.step(self.seen))
            self.seen += config.batch
            ticking = self.seen - tick_seen >= config.tick_kimg * 1000
            if len(pending) >= patience or ticking or self.stopping or self.seen >= total:
                for terms in to_numbers(pending):
                    if self.check_finite(terms):
                        for name, value in terms.items():
                            sums[name].append(value)
                pending.clear()
            if ticking:
                now = time.time()
                self.elapsed += now - tick_start
                self._tick({k: sum(v) / len(v) for k, v in sums.items()}, (now - tick_start) / (self.seen - tick_seen))
                sums.clear()
                tick_start, tick_seen = now, self.seen
            if time.time() - last_save > config.save_minutes * 60:
                self.save()
                self.export({})
                last_save = time.time()
        metrics = self.stage.validate() if self.seen >= total else {}
        self.save()
        self.export(metrics)
        self.stage.sheet(self.folder / "sheet_last.png")
        self.say(f"{'stopped' if self.stopping else 'finished'} at {self.seen / 1000:.1f} kimg; "
                 f"{self.export_path}" + "".join(f"  {k} {v:.4g}" for k, v in metrics.items()))

    def _tick(self, terms: dict[str, float], seconds_per_image: float) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
        record = {"kimg": self.seen / 1000, "hours": self.elapsed / 3600, "s_per_kimg": seconds_per_image * 1000,
                  "peak_gib": memory, **terms}
        if torch.cuda.is_available():
            record["cuda_gib"] = torch.cuda.max_memory_allocated() / 2**30
        with (self.folder / "stats.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.say(f"kimg {record['kimg']:8.1f}  {record['s_per_kimg']:6.1f} s/kimg  {memory:4.1f} GiB  "
                 + "  ".join(f"{k} {v:.4g}" for k, v in terms.items()))
