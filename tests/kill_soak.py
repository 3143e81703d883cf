"""Kill a training run again and again at random moments; whatever is left must load, and the run must reach its end.

    python tests/kill_soak.py [--kills 50] [--seed 0] [--folder DIR]

Each round starts the run in a process of its own (the toy stage, saving after every step), waits a random moment, sends
SIGKILL, and reads the newest state that is whole: it must be there once one has been, and never older than the one
before the last that was seen.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from trainer import state  # noqa: E402

PROGRAM = Path(__file__).resolve().parent / "toy_stage.py"
STEP = 8          # images per step


def start(folder: Path, images: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), "--out", str(folder), "--resume", f"total_kimg={images / 1000}",
         "save_minutes=0", "tick_kimg=1000", f"batch={STEP}", "size=8"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def seen_in(folder: Path) -> int:
    """Images of the newest whole state; -1 when there is none yet."""
    path = folder / "state.safetensors"
    if not state.exists(path):
        return -1
    checkpoint = state.read_state(path)
    return int(json.loads(checkpoint.provenance["counters"])["seen"])


def kill_once(folder: Path, images: int, delay: float) -> tuple[int, bool]:
    """Start the run, kill it `delay` seconds after it began to train; (images of the state left, finished first?)."""
    before = seen_in(folder)
    process = start(folder, images)
    marker = folder / "state.safetensors"
    stamp = marker.stat().st_mtime_ns if marker.exists() else 0
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if marker.exists() and marker.stat().st_mtime_ns != stamp:
            break
        time.sleep(0.005)
    time.sleep(delay)
    finished = process.poll() is not None
    process.kill()
    output = process.communicate()[0]
    if finished and process.returncode != 0:
        raise SystemExit(f"The run failed by itself:\n{output}")
    left = seen_in(folder)
    if left < before:
        raise SystemExit(f"A kill lost work: {before} images before, {left} after.")
    return left, finished


def soak(folder: Path, kills: int, seed: int, images: int) -> list[int]:
    """Kill `kills` runs, let the last one finish; images seen after each kill."""
    random_moment = random.Random(seed)
    left = []
    for _ in range(kills):
        count, finished = kill_once(folder, images, random_moment.uniform(0.0, 0.3))
        left.append(count)
        if finished:
            images += images
    process = start(folder, images)
    output = process.communicate(timeout=600)[0]
    if process.returncode != 0 or "finished at" not in output:
        raise SystemExit(f"The resumed run did not reach its end:\n{output}")
    orphans = [p.name for p in folder.iterdir() if p.suffix == ".tmp" or ".new." in p.name]
    if orphans or seen_in(folder) < images:
        raise SystemExit(f"Left behind: {orphans}; {seen_in(folder)} of {images} images.")
    return left


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kills", type=int, default=50)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--images", type=int, default=40_000, help="length of the run")
    p.add_argument("--folder", type=Path, help="where the run lives; a temporary folder by default")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "run"
        left = soak(folder, args.kills, args.seed, args.images)
    print(f"{args.kills} kills; every one left a state that loads; images after each: {left}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
