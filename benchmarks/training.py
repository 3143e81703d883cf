"""Images per second of training steps, and where the time goes.

    python -m benchmarks.training [--only NAME ...] [--device cpu|cuda] [--dtype D] [--steps N] [--batch N]
                                  [--document docs/performance-training.md]

`rectifier-A-512` is one step of the paper's setting (widths A, StyleGAN2 config-f, e4e, LPIPS-VGG, R1 in the first
step) on random weights; the portraits rows run the shipped configs on the packaged networks. Writes
``out/bench_training.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import torch

from reganie_core import networks
from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import ReganieWarning
from reganie_core.networks.lpips import LPIPS, LPIPSConfig
from trainer.loop import config as configs
from trainer.loop.clock import Clock
from trainer.loop.provenance import commit
from trainer.loop.report import peak_memory
from trainer.stages import stage_class

from .cases import WIDTHS

ROOT = Path(__file__).resolve().parents[1]
PACKAGED = ROOT / "reganie_core" / "portraits" / "weights"
PORTRAITS = ("portraits-generator", "portraits-encoder", "portraits-editor", "portraits-rectifier",
             "portraits-attributes", "portraits-text")
HEAD = """# Speed of training

Made by `make bench` (`python -m benchmarks.training --document docs/performance-training.md`). One warm-up step, then
{steps} measured; rendering of training pictures is not counted. Threads: {threads}; device: {device}; dtype: {dtype};
torch {torch}; commit {commit}; {date}; other work on the machine when it began (load average): {load:.1f}.

- `rectifier-A-512`: the paper's setting (widths A, StyleGAN2 config-f, e4e, LPIPS-VGG, with D's step), random weights.
- `portraits-...`: the shipped configs on the packaged networks, 128 px; attributes and text at 64 px.
- *Phase I* makes the triplets (generator, encoder, editor); *G*, *E* and *D* are what learns (*G*: the generator
  or the rectifier); *fakes* are the generator's pictures, *data* the training pictures.
  A dash: the stage computes in one piece.
- *GiB*: on a CPU the peak of the process, where a row reached a new one.
"""
COLUMNS = "| training | batch | images/s | s/kimg | GiB | share of the time |\n|---|---|---|---|---|---|"
CASES = ("rectifier-A-512", *PORTRAITS)


def paper_stage(folder: Path, options: list[str]) -> Any:
    """The rectifier stage at 512 px with random networks of the real sizes."""
    torch.manual_seed(0)
    channels = [width for size, width in WIDTHS.items() if size <= 512]
    G = networks.build("generator", {"type": "Generator", "resolution": 512, "channels": channels})
    E = networks.build("encoder", {"type": "Encoder4Editing", "num_ws": G.num_ws, "w_dim": 512})
    for kind, net in (("generator", G), ("encoder", E)):
        save_checkpoint(folder / f"{kind}.safetensors", kind, networks.describe(net), net.state_dict(), {})
    files = [f"{kind}={folder / kind}.safetensors" for kind in ("generator", "encoder")]
    cls = stage_class("rectifier")
    stage = cls(configs.build(cls.config_class, None, [*files, *options]))
    stage.features = LPIPS(LPIPSConfig()).requires_grad_(False).to(stage.config.device)
    return stage


def portraits_stage(name: str, folder: Path, options: list[str]) -> Any:
    """A stage of the portraits chain, at the packaged resolution where it has a config of that size."""
    resolution = json.loads((PACKAGED / "domain.json").read_text())["resolution"]
    stage = name.removeprefix("portraits-")
    cls = stage_class(stage)
    known = cls.config_class.__dataclass_fields__
    given = {"data": folder, "data_count": 512, "pretrain_mapping": 0,
             "init_from": PACKAGED / "generator.safetensors" if stage == "generator" else ""}
    given |= {key: PACKAGED / f"{file}.safetensors" for key, file in (
        ("generator", "generator"), ("encoder", "encoder"), ("attributes", "attributes"), ("editors", "dystyle"))}
    configs_of = ROOT / "trainer" / "configs"
    files_of = [configs_of / f"portraits-{size}" / f"{stage}.json" for size in (resolution, 64)]
    shipped = next(file for file in files_of if file.exists())
    names = json.loads(shipped.read_text())
    further = names.get("more_attributes", ())     # not packaged; the judge is as large
    given["more_attributes"] = ",".join([str(PACKAGED / "judge.safetensors")] * len(further))
    if "trunk" in names:
        given["trunk"] = PACKAGED / "attributes.safetensors"
    return cls(configs.build(cls.config_class, shipped, [*(f"{k}={v}" for k, v in given.items() if k in known),
                                                         *options]))


def measure(name: str, device: str, dtype: str, steps: int, batch: int) -> dict[str, Any]:
    """Images per second over `steps` steps after a warm-up, and each part's share of the time."""
    options = [f"device={device}", f"dtype={dtype}", *([f"batch={batch}"] if batch else [])]
    before = peak_memory()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ReganieWarning)
        stage = paper_stage(Path(folder), options) if name not in PORTRAITS else \
            portraits_stage(name, Path(folder), options)
        stage.step(0)
        stage.clock = Clock(device)
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for number in range(steps):
            stage.step((number + 1) * stage.config.batch)
        parts = stage.clock.read()          # waits for the device
        seconds = time.perf_counter() - start
    memory: float | None = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else peak_memory()
    if device != "cuda" and memory <= before:      # the peak of the whole process, reached by a case before this one
        memory = None
    return {"name": name, "batch": stage.config.batch, "images_per_s": steps * stage.config.batch / seconds,
            "s_per_kimg": 1000 * seconds / (steps * stage.config.batch), "peak_gib": memory,
            "share": {k: v / seconds for k, v in parts.items()}}


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    share = ", ".join(f"{k} {v:.0%}" for k, v in row["share"].items()) or "-"
    gib = "-" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
    return (f"| {row['name']} | {row['batch']} | {row['images_per_s']:.2f} | {row['s_per_kimg']:.0f} | {gib} "
            f"| {share} |")


def main() -> int:
    p = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    p.add_argument("--only", nargs="+", choices=CASES, default=CASES,
                   help="default: all; 512 px takes minutes on a CPU")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    p.add_argument("--steps", type=int, default=0, help="default: 20 on a GPU, 2 on a CPU")
    p.add_argument("--batch", type=int, default=0,
                   help="default: the config's; 4, the smallest with D, at 512 px on a CPU")
    p.add_argument("--document", metavar="FILE", help="write the table to this Markdown file as well")
    args = p.parse_args()
    rows, load = [], os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    steps = args.steps or (20 if args.device == "cuda" else 2)
    print(COLUMNS)
    for name in args.only:
        batch = args.batch or (4 if args.device == "cpu" and name not in PORTRAITS else 0)
        rows.append(measure(name, args.device, args.dtype, steps, batch))
        print(line(rows[-1]), flush=True)
    out = ROOT / "out"
    out.mkdir(exist_ok=True)
    machine = {"device": args.device, "dtype": args.dtype, "threads": torch.get_num_threads(),
               "torch": torch.__version__, "steps": steps, "load": load, "commit": commit()[:12],
               "date": f"{date.today()}"}
    (out / "bench_training.json").write_text(json.dumps({"machine": machine, "cases": rows}, indent=1))
    if args.document:
        Path(args.document).write_text("\n".join([HEAD.format(**machine), COLUMNS, *map(line, rows), ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
