"""Kill training runs of every stage again and again at random moments; whatever is left must load, and go on.

    python -m tests.kill_soak [--kills 100] [--stage NAME ...] [--seed 0] [--json out/soak/kills.json]

One process imports everything once and forks each run, so that a kill costs a second: the run is a process of its own,
saves after every step, and gets a real SIGKILL at a random moment of its start, its steps or its writes. After each:

- there is a whole state once there has been one; it is of the last step that was reported or of the one before;
- every file without a leading dot that ends in .safetensors is whole;
- at most one thing of the killed writer is left over, and the next start takes it away.

In the end the run goes on once more, undisturbed, and must equal a run that nobody has ever killed, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from tests.soak_about import about  # noqa: E402
from trainer.loop import state  # noqa: E402

PROGRAM = Path(__file__).resolve().parent / "toy_stage.py"
STEP = 8              # images per step of the toy stage
PATIENCE = 180.0      # seconds until a run must have saved


@dataclass
class Kill:
    """What one kill has met and left: images of the state, images of the last step reported, leftovers by name."""

    stage: str
    phase: str            # start, step or write
    seconds: float
    left: int
    reported: int
    orphans: list[str]


class Lost(SystemExit):
    """A kill lost something."""


def start(folder: Path, images: int) -> subprocess.Popen[str]:
    """The toy stage in a fresh interpreter."""
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


def reported_in(folder: Path) -> int:
    """Images up to the last step that stats.jsonl tells of; every step is told before it is saved."""
    try:
        lines = (folder / "stats.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return 0
    ticks = [record for record in map(json.loads, lines) if "s_per_kimg" in record]
    return round(ticks[-1]["kimg"] * 1000) if ticks else 0


def fork(folder: Path, work: Callable[[], int]) -> int:
    """``work`` in a process of its own, with its output in the run's log; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        code = work()
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def train(stage: str, folder: Path, options: list[str]) -> int:
    """What `python trainer/train.py STAGE --resume ...` does, in this process."""
    from trainer import train as program

    return program.main([stage, "--out", str(folder), "--resume", *options])


def leftovers(folder: Path) -> list[str]:
    """What no run leaves behind: hidden files and folders, and a state between two names."""
    found = [p.name for p in folder.glob("*") if p.name.startswith(".") or ".new." in p.name]
    return sorted(found)


def kill_once(stage: str, folder: Path, options: list[str], dice: random.Random) -> Kill:
    """Run, SIGKILL at a random moment, look at what is left."""
    before, marker = seen_in(folder), folder / "state.safetensors"
    stamp = marker.stat().st_mtime_ns if marker.exists() else 0
    begin = time.monotonic()
    pid = fork(folder, lambda: train(stage, folder, options))
    early = dice.random() < 0.2
    while not early and time.monotonic() - begin < PATIENCE:
        if (marker.exists() and marker.stat().st_mtime_ns != stamp) or gone(pid):
            break
        time.sleep(0.002)
    time.sleep(dice.uniform(0.0, 1.0 if early else 0.6))
    if gone(pid):
        raise Lost(f"The {stage} run ended by itself:\n{folder.with_suffix('.log').read_text()[-2000:]}")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    left, reported, orphans = seen_in(folder), reported_in(folder), leftovers(folder)
    phase = "write" if orphans else "start" if left == before else "step"
    kill = Kill(stage, phase, round(time.monotonic() - begin, 2), left, reported, orphans)
    check(kill, folder, before)
    return kill


def gone(pid: int) -> bool:
    """Whether a child has ended, without taking its status."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def check(kill: Kill, folder: Path, before: int) -> None:
    """Raise :class:`Lost` unless everything that must be there is, and is whole."""
    from reganie_core.checkpoints import read_checkpoint

    batch = json.loads((folder / "config.json").read_text())["batch"] if (folder / "config.json").exists() else 0
    if kill.left < before:
        raise Lost(f"A kill of {kill.stage} lost work: {before} images before, {kill.left} after.")
    if not kill.reported - batch <= max(kill.left, 0) <= kill.reported:
        raise Lost(f"{kill.stage}: the state has {kill.left} images, but {kill.reported} were reported.")
    # A state under its first name is whole, is what a resumed run reads, and is replaced by the next save.
    data = [path for path in folder.with_suffix(folder.suffix + ".data").glob("*") if ".part" in path.name]
    if len([name for name in kill.orphans if name.startswith(".")]) > 1 or len(data) > 2:
        raise Lost(f"{kill.stage}: leftovers pile up: {kill.orphans}")
    for path in folder.glob("*.safetensors"):
        if not path.name.startswith("."):
            read_checkpoint(path)


def undisturbed(stage: str, folder: Path, options: list[str], until: int) -> None:
    """Train to ``until`` images with everything else as in ``options``, stop as SIGTERM would, and end well."""
    def work() -> int:
        from trainer.loop.run import Run

        due = Run._due

        def stop_there(run: Run, kimg: float) -> bool:
            if run.seen >= until:
                run.stopping = True
            return due(run, kimg)

        Run._due = stop_there
        return train(stage, folder, options)

    status = os.waitstatus_to_exitcode(os.waitpid(fork(folder, work), 0)[1])
    if status or seen_in(folder) != until or leftovers(folder):
        raise Lost(f"The {stage} run did not end well ({status}, {seen_in(folder)} of {until} images, leftovers "
                   f"{leftovers(folder)}):\n{folder.with_suffix('.log').read_text()[-2000:]}")


def same(one: Path, other: Path) -> list[str]:
    """Names of tensors in which two runs' states differ."""
    a, b = (state.read_state(folder / "state.safetensors").tensors for folder in (one, other))
    return sorted(k for k in a.keys() | b.keys() if k not in a or k not in b or not a[k].equal(b[k]))


def soak_stage(stage: str, root: Path, kills: int, seed: int, say: Callable[[str], None] = print) -> list[Kill]:
    """Kill one stage's run ``kills`` times, let it go on, and compare it with one that was left alone."""
    from tests import soak_stages

    folder, calm = root / f"{stage}.killed", root / f"{stage}.calm"
    options = soak_stages.options(stage, root, folder)
    dice, met = random.Random(f"{seed} {stage}"), []
    for _ in range(kills):
        met.append(kill_once(stage, folder, options, dice))
    batch = json.loads((folder / "config.json").read_text())["batch"]
    until = max(seen_in(folder), 0) + 2 * batch
    undisturbed(stage, folder, options, until)
    undisturbed(stage, calm, options, until)
    if wrong := same(folder, calm):
        raise Lost(f"{stage} after {kills} kills differs from a run that was left alone: {', '.join(wrong[:5])}")
    phases = Counter(kill.phase for kill in met)
    say(f"{stage:12} {kills:3} kills ({', '.join(f'{n} in a {p}' for p, n in sorted(phases.items()))}): every state "
        f"loads, {until} images equal a run left alone, bit for bit; {sum(k.seconds for k in met):.0f} s")
    return met


def soak(stages: list[str], kills: int, seed: int, root: Path, say: Callable[[str], None] = print) -> list[Kill]:
    """``kills`` kills spread evenly over ``stages``."""
    import torch

    from tests import soak_stages
    from trainer.stages import stage_class

    torch.set_num_threads(1)             # a pool of threads would not survive the fork
    soak_stages.prepare(root, stages)
    for stage in stages:
        stage_class(stage)               # imported once, for all forks
    met = []
    for index, stage in enumerate(stages):
        share = kills // len(stages) + (index < kills % len(stages))
        if share:
            met += soak_stage(stage, root, share, seed, say)
    return met


def report(met: list[Kill], seed: int, seconds: float) -> dict[str, Any]:
    """What the summary tells."""
    names = dict.fromkeys(kill.stage for kill in met)
    return {"kills": len(met), "lost": 0, "seed": seed, "seconds": round(seconds),
            "stages": {name: dict(Counter(k.phase for k in met if k.stage == name)) for name in names},
            "phases": dict(Counter(k.phase for k in met)), "about": about(), "each": [asdict(k) for k in met]}


def main(argv: list[str] | None = None) -> int:
    from trainer.stages import STAGES

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kills", type=int, default=100)
    p.add_argument("--stage", action="append", choices=sorted(STAGES), help="only this one; may be given again")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--folder", type=Path, help="where the runs live; a temporary folder by default")
    p.add_argument("--json", type=Path, help="write what happened here")
    args = p.parse_args(argv)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        met = soak(args.stage or list(STAGES), args.kills, args.seed, args.folder or Path(temporary))
    found = report(met, args.seed, time.monotonic() - begin)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['kills']} kills of {len(found['stages'])} stages in {found['seconds']} s, nothing lost: "
          + ", ".join(f"{n} in a {p}" for p, n in sorted(found["phases"].items())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
