#!/usr/bin/env python3
"""Measure a portraits domain against exact answers, or any domain on a folder of pictures.

    python trainer/evaluate.py reconstruction --method restyle=FILE --method pti:fast --json out/table1.json   (Table 1)
    python trainer/evaluate.py response [--images FOLDER --weights FOLDER]      Table 2; needs no exact answers
    python trainer/evaluate.py editing --edit yaw=+15 --edit age=+0.5           edits against exact answers
    python trainer/evaluate.py editing --size 512                               photos larger than the generator
    python trainer/evaluate.py editing --editor directions                      an editor unknown to the rectifier
    python trainer/evaluate.py editing --style toon                             another drawing style
    python trainer/evaluate.py ablation --rectifier "spatial only=FILE" --rectifier "global only=FILE"
    python trainer/evaluate.py photographs --domain faces --pairs FOLDER        beside the same people's real smiles
    python trainer/evaluate.py doubt                       does the mask of doubt lie where the errors are?
    python trainer/evaluate.py networks                    can the networks that the tables rely on be relied on?
    python trainer/evaluate.py generator                   samples against renders: precision, recall, distances
    python trainer/evaluate.py editor                      does an editor do what it is asked, and only that?
    python trainer/evaluate.py text                        edits by text, and rectifying such an unseen edit
    python trainer/evaluate.py document out/*.json --out docs/results.md        prose from a template, tables from runs

Tables of edits have the rows that any rectifier must beat: the picture unchanged, the edited inversion, the difference
pasted, the picture warped, and carrying without a network. People come from seeds that training never sees (from 10^9
up); --validation takes others, for looking while developing. Results go to standard output as Markdown; --json
FILE.json also writes FILE.json, FILE.md and FILE*.png, and keeps finished pieces in FILE.parts, from which a killed run
continues.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402

import reganie_core as rc  # noqa: E402
from reganie_core.cli.common import check_device, escape_output  # noqa: E402
from reganie_core.paths import atomic_write  # noqa: E402
from trainer.evaluation import photographs, tables  # noqa: E402
from trainer.evaluation.experiments import DEFAULT_EDITS, EXPERIMENTS, RUNNERS  # noqa: E402
from trainer.evaluation.people import FIRST_VALIDATION_SEED, check_seed  # noqa: E402
from trainer.loop import provenance  # noqa: E402
from trainer.portraits.renderer import FIRST_RESERVED_SEED  # noqa: E402


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python trainer/evaluate.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("experiment", choices=(*EXPERIMENTS, "photographs", "document"))
    p.add_argument("files", nargs="*", metavar="FILE.json", help="results that `document` puts together")
    p.add_argument("--out", default="docs/results.md", metavar="FILE", help="what `document` writes")
    p.add_argument("--template", default="", metavar="FILE",
                   help="prose of `document` (default: trainer/evaluation/results.template.md)")
    p.add_argument("--domain", default="portraits", help="packaged name or folder (default: portraits)")
    p.add_argument("--attributes", default="", metavar="FILE",
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
    p.add_argument("--method", action="append", default=[], metavar="NAME[=FILE]",
                   help="another inversion method as a row: restyle=FILE, hfgi=FILE, hyperstyle=FILE[,ENCODER], "
                   "e4e=FILE, pti, pti:fast, w, w+, w+:STEPS")
    p.add_argument("--slow-count", type=int, default=50, help="pictures for pti, w and w+ (default: 50)")
    p.add_argument("--rectifier", action="append", default=[], metavar="LABEL=FILE", help="another rectifier as a row")
    p.add_argument("--images", default="", metavar="FOLDER",
                   help="pictures of a folder instead of rendered ones (reconstruction, response)")
    p.add_argument("--pairs", default="", metavar="FOLDER",
                   help="photographs NAME_neutral and NAME_smiling of the same people (photographs)")
    p.add_argument("--weights", default="", metavar="FOLDER",
                   help="measure also with the networks whose files are there: LPIPS, ArcFace, CurricularFace, "
                   "HopeNet, DEX (for real faces; nothing is downloaded)")
    p.add_argument("--size", type=int, default=0, metavar="PIXELS",
                   help="photos of this size, larger than the generator's; `editing` compares at it (default: the "
                   "generator's)")
    p.add_argument("--style", default="default", choices=rc.portraits.STYLES, help="how portraits are drawn")
    p.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: cpu)")
    p.add_argument("--chunk", type=int, default=50, help="portraits at a time; memory grows with it, numbers do not")
    p.add_argument("--json", metavar="FILE", help="write the numbers here, and .md, .png and .parts beside it")
    return p


def prepare(args: argparse.Namespace) -> Any:
    """Everything an experiment needs, loaded."""
    from trainer.evaluation.bench import Bench, fingerprints, load_networks
    from trainer.evaluation.chunks import Chunks
    from trainer.evaluation.local import Local, load_local
    from trainer.evaluation.methods import parse_method, parse_rectifier

    if args.count < 0 or args.chunk < 1:
        raise rc.errors.InputError("--count and --chunk must be positive.")
    args.count = args.count or EXPERIMENTS[args.experiment]
    if args.seed is None:
        args.seed = FIRST_VALIDATION_SEED if args.validation else FIRST_RESERVED_SEED
    check_seed(args.seed, args.count, args.validation)
    domain = rc.load_domain(args.domain, device=check_device(args.device))
    domain.require("generator")
    local = load_local(args.weights, args.device) if args.weights else Local()
    attributes, identity = load_networks(domain, args.attributes, args.identity, args.device, needed=not local)
    methods = tuple(parse_method(text, domain, args.device) for text in args.method)
    rectifiers = dict(parse_rectifier(text, args.device) for text in args.rectifier)
    marks = {"methods": [(text, _mark(m.inverter.network)) for text, m in zip(args.method, methods, strict=True)],
             "local": local.names(), "rectifiers": [(label, net.fingerprint) for label, net in rectifiers.items()]}
    folder = Path(args.json).with_suffix(".parts") if args.json else None
    chunks = Chunks(folder, {**fingerprints(domain, attributes, identity), "device": args.device})
    return Bench(domain, attributes, identity, chunks, args.seed, args.validation, args.device, args.chunk, methods,
                 rectifiers, args.slow_count, local, marks, args.size)


def _mark(network: Any) -> str:
    """A fingerprint of what a method computes with."""
    from reganie_core.checkpoints import fingerprint

    return "" if network is None else fingerprint(network.state_dict())


def run(args: argparse.Namespace, command: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers of one invocation and its sheets {suffix: PIL image}."""
    bench = prepare(args)
    machine = torch.cuda.get_device_name(args.device) if torch.device(args.device).type == "cuda" else (
        f"{platform.machine()} CPU, {torch.get_num_threads()} threads")
    results: dict[str, Any] = {"about": {
        "command": " ".join(command), "count": args.count, "seed": args.seed, "validation": args.validation,
        "domain": args.domain, "commit": provenance.commit(), "torch": torch.__version__, "machine": machine,
        "date": time.strftime("%Y-%m-%d"), "notes": bench.notes()}}
    sheets: dict[str, Any] = {}
    results[args.experiment] = RUNNERS[args.experiment](bench, args, sheets)
    return results, sheets


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


def document(args: argparse.Namespace) -> None:
    """docs/results.md from a template and the JSON files of earlier runs."""
    from trainer.evaluation.document import TEMPLATE, compose

    template = Path(args.template or TEMPLATE)
    if not template.is_file():
        raise rc.errors.NotFoundError(f"There is no template {template}.")
    text = compose([Path(name) for name in args.files], template.read_text(encoding="utf-8"))
    with atomic_write(Path(args.out)) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    print(f"{args.out}: {len(args.files)} runs")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    escape_output()
    args = parser().parse_intermixed_args(argv)
    try:
        if args.experiment == "document":
            document(args)
            return 0
        measure = photographs.run if args.experiment == "photographs" else run
        results, sheets = measure(args, ["python", "trainer/evaluate.py", *argv])
        if args.json:
            write(Path(args.json), results, sheets)
    except rc.ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(tables.report(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
