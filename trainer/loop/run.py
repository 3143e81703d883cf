"""The loop that every stage shares: count images, report, save, resume, export."""

from __future__ import annotations

import json
import math
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from reganie_core.errors import CorruptCheckpointError, InputError, ReganieError
from reganie_core.paths import atomic_write

from ..data.pictures import Pictures
from . import distributed, provenance, state
from .clock import Clock
from .config import differences, to_dict
from .optimisation import LossScale
from .report import Report
from .stage import Stage
from .used import changes, networks_of, refuse

T = TypeVar("T")


SYNC_STEPS = 16        # steps on an accelerator between checks of the terms; each check waits for the device
BAD_STEPS = 10         # non-finite steps in a row that end a run
BAD_SAVES = 3          # failed saves in a row that end a run
SAVE_RETRY = 60.0      # seconds


def to_numbers(steps: list[dict[str, float | Tensor]]) -> list[dict[str, float]]:
    """Terms of several steps as plain numbers, averaged over the processes, with one transfer for all of them."""
    tensors = [v.detach().float() for terms in steps for v in terms.values() if isinstance(v, Tensor)]
    values = iter(distributed.mean(torch.stack(tensors)).tolist() if tensors else [])
    return [{k: next(values) if isinstance(v, Tensor) else float(v) for k, v in terms.items()} for terms in steps]


class Diverged(ReganieError):
    """Too many non-finite steps in a row."""


class Run:
    """One training run in one folder: config.json, stats.jsonl, state.safetensors, sheets, the exported network."""

    def __init__(self, stage: Stage, folder: Path, command: list[str]) -> None:
        self.stage, self.config, self.folder, self.command = stage, stage.config, folder, command
        self.seen, self.elapsed, self.stopping = 0, 0.0, False
        self.bad_steps = self.bad_saves = 0
        self.networks, self.former_networks = networks_of(stage), []
        self.best = math.inf
        if not hasattr(stage, "group") and (distributed.world() > 1 or self.config.accumulate > 1):
            raise InputError(f"The {stage.kind} stage computes its batch in one piece: run it with one process and "
                             "accumulate=1.")
        if self.config.dtype == "float16" and "loss_scale" not in stage.modules:
            stage.modules["loss_scale"] = LossScale(stage.optimizers).to(self.config.device)
        self.clock = stage.clock = Clock(self.config.device)
        self.main = distributed.is_main()
        self.report = Report(folder, self.config.total_kimg, self.main)
        self.say = self.report.say
        self._asked_to_stop = False
        self._mark = time.time()

    @property
    def state_path(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def export_path(self) -> Path:
        return self.folder / f"{self.stage.kind}.safetensors"

    @property
    def best_path(self) -> Path:
        return self.folder / f"{self.stage.kind}.best.safetensors"

    def prepare(self, resume: bool, other_networks: bool = False) -> None:
        """Make the folder, refuse to overwrite another run, load the state when resuming.

        other_networks: go on although a network that the run trains with is not the one of before.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {self.folder} cannot be made: {error.strerror}. Choose another "
                             "--out.") from error
        if distributed.from_main(state.exists(self.state_path)):
            if not resume:
                raise InputError(f"{self.folder} already holds a run; add --resume to continue it, or choose "
                                 "another --out folder.")
            self._resume(other_networks)
        elif resume:
            self.say(f"There is no state in {self.folder} to resume from: the run starts from the beginning.")
        if self.main:
            state.sweep(self.folder)
            try:
                with atomic_write(self.folder / "config.json") as temporary:     # --resume reads it
                    temporary.write_text(json.dumps(to_dict(self.config), indent=1) + "\n")
            except OSError as error:
                raise InputError(f"{self.folder} cannot be written: {error.strerror}. Choose another --out.") from error
            data = getattr(self.stage, "data", None)
            if isinstance(data, Pictures):
                self.say(f"{len(data)} training pictures in {data.where()}")

    def _resume(self, other_networks: bool) -> None:
        """The first process reads the state and hands it to the others, whose disks need not hold it."""
        checkpoint = state.read_state(self.state_path, self.say) if self.main else None
        tensors = distributed.tensors_from_main(checkpoint.tensors if checkpoint else None)
        counters, before = distributed.from_main(
            (json.loads(checkpoint.provenance["counters"]), checkpoint.config) if checkpoint else None)
        former = counters.get("networks", {})
        self.former_networks = counters.get("former_networks", [])
        if changed := changes(former, self.networks):
            if not other_networks:
                refuse(changed, to_dict(self.config))
            self.say(f"goes on with other networks than before, as asked: {', '.join(changed)}")
            self.former_networks.append({"kimg": int(counters["seen"]) / 1000, **former})
        state.apply_state(tensors, self.stage.modules, self.stage.optimizers, self.state_path)
        self.seen, self.elapsed = int(counters["seen"]), float(counters["elapsed"])
        self.best = float(counters.get("best", math.inf))
        changed = differences(before, to_dict(self.config))
        self.say(f"resumed at {self.seen / 1000:.1f} kimg" + (f"; changed options: {changed}" if changed else ""))

    def save(self) -> None:
        """Write the state, after making sure that all processes hold the same one."""
        distributed.check_replicas(self.stage.modules, self.stage.optimizers)
        self._write_state()

    def _write_state(self) -> None:
        counters = {"seen": self.seen, "elapsed": self.elapsed, "networks": self.networks,
                    "former_networks": self.former_networks}
        if math.isfinite(self.best):
            counters["best"] = self.best
        if self.main:
            with self.finite():
                state.save_state(self.state_path, self.stage.modules, self.stage.optimizers, counters,
                                 to_dict(self.config))

    @contextmanager
    def finite(self) -> Iterator[None]:
        """Writing weights that are not finite says that the training diverged: no file is to blame."""
        try:
            yield
        except CorruptCheckpointError as error:
            raise self.diverged(f"The weights are no longer finite, nothing of them is written: {error}") from error

    def diverged(self, what: str) -> Diverged:
        """The error that ends a run whose numbers left the range of floats, with what to do next."""
        last = state.newest(self.state_path)
        advice = f"a lower lr (now {self.config.lr:g}), or with dtype=float32."
        return Diverged(f"{what} The last good state is {last}; resume from it with {advice}" if last else
                        f"{what} Nothing was saved before; start again with {advice}")

    def export(self, metrics: dict[str, float], path: Path | None = None) -> None:
        """The slim file people load, with its provenance."""
        if self.main:
            record = provenance.collect(self.command, self.config, self.seen, metrics, world_size=distributed.world())
            if self.former_networks:
                record["former_networks"] = self.former_networks
            with self.finite():
                self.stage.export(path or self.export_path, record)

    def set_lr(self) -> None:
        start = self.config.lr_decay_from
        done = self.seen / (self.config.total_kimg * 1000)
        factor = 1.0 if done <= start or start >= 1 else max((1 - done) / (1 - start), 0.0)
        for optimizer in self.stage.optimizers.values():
            for group in optimizer.param_groups:
                group.setdefault("base_lr", group["lr"])
                group["lr"] = group["base_lr"] * factor

    def check_finite(self, terms: dict[str, float]) -> bool:
        """Name a step with a non-finite term, which `descend` has skipped; stop after ten in a row."""
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        self.bad_steps = self.bad_steps + 1 if bad else 0
        if bad:
            self.say(f"kimg {self.seen / 1000:8.1f}  a step was not finite and is skipped: {', '.join(bad)}")
            if self.folder.is_dir():
                self.report.record({"kimg": self.seen / 1000, "skipped": bad})
        if self.bad_steps >= BAD_STEPS:
            raise self.diverged(f"Ten steps in a row were not finite ({', '.join(bad)}).")
        return not bad

    def run(self) -> None:
        """Train to total_kimg. SIGTERM and Ctrl-C save and leave cleanly."""
        previous = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        self.report.open(self.seen / 1000)
        try:
            self._train()
            self._finish()
        finally:
            self.report.close()
            for sig, handler in previous.items():
                signal.signal(sig, handler)

    def _stop(self, *_: Any) -> None:
        self._asked_to_stop = True

    def _due(self, kimg: float) -> bool:
        """Whether a multiple of `kimg` lies within the batch just trained; a resumed run keeps the rhythm."""
        every = max(int(kimg * 1000), 1)
        return kimg > 0 and self.seen // every != (self.seen - self.config.batch) // every

    def _train(self) -> None:
        config, total = self.config, int(self.config.total_kimg * 1000)
        sums: dict[str, list[float]] = defaultdict(list)
        pending: list[dict[str, float | Tensor]] = []
        patience = 1 if torch.device(config.device).type == "cpu" else SYNC_STEPS
        tick_start, tick_seen = time.time(), self.seen
        self._mark, next_save = time.time(), time.time() + config.save_minutes * 60
        if self.seen == 0:
            self._sheet()
        while self.seen < total and not self.stopping:
            self.set_lr()
            pending.append(self._or_rescue(lambda: self.stage.step(self.seen)))
            self.seen += config.batch
            ticking = self.seen - tick_seen >= config.tick_kimg * 1000
            checking = len(pending) >= patience or ticking or self.seen >= total
            if checking:                      # the only places where the processes may decide anything
                for terms in to_numbers(pending):
                    if self.check_finite(terms):
                        for name, value in terms.items():
                            sums[name].append(value)
                pending.clear()
                saving = self.main and time.time() > next_save
                trouble = getattr(getattr(self.stage, "data", None), "trouble", "")
                self.stopping, saving, ending = distributed.any_of([self._asked_to_stop, saving, bool(trouble)])
                if ending:
                    self._keep(self.save)
                    raise InputError(trouble or "Another process met too many pictures that cannot be used.")
            if ticking:
                self._tick({k: sum(v) / len(v) for k, v in sums.items()}, time.time() - tick_start,
                           self.seen - tick_seen)
                sums.clear()
                tick_start, tick_seen = time.time(), self.seen
            if self._due(config.sheet_kimg):
                self._sheet()
            if self._due(config.validate_kimg) and self.seen < total:
                self._validate()
            if checking and saving and not self.stopping:
                next_save = time.time() + (config.save_minutes * 60 if self._save_or_say() else SAVE_RETRY)

    def _or_rescue(self, work: Callable[[], T]) -> T:
        """What `work` gives; where it cannot go on (bad pictures, full memory), what was learned is saved first.

        Only the first process writes and nobody is asked: the others may be in the middle of the step.
        """
        try:
            return work()
        except (ReganieError, torch.OutOfMemoryError):
            if self.main and self.seen:
                try:
                    self._keep(self._write_state)
                except (ReganieError, OSError) as error:
                    self.say(f"What was learned could not be saved: {error}")
            raise

    def _keep(self, write: Callable[[], None]) -> None:
        """State and network before an end that nobody asked for."""
        self._count_time()
        write()
        self.export({})
        self.say(f"saved at {self.seen / 1000:.1f} kimg; --resume goes on from there")

    def _finish(self) -> None:
        """Leave: the state first, for it is what nobody can make again."""
        self._count_time()
        self.save()
        finished = self.seen >= int(self.config.total_kimg * 1000)
        metrics = self._validate() if finished else {}
        self.export(metrics)
        if metrics and getattr(self.stage, "best_metric", "") in metrics:
            self._write_state()                                 # the best value belongs to it
        self._sheet("sheet_last.png")
        distributed.wait()                                      # nobody leaves while the first one still writes
        self.say(f"{'finished' if finished else 'stopped'} at {self.seen / 1000:.1f} kimg; "
                 f"{self.export_path}" + "".join(f"  {k} {v:.4g}" for k, v in metrics.items()))

    def _count_time(self) -> None:
        now = time.time()
        self.elapsed, self._mark = self.elapsed + now - self._mark, now

    def _tick(self, terms: dict[str, float], seconds: float, images: int) -> None:
        self._count_time()
        self.report.tick(self.seen / 1000, self.elapsed / 3600, seconds, images, self.clock.read(), terms)

    def _sheet(self, name: str = "") -> None:
        if not self.main:
            return
        path = self.folder / (name or f"sheet_{self.seen // 1000:06d}.png")
        try:
            self.stage.sheet(path)
        except (OSError, InputError) as error:      # a picture is nothing to end a run for
            self.say(f"{path.name} cannot be written: {getattr(error, 'strerror', None) or error}")

    def _validate(self) -> dict[str, float]:
        """Metrics; the file of the best ones so far is kept beside the last."""
        if not self.main:
            return {}
        found = self._or_rescue(self.stage.validate)
        metrics = {name: value for name, value in found.items() if math.isfinite(value)}
        if len(metrics) < len(found):       # a reader that always says the same correlates with nothing: no number
            self.say(f"kimg {self.seen / 1000:8.1f}  not a number: {', '.join(sorted(found.keys() - metrics.keys()))}")
        if metrics:
            self.report.record({"kimg": self.seen / 1000, **{f"validate_{k}": float(v) for k, v in metrics.items()}})
            self.say(f"kimg {self.seen / 1000:8.1f}  " + "  ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
        value = metrics.get(getattr(self.stage, "best_metric", ""), math.inf)
        if value < self.best:
            self.best = value
            self.export(metrics, self.best_path)
        return metrics

    def _save_or_say(self) -> bool:
        """Save; a disk that is full for a moment does not end the run, one that stays full does."""
        self._count_time()
        try:
            self.save()
            self.export({})
            self.bad_saves = 0
            return True
        except InputError as error:
            self.bad_saves += 1
            if self.bad_saves >= BAD_SAVES:
                raise InputError(f"{error} Three saves in a row failed; the last state in {self.folder} is whole, "
                                 "resume from it when there is room.") from error
            self.say(f"kimg {self.seen / 1000:8.1f}  the state could not be saved and is tried again: {error}")
            return False
