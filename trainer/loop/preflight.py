"""One step of everything before hours are spent: folder, disk, networks, pictures, memory, sheet, metrics, export.

Whatever is wrong with a run shows here as one sentence, and everything is put back as it was, so that a run with a
preflight equals one without, bit for bit.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core.errors import InputError, MismatchError

from . import distributed, state
from .config import to_dict
from .optimisation import LAZY_INTERVAL
from .report import peak_memory
from .run import Run, to_numbers

HEADROOM = 0.9       # share of the memory that a step may be predicted to take


def check_folder(folder: Path, need: int) -> None:
    """Raise InputError unless the folder can be written and has `need` bytes left."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe", suffix=".tmp") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be written: {error.strerror}. Choose another --out.") from error
    free = shutil.disk_usage(folder).free
    if free < need:
        raise InputError(f"The disk of {folder} has {free / 2**30:.2f} GiB left; the checkpoints of this run need "
                         f"about {need / 2**30:.2f} GiB. Make room, or choose another --out.")


def state_bytes(run: Run) -> int:
    """Size of one training state: weights, averages, and Adam's two moments per trained weight."""
    weights = sum(v.numel() * v.element_size() for m in run.stage.modules.values() for v in m.state_dict().values())
    trained = [p for o in run.stage.optimizers.values() for g in o.param_groups for p in g["params"]]
    return weights + sum(2 * p.numel() * p.element_size() for p in trained)


def check_networks(stage: Any) -> str:
    """Raise MismatchError when the stage's generator G and encoder E do not belong together.

    Sizes first, then the fingerprint that the encoder's file names. A file that names none (one of somebody else's) is
    judged by what it does: the inversion of a sample should be closer to it than another sample is; the text returned
    says so when it is not.
    """
    G, E = getattr(stage, "G", None), getattr(stage, "E", None)
    if G is None or E is None or "E" in stage.modules:          # an encoder in training owes nothing yet
        return ""
    if (E.num_ws, E.w_dim) != (G.num_ws, G.w_dim):
        raise MismatchError(
            f"The encoder puts out {E.num_ws} codes of {E.w_dim}, the generator ({G.resolution} px) takes {G.num_ws} "
            f"of {G.w_dim}; they do not belong together. Train an encoder for this generator (train.py encoder).")
    trained_with = (getattr(E, "provenance", None) or {}).get("fingerprints", {}).get("generator")
    if trained_with:
        if trained_with != G.fingerprint:
            raise MismatchError(f"The encoder was trained with the generator {trained_with}, this one is "
                                f"{G.fingerprint}; give the one it belongs to, or train an encoder for this generator.")
        return ""
    with torch.inference_mode():
        device = next(G.parameters()).device
        z = torch.randn(4, G.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
        pictures = G.synthesis(G.mapping(z)).clamp(-1, 1)
        inverted = G.synthesis(E(pictures)).clamp(-1, 1)
        error, apart = ((pictures - other).square().mean() for other in (inverted, pictures.roll(1, 0)))
    return "" if error < apart else (
        "WARNING: the encoder does not invert this generator's pictures: the mean squared error is "
        f"{float(error):.3f}, two different pictures are {float(apart):.3f} apart. If it was not trained for this "
        "generator, train one.")


def _positions(run: Run) -> list[int]:
    """Image numbers whose steps hold everything: lazy penalties, and a network that starts late."""
    config = run.config
    every = config.batch * getattr(config, "r1_interval", LAZY_INTERVAL)
    return [0] if torch.device(config.device).type == "cpu" else [0, every]


def _pieces(run: Run) -> list[int]:
    """Numbers of micro-batches that this batch can be split into, from the configured one up."""
    if not hasattr(run.stage, "group"):
        return [run.config.accumulate]
    found = []
    for pieces in range(run.config.accumulate, run.config.batch + 1):
        try:
            distributed.shares(run.config.batch, run.stage.group, pieces)
            found.append(pieces)
        except InputError:
            continue
    if not found:       # not even the configured number; the message says why
        distributed.shares(run.config.batch, run.stage.group, run.config.accumulate)
    return found


def _steps(run: Run) -> tuple[float, dict[str, float]]:
    """Seconds of the last of a few steps, and its terms; raises InputError when they are not finite."""
    for position in _positions(run):
        start = time.perf_counter()
        (terms,) = to_numbers([run.stage.step(position)])
        seconds = time.perf_counter() - start
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            raise InputError(f"The very first step is not finite ({', '.join(bad)}); look at the networks and options "
                             "of this run" + (", or try dtype=bfloat16." if run.config.dtype == "float16" else "."))
    return seconds, terms


def _fit_accelerator(run: Run) -> tuple[float, str]:
    """Steps as configured; where memory runs out, with more and smaller micro-batches."""
    for pieces in _pieces(run):
        run.config.accumulate = pieces
        torch.cuda.reset_peak_memory_stats()
        fits = True
        try:
            seconds, _ = _steps(run)
        except torch.OutOfMemoryError:
            fits = False
        if any(distributed.any_of([not fits])):       # outside of `except`, which keeps the step's tensors alive
            for optimizer in run.stage.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            continue
        used, total = torch.cuda.max_memory_reserved() / 2**30, torch.cuda.mem_get_info()[1] / 2**30
        return seconds, f"{used:.1f} of {total:.0f} GiB on the GPU"
    raise InputError(f"Not even {run.config.accumulate} micro-batches per step fit into the GPU's memory. Choose a "
                     "smaller batch, smaller networks or dtype=bfloat16.")


def _available_memory() -> float:
    """GiB that a process may still take; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**20
    except (OSError, StopIteration):
        return math.inf


def _resident(key: str) -> float:
    """VmRSS or VmHWM (its peak) of this process in GiB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2**20
    except (OSError, StopIteration):
        return peak_memory()


def _fit_memory(run: Run) -> tuple[float, str]:
    """One step with the smallest micro-batches, from which the memory of larger ones is predicted.

    A process that takes too much memory is killed without a word, so the large step is not simply tried.
    """
    options = _pieces(run)
    try:
        Path("/proc/self/clear_refs").write_text("5")         # the peak starts anew (Linux)
    except OSError:
        pass
    before, available = _resident("VmRSS"), _available_memory()
    run.config.accumulate = smallest = options[-1]
    seconds, _ = _steps(run)
    growth = max(_resident("VmHWM") - before, 0.0)
    predicted = {n: growth * smallest / n for n in options}
    fitting = [n for n in options if predicted[n] < HEADROOM * available]
    pieces = distributed.largest(fitting[0] if fitting else math.inf)
    if math.isinf(pieces):
        raise InputError(f"A step takes about {growth:.1f} GiB even in {smallest} micro-batches, {available:.1f} GiB "
                         "are free. Choose a smaller batch or smaller networks.")
    run.config.accumulate = int(pieces)
    return seconds, f"about {before + predicted[run.config.accumulate]:.1f} GiB, {available:.0f} GiB free"


def _trial(run: Run) -> str:
    """Step, sheet, metrics, export and state, into a folder that is removed again; returns the estimate."""
    asked = run.config.accumulate
    # What is made once, at the first step, must not count as what every step takes.
    getattr(run.stage, "get_ready", lambda: None)()
    seconds, memory = (_fit_accelerator if torch.device(run.config.device).type == "cuda" else _fit_memory)(run)
    if run.main:
        with tempfile.TemporaryDirectory(dir=run.folder, prefix=".preflight") as folder:
            run.stage.sheet(Path(folder) / "sheet.png")
            run.stage.validate()
            run.export({}, Path(folder) / run.export_path.name)
            with run.finite():
                state.save_state(Path(folder) / "state.safetensors", run.stage.modules, run.stage.optimizers, {},
                                 to_dict(run.config))
    hours = seconds * run.config.total_kimg * 1000 / run.config.batch / 3600
    split = f"; {run.config.accumulate} micro-batches, because {asked} would not fit" \
        if run.config.accumulate != asked else ""
    return f"memory {memory}{split}; {seconds:.2f} s for a first step, at most {hours:.1f} h for the whole run"


@contextmanager
def _leaving_nothing() -> Iterator[None]:
    """SIGTERM ends the process by an exception, so that temporary folders are removed."""
    if threading.current_thread() is not threading.main_thread():        # which alone may set handlers
        yield
        return

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def preflight(run: Run) -> None:
    """Check everything that a run needs and put it back; may raise `config.accumulate` to make the batch fit.

    Raises InputError or MismatchError with what is wrong and what to do.
    """
    stage = run.stage
    if run.main:
        check_folder(run.folder, 3 * state_bytes(run) + 2**26)
    if warning := check_networks(stage):
        run.say(warning)
    check_data = getattr(getattr(stage, "data", None), "check", None)
    if check_data is not None:
        check_data()
    if not stage.optimizers:        # a stage that only gathers statistics has nothing to show after one step
        return
    before = {name: {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}
              for name, module in stage.modules.items()}
    rates = [[group["lr"] for group in o.param_groups] for o in stage.optimizers.values()]
    with torch.random.fork_rng(devices=[]), _leaving_nothing():
        estimate = _trial(run)
    for name, tensors in before.items():
        stage.modules[name].load_state_dict(tensors)
    for optimizer, lrs in zip(stage.optimizers.values(), rates, strict=True):
        optimizer.state.clear()
        optimizer.zero_grad(set_to_none=True)
        for group, lr in zip(optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
    run.clock.read()
    trained: list[Tensor] = [p for o in stage.optimizers.values() for g in o.param_groups for p in g["params"]]
    run.say(f"preflight: {sum(p.numel() for p in trained) / 1e6:.2f} M trained weights on {run.config.device}, batch "
            f"{run.config.batch} over {distributed.world()} process(es); {estimate}")
