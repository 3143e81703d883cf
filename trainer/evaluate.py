#!/usr/bin/env python3
"""Measure a portraits domain against exact answers.

    python trainer/evaluate.py summary                     reconstruction and editing, the tables of the README
    python trainer/evaluate.py judges                      can the networks that the tables rely on be relied on?
    python trainer/evaluate.py generator --count 5000      samples against renders: precision, recall, kernel distance
    python trainer/evaluate.py reconstruction --json out/reconstruction.json
    python trainer/evaluate.py editing --edit yaw=+15 --edit age=+0.5
    python trainer/evaluate.py editor                      does an editor do what it is asked, and only that?

Tables of pictures have three trivial rows: the picture unchanged, the plain (edited) inversion, and the pasted
difference. People come from seeds that training never sees (from 10^9 up); --validation takes others, for looking while
developing. Results go to standard output as Markdown; --json FILE.json also writes FILE.json, FILE.md and FILE*.png,
and keeps finished pieces in FILE.parts, from which a killed run continues. Started by torchrun, processes share the
work (with --json).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import reganie_core as rc  # noqa: E402
from reganie_core.paths import atomic_write  # noqa: E402
from trainer import provenance  # noqa: E402
from trainer.data import FIRST_RESERVED_SEED  # noqa: E402
from trainer.evaluation import stats, tables  # noqa: E402
from trainer.evaluation.people import FIRST_VALIDATION_SEED, check_seed  # noqa: E402

# experiment -> portraits by default
EXPERIMENTS = {"summary": 1000, "judges": 2000, "generator": 5000, "reconstruction": 1000, "editing": 1000,
               "editor": 500}
DEFAULT_EDITS = ("yaw=+15", "yaw=-15", "smile=+0.5", "age=+0.5", "glasses=on")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python trainer/evaluate.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("experiment", choices=EXPERIMENTS)
    p.add_argument("--domain", default="portraits", help="packaged name or folder (default: portraits)")
    p.add_argument("--judge", default="", metavar="FILE",
                   help="attribute network that only tables use (default: judge.safetensors of the domain)")
    p.add_argument("--identity", default="", metavar="FILE",
                   help="identity network that only tables use (default: identity_judge.safetensors of the domain)")
    p.add_argument("--count", type=int, default=0, help="portraits; for pictures half of them have a long-tail item. "
                   "Default: " + ", ".join(f"{name} {count}" for name, count in EXPERIMENTS.items()))
    p.add_argument("--seed", type=int, default=None, help="first seed, from 10^9 up")
    p.add_argument("--validation", action="store_true", help="use seeds from 5*10^8 and mark the output as validation")
    p.add_argument("--edit", action="append", default=[], metavar="NAME=+V",
                   help=f"edits to measure, one table each (default: {', '.join(DEFAULT_EDITS)})")
    p.add_argument("--editor", default="", choices=("", "dystyle", "directions", "styleclip"),
                   help="editor of `editing` (default: the first of the domain that knows the edit)")
    p.add_argument("--drop", action="append", default=[], metavar="ATTRIBUTE",
                   help="attribute that `judges` found unreliable: not reported")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    p.add_argument("--chunk", type=int, default=50, help="portraits at a time; memory grows with it, numbers do not")
    p.add_argument("--json", metavar="FILE", help="write the numbers here, and .md, .png and .parts beside it")
    p.add_argument("--strict", action="store_true", help="exit with 2 when a criterion is not met")
    return p


def prepare(args: argparse.Namespace) -> Any:
    """Everything an experiment needs, loaded."""
    from trainer.evaluation.bench import Bench, fingerprints, load_judges
    from trainer.evaluation.chunks import Chunks

    if args.count < 0 or args.chunk < 1:
        raise rc.errors.InputError("--count and --chunk must be positive.")
    args.count = args.count or EXPERIMENTS[args.experiment]
    if args.seed is None:
        args.seed = FIRST_VALIDATION_SEED if args.validation else FIRST_RESERVED_SEED
    check_seed(args.seed, args.count, args.validation)
    domain = rc.load_domain(args.domain, device=args.device)
    domain.require("generator")
    judge, identity = load_judges(domain, args.judge, args.identity, args.device)
    folder = Path(args.json).with_suffix(".parts") if args.json else None
    chunks = Chunks(folder, {**fingerprints(domain, judge, identity), "device": args.device,
                             "dropped": sorted(args.drop)})
    return Bench(domain, judge, identity, chunks, args.seed, args.validation, args.device, args.chunk,
                 frozenset(args.drop))


def run(args: argparse.Namespace, command: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers of one invocation and its sheets {suffix: PIL image}."""
    import torch

    bench = prepare(args)
    machine = torch.cuda.get_device_name(args.device) if torch.device(args.device).type == "cuda" else (
        f"{platform.machine()} CPU, {torch.get_num_threads()} threads")
    results: dict[str, Any] = {"about": {
        "command": " ".join(command), "count": args.count, "seed": args.seed, "validation": args.validation,
        "domain": args.domain, "commit": provenance.commit(), "torch": torch.__version__, "machine": machine,
        "date": time.strftime("%Y-%m-%d"), "notes": bench.notes()}}
    sheets: dict[str, Any] = {}
    names = ("reconstruction", "editing") if args.experiment == "summary" else (args.experiment,)
    for name in names:
        results[name] = RUNNERS[name](bench, args, sheets)
    return results, sheets


def _judges(bench: Any, args: argparse.Namespace, sheets: dict[str, Any]) -> Any:
    from trainer.evaluation.judges import judges

    return judges(bench, args.count)


def _generator(bench: Any, args: argparse.Namespace, sheets: dict[str, Any]) -> Any:
    from reganie_core.sheets import contact_sheet
    from trainer.evaluation import generators

    if args.json:
        sheets["samples"] = contact_sheet(generators.sheet(bench), cell=max(96, bench.resolution), gap=4)
    return generators.generator(bench, args.count)


def _reconstruction(bench: Any, args: argparse.Namespace, sheets: dict[str, Any]) -> Any:
    from reganie_core.sheets import contact_sheet
    from trainer.evaluation import reconstruction
    from trainer.evaluation.people import held_out_people

    bench.domain.require("encoder", "rectifier")
    people = held_out_people(args.count, args.seed, args.validation)
    if args.json:
        rows, columns, labels = reconstruction.sheet(bench, people)
        sheets["reconstruction"] = contact_sheet(rows, columns, labels, "Reconstruction")
    return reconstruction.reconstruction(bench, people)


def _editing(bench: Any, args: argparse.Namespace, sheets: dict[str, Any]) -> Any:
    from reganie_core.editing import parse_edits
    from reganie_core.sheets import contact_sheet
    from trainer.evaluation import editing
    from trainer.evaluation.people import held_out_people

    bench.domain.require("encoder", "rectifier")
    bench = bench.with_editor(args.editor)
    people = held_out_people(args.count, args.seed, args.validation)
    results = []
    for text in args.edit or DEFAULT_EDITS:
        edits = {name: changes(name, value) for name, value in parse_edits(text).items()}
        if args.json:
            rows, columns, labels = editing.sheet(bench, people, edits)
            label = "-".join(f"{name}{value:+g}" for name, value in edits.items())
            sheets[label] = contact_sheet(rows, columns, labels, text)
        results.append(editing.editing(bench, people, edits))
    return results


def _editor(bench: Any, args: argparse.Namespace, sheets: dict[str, Any]) -> Any:
    from trainer.evaluation.editors import editor

    bench.domain.require("encoder")
    return editor(bench, args.count, (args.editor,) if args.editor else ())


RUNNERS: dict[str, Callable[..., Any]] = {
    "judges": _judges, "generator": _generator, "reconstruction": _reconstruction, "editing": _editing,
    "editor": _editor,
}


def changes(name: str, value: Any) -> float:
    """An edit as the change that the exact answer makes; absolute values are refused."""
    if isinstance(value, rc.Target):
        raise rc.errors.InputError(f"{name}=@... is an absolute value; tables compare changes, write {name}=+1.")
    return (1.0 if value else -1.0) if isinstance(value, bool) else float(value)


def write(path: Path, results: dict[str, Any], sheets: dict[str, Any]) -> None:
    """FILE.json, FILE.md and FILE.png (FILE-NAME.png when there are several), each complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, text in ((path, json.dumps(results, indent=1) + "\n"), (path.with_suffix(".md"),
                                                                        tables.report(results))):
        with atomic_write(target) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")
    for name, sheet in sheets.items():
        suffix = "" if len(sheets) == 1 else f"-{name}"
        with atomic_write(path.with_name(f"{path.stem}{suffix}.png")) as temporary:
            sheet.save(temporary, format="PNG")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    try:
        import os

        results, sheets = run(args, ["python", "trainer/evaluate.py", *argv])
        if int(os.environ.get("RANK", 0)):
            return 0
        if args.json:
            write(Path(args.json), results, sheets)
    except rc.ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tables.report(results))
    return 2 if args.strict and not stats.all_met(results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
