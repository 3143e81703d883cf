"""``demo``: the whole system on pictures the generator has never seen, beside the exact answers."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..alignment.trivial import PASTED, PLAIN, WARPED, trivial_rows
from ..errors import InputError
from .common import Source, add_device, add_domain, check_device, ensure_folder, load_sources, print_json
from .photographs import photographs_sheet

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..domains import Domain
    from ..pipeline import EditResult

# Seeds from 10^9 up are never used for training or for choosing anything.
SPECS = ("1000000001:hat", "1000000002:earrings", "1000000003:hand", "1000000004:paint", "1000000005:pattern",
         "1000000006:hat+pattern", "1000000007:earrings+paint", "1000000008")
EDITS = {"yaw": 15.0, "smile": 0.7, "age": 0.7}

SIZE = 512  # pixels of the photos; the packaged generator makes 128
HEADS = {"X0 unchanged": "unchanged", "Y^": "Y^", PASTED: "pasted", WARPED: "warped", PLAIN: "plain",
         "result": "result", "learned rectifier": "learned"}

EPILOG = """The pictures are rendered, so every edit has an exact answer to compare with. Lower is better everywhere.
unchanged: the photo itself. Y^: the edited inversion. pasted: Y^ + dX. warped: the photo along the flow from X^ to Y^.
plain: Y^ + dX along that flow. result: what rc.edit gives. learned: the rectifier trained for this domain."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    parser.add_argument("-o", "--out", default="out/demo.png", help="sheet to write (default: out/demo.png)")
    add_domain(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Edit the example photographs and the demo portraits, write a sheet of each, print the portraits' table."""
    from ..domains import load_domain
    from ..images import check_target, save_image
    from ..pipeline import edit

    start = time.perf_counter()
    check_target(args.out)
    ensure_folder(Path(args.out).parent)
    domain = load_domain(args.domain, check_device(args.device))
    domain.require("generator", "encoder")
    photographs = photographs_sheet(args.device) if args.domain == "portraits" else None
    if photographs is not None:
        path = Path(args.out).with_name(f"{Path(args.out).stem}_photographs.png")
        save_image(photographs, path)
        if not args.json:
            print(f"photographs -> {path}\n")
    edits = _edits_of(domain)
    sources = load_sources([f"portrait:{spec}" for spec in SPECS], domain.generator.resolution, "error", SIZE)
    images = _stack([source.image for source in sources])
    inverted = edit(images, domain=domain)
    results = {name: edit(inverted, {name: change}, domain=domain) for name, change in edits.items()}
    exact = {name: _stack([source.exact({name: change}, images.shape[-1]) for source in sources])
             for name, change in edits.items()}
    rows = numbers(results, exact, domain)
    save_image(_sheet(sources, edits, results, exact), args.out)
    seconds = time.perf_counter() - start
    if args.json:
        print_json({"sheet": args.out, "seconds": round(seconds, 1), "rows": rows, "rectifier": inverted.used})
    else:
        _print_table(rows)
        print(f"\nresult: {inverted.used}; sheet -> {args.out}   ({len(sources)} portraits at {images.shape[-1]} px, "
              f"{len(edits)} edits each, {seconds:.1f} s)")
    return 0


def _edits_of(domain: Domain) -> dict[str, float]:
    """The demo's edits that this domain knows."""
    known = {control.name for editor in domain.editors.values() for control in editor.controls}
    edits = {name: change for name, change in EDITS.items() if name in known}
    if not edits:
        raise InputError(f"The domain {domain.name} has none of the controls {', '.join(EDITS)}; the demo needs one.")
    return edits


def _stack(images: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(images)


def numbers(results: dict[str, EditResult], exact: dict[str, Tensor], domain: Domain) -> list[dict[str, object]]:
    """Mean L2 of every picture to its exact answer, over the whole and over the region that changes.

    A smile changes few pixels, so the whole picture alone would reward doing nothing.
    """
    from ..images import clamp, resize
    from ..metrics import changed_region, l2, masked_l2
    from ..pipeline import edit

    rows: list[dict[str, object]] = []
    for name, result in results.items():
        region = changed_region(result.image, exact[name])
        pictures = {"X0 unchanged": result.image, "Y^": clamp(resize(result.edited, result.image.shape[-1])),
                    **trivial_rows(result.edited, result.delta, result.inversion), "result": result.rectified}
        if domain.rectifier is not None:
            pictures["learned rectifier"] = edit(result, {name: EDITS[name]}, domain=domain, rectifier="own").rectified
        rows.append({"task": name, "region": "all",
                     **{key: float(l2(picture, exact[name]).mean()) for key, picture in pictures.items()}})
        rows.append({"task": name, "region": "changed",
                     **{key: float(masked_l2(picture, exact[name], region).nanmean())
                        for key, picture in pictures.items()}})
    return rows


def _print_table(rows: list[dict[str, object]]) -> None:
    heads = [head for head in HEADS if head in rows[0]]
    print("mean L2 to the exact answer (pictures in [-1,1]); see --help for the columns")
    print(f"{'edit':<12}{'region':<9}" + "".join(f"{HEADS[head]:>11}" for head in heads))
    for row in rows:
        print(f"{row['task']} {EDITS[str(row['task'])]:+g}".ljust(12) + f"{row['region']:<9}"
              + "".join(f"{row[head]:>11.4f}" for head in heads))


def _sheet(sources: list[Source], edits: dict[str, float], results: dict[str, EditResult],
           exact: dict[str, Tensor]) -> Image.Image:
    from .edit import make_sheet, sheet_row

    rows = []
    for index, source in enumerate(sources):
        name = list(edits)[index % len(edits)]
        items = " + ".join(source.label.split()[1:]) or "plain"
        rows.append((f"{items}: {name} {edits[name]:+g}",
                     sheet_row(results[name], index, exact[name][index : index + 1])))
    return make_sheet(rows, "ReGANIE on portraits the generator has never seen", cell=256)
