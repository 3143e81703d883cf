"""Break every promise on purpose: its test must fail. Run by hand; `make test` does not run it.

    python tests/promises/break.py [--only N ...] [--no-baseline]

The files of the repository are copied into a temporary folder. For each promise its test file runs there as it is (it
must pass), then with one textual change to the product (it must fail), and the change is taken back. Prints a table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in `file`, where it stands exactly once; without `old`, `new` is appended."""

    what: str
    file: str
    old: str
    new: str


MUTATIONS: dict[int, Mutation] = {
    1: Mutation("a name outside the allow-list is imported and called", "reganie_core/checkpoints/allowlist.py",
                '    raise UnsafeCheckpointError(\n        f"The file asks for',
                "    import importlib\n\n    thing = getattr(importlib.import_module(module), name)\n"
                "    return lambda machine, args: thing(*args)\n"
                '    raise UnsafeCheckpointError(\n        f"The file asks for'),
    2: Mutation("convert stores float16", "reganie_core/checkpoints/conversion.py",
                "save_checkpoint(dst, found, config, tensors, provenance, dtype)",
                'save_checkpoint(dst, found, config, tensors, provenance, __import__("torch").float16)'),
    3: Mutation("weights are not looked at for NaN and infinity", "reganie_core/checkpoints/ours.py",
                '"""Raise ``CorruptCheckpointError`` naming the first tensor with a NaN or an infinity."""',
                '"""Nothing."""\n    return'),
    4: Mutation("edit() looks for a newer version and hides that it failed", "reganie_core/algorithm1.py",
                "    w = encode(generator, encoder, clamp(resize(x0, generator.resolution)))  # Phase I: w = E(X0)\n",
                "    w = encode(generator, encoder, clamp(resize(x0, generator.resolution)))\n"
                "    try:\n        import socket\n"
                '        socket.create_connection(("192.0.2.1", 80), 0.01)\n    except BaseException:\n        pass\n'),
    5: Mutation("importing the nodes switches cuDNN's benchmark on", "nodes/__init__.py", "_host.register_folders()\n",
                "_host.register_folders()\nimport torch\ntorch.backends.cudnn.benchmark = True\n"),
    6: Mutation("importing the nodes imports torch's compiler", "nodes/__init__.py", "_host.register_folders()\n",
                "_host.register_folders()\nimport torch._dynamo, torch._inductor.compile_fx\n"),
    7: Mutation("pixels outside the square go through [-1,1] and back", "nodes/faces.py",
                "colours = torch.where(weight[..., None] > 0, changed, colours.expand_as(changed))",
                "colours = changed"),
    8: Mutation("an unfit face is taken all the same", "reganie_core/faces/align.py",
                "problems = [problem_with(face, limits) for face in faces]", "problems = [None for face in faces]"),
    9: Mutation("strength 0 still darkens by a thousandth", "reganie_core/rectification.py",
                "        return Carried(base.clone(), mask)\n",
                "        return Carried(base * 0.999, mask)\n"),
    10: Mutation("the rectifier paints the inversion in place of the edit", "reganie_core/algorithm1.py",
                 "(painted[0::2], painted[1::2]) if edits", "(painted[0::2], painted[0::2]) if edits"),
    11: Mutation("SampleLatent draws from the host's random numbers", "nodes/_pictures.py",
                 "z = torch.randn(count, generator.value.z_dim, generator=torch.Generator().manual_seed(seed))",
                 "z = torch.randn(count, generator.value.z_dim)"),
    12: Mutation("a save removes the state before it", "trainer/loop/state.py",
                 "        os.replace(newest, previous)\n", "        newest.unlink()\n"),
    13: Mutation("resuming forgets the optimisers' moments", "trainer/loop/state.py",
                 'restore_optimizer(optimizer, part(f"optimizer.{name}."))', "pass"),
    14: Mutation("steps that are not finite never end a run", "trainer/loop/run.py", "BAD_STEPS = 10 ",
                 "BAD_STEPS = 10**9 "),
    15: Mutation("a wrong SHA-256 sum is not looked at", "reganie_core/checkpoints/sums.py",
                 "    if found != wanted:\n", "    if found != wanted and False:\n"),
}


def copy(target: Path) -> None:
    """The files that git knows, as they are now."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def passes(folder: Path, test: Path) -> tuple[bool, str]:
    """Whether a test file passes in the copy, and the last line pytest says."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(test)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                         env={**os.environ, "OMP_NUM_THREADS": "1"})
    said = [line for line in run.stdout.splitlines() if line.startswith("FAILED")] + run.stdout.splitlines()[-1:]
    if run.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run {test.name}: {run.stdout[-2000:]}{run.stderr[-500:]}")
    return run.returncode == 0, said[0] if said else ""


def broken(folder: Path, test: Path, mutation: Mutation) -> tuple[bool, str]:
    """Whether the test file fails while the mutation is in place."""
    file = folder / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.file} has changed: {mutation.old!r} is there {text.count(mutation.old)} times.")
    try:
        file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        good, said = passes(folder, test)
    finally:
        file.write_text(text, encoding="utf-8")
    return not good, said


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", type=int, nargs="*", default=sorted(MUTATIONS), metavar="N")
    p.add_argument("--no-baseline", action="store_true", help="do not run the tests unbroken first")
    args = p.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy(folder)
        print("| promise | broken on purpose | failed | by |\n| ---: | --- | --- | --- |", flush=True)
        for number in args.only:
            mutation, (test,) = MUTATIONS[number], (ROOT / "tests" / "promises").glob(f"test_{number:02d}_*.py")
            test, start = test.relative_to(ROOT), time.monotonic()
            if not args.no_baseline and not passes(folder, test)[0]:
                raise SystemExit(f"{test} fails before anything is broken.")
            failed, said = broken(folder, test, mutation)
            missed += not failed
            name = said.partition("::")[2].partition(" - ")[0].partition("[")[0]
            print(f"| {number} | {mutation.what} | {'yes' if failed else '**no**'} | `{name}` |", flush=True)
            print(f"{number}: {time.monotonic() - start:.0f} s: {said[:300]}", file=sys.stderr, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
