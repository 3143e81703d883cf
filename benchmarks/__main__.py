"""Time, FLOPs, roof and memory of the networks beside a textbook path on the same weights.

    python -m benchmarks [--only NAME ...] [--rounds N] [--threads N] [--device cpu|cuda] [--dtype float32|bfloat16]

Writes ``out/bench.json`` and ``out/bench.md``. Figures of one run may be compared with each other, not with those of
another: the three paths take turns within every round, so that a loaded machine slows all of them, and the medians
over the rounds are reported.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from .cases import CASES, make_case
from .memory import peak_mib
from .roof import bare_convolutions


def clock(run: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name: str, device: str, dtype: torch.dtype, rounds: int, threads: int) -> dict[str, object]:
    """All figures of one case."""
    case = make_case(name, device, dtype)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        ours = case.ours()
    with torch.inference_mode():
        expected = case.textbook()
        error = ((ours - expected).abs().max() / expected.abs().max()).item()
        tolerance = 1e-4 if dtype == torch.float32 else 0.05
        if not error <= tolerance:
            raise SystemExit(f"{name}: the two paths differ by {error:.2e} of the largest value.")
        roof = bare_convolutions(case.ours)
        paths = {"ours": case.ours, "textbook": case.textbook, "roof": roof}
        times: dict[str, list[float]] = {path: [] for path in paths}
        for path in paths.values():
            clock(path, device)
        for _ in range(rounds):
            for path, run in paths.items():
                times[path].append(clock(run, device))
    medians = {path: statistics.median(values) for path, values in times.items()}
    ratios = [a / b for a, b in zip(times["textbook"], times["ours"], strict=True)]
    return {
        "name": name,
        "ours_ms": 1e3 * medians["ours"],
        "textbook_ms": 1e3 * medians["textbook"],
        "speedup": statistics.median(ratios),
        "roof_ms": 1e3 * medians["roof"],
        "fraction_of_roof": statistics.median(b / a for a, b in zip(times["ours"], times["roof"], strict=True)),
        "gflop": counter.get_total_flops() / 1e9,
        "gflop_per_s": counter.get_total_flops() / 1e9 / medians["ours"],
        "peak_mib": peak_mib(name, "ours", device, dtype, threads),
        "textbook_peak_mib": peak_mib(name, "textbook", device, dtype, threads),
        "relative_difference": error,
        "all_ms": {path: [round(1e3 * t, 1) for t in values] for path, values in times.items()},
    }


def processor(device: str) -> str:
    """The name of what computes."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    """Short hash of the checkout, or "unknown"."""
    try:
        run = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)
        return run.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def markdown(machine: dict[str, object], rows: list[dict[str, object]]) -> str:
    """The table that people read."""
    lines = [
        "# Speed",
        "",
        "; ".join(f"{key}: {value}" for key, value in machine.items()),
        "",
        "Batch 1; medians of interleaved rounds. Roof: the network's own dense convolutions and matrix products, bare. "
        "Memory: on top of the loaded network. FLOP = 2 x multiply-add.",
        "",
        "| network | ms | textbook ms | times faster | roof ms | of the roof | GFLOP | GFLOP/s | MiB | textbook MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        memory = ["-" if row[key] is None else f"{row[key]:.0f}" for key in ("peak_mib", "textbook_peak_mib")]
        lines.append(
            f"| {row['name']} | {row['ours_ms']:.0f} | {row['textbook_ms']:.0f} | {row['speedup']:.2f} "
            f"| {row['roof_ms']:.0f} | {row['fraction_of_roof']:.0%} | {row['gflop']:.0f} | {row['gflop_per_s']:.0f} "
            f"| {memory[0]} | {memory[1]} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the cases; exit status 1 where ours is the slower path."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of our path")
    parser.add_argument("--out", type=Path, default=Path("out"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    machine = {
        "processor": processor(args.device), "threads": args.threads, "torch": torch.__version__, "commit": commit(),
        "dtype": args.dtype, "rounds": args.rounds,
    }
    rows = []
    for name in args.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows.append(measure(name, args.device, dtype, args.rounds, args.threads))
    text = markdown(machine, rows)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bench.json").write_text(json.dumps({"machine": machine, "cases": rows}, indent=1))
    (args.out / "bench.md").write_text(text)
    print(text)
    slower = [row["name"] for row in rows if row["speedup"] < 1]
    if slower:
        print(f"Slower than the textbook path: {', '.join(slower)}.", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
