"""``demo``: the whole system on pictures the generator has never seen, beside the exact answers."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .common import Source, add_device, add_domain, check_device, ensure_folder, load_sources, print_json

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..domains import Domain
    from ..pipeline import EditResult

# Seeds from 10^9 up are never used for training or for choosing anything.
SPECS = ("1000000001:hat", "1000000002:earrings", "1000000003:hand", "1000000004:paint", "1000000005:pattern",
         "1000000006:hat+pattern", "1000000007:earrings+paint", "1000000008")
EDITS = {"yaw": 15.0, "smile": 0.7, "age": 0.7}

EPILOG = """The pictures are rendered, so every edit has an exact answer to compare with. Lower is better everywhere.
"pasted" adds the difference to the (edited) inversion without a network: perfect as long as nothing is edited."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    parser.add_argument("-o", "--out", default="out/demo.png", help="sheet to write (default: out/demo.png)")
    add_domain(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: argparse.Namespace) -> int:
    """Edit the demo portraits, write the sheet, print the table."""
    from ..domains import load_domain
    from ..images import check_target, save_image
    from ..pipeline import edit

    start = time.perf_counter()
    check_target(args.out)
    ensure_folder(Path(args.out).parent)
    domain = load_domain(args.domain, check_device(args.device))
    domain.require("generator", "encoder", "rectifier")
    edits = _edits_of(domain)
    sources = load_sources([f"portrait:{spec}" for spec in SPECS], domain.generator.resolution, "error")
    images = _stack([source.image for source in sources])
    results, exact = {}, {}
    for name, change in edits.items():
        results[name] = edit(images, {name: change}, domain=domain)
        exact[name] = _stack([source.exact({name: change}, domain.rectifier.resolution) for source in sources])
    rows = numbers(results, exact)
    save_image(_sheet(sources, edits, results, exact), args.out)
    seconds = time.perf_counter() - start
    if args.json:
        print_json({"sheet": args.out, "seconds": round(seconds, 1), "rows": rows})
    else:
        _print_table(rows)
        print(f"\nsheet -> {args.out}   ({len(sources)} portraits, {len(edits)} edits each, {seconds:.1f} s)")
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


def numbers(results: dict[str, EditResult], exact: dict[str, Tensor]) -> list[dict[str, object]]:
    """Mean L2 of every picture to what it should be: the input for the reconstruction, the exact answer for edits.

    Edits are also measured over the region where the exact answer differs from the input: a smile changes few pixels,
    so the whole picture would reward doing nothing.
    """
    from ..images import area_downsample
    from ..metrics import changed_region, l2, masked_l2
    from ..rectify import paste

    rows: list[dict[str, object]] = []
    first = next(iter(results.values()))
    size = first.rectified.shape[-1]

    def small(images: Tensor) -> Tensor:
        return area_downsample(images, size).cpu()

    x0 = small(first.image)
    pictures = {"X0 unchanged": x0, "inversion": small(first.inversion),
                "pasted": paste(small(first.inversion), small(first.delta)), "rectified": first.reconstruction.cpu()}
    rows.append({"task": "reconstruction", "region": "all",
                 **{name: float(l2(picture, x0).mean()) for name, picture in pictures.items()}})
    for name, result in results.items():
        region = changed_region(x0, exact[name])
        edited = small(result.edited)
        pictures = {"X0 unchanged": x0, "inversion": edited, "pasted": paste(edited, small(result.delta)),
                    "rectified": result.rectified.cpu()}
        rows.append({"task": name, "region": "all",
                     **{key: float(l2(picture, exact[name]).mean()) for key, picture in pictures.items()}})
        rows.append({"task": name, "region": "changed",
                     **{key: float(masked_l2(picture, exact[name], region).nanmean())
                        for key, picture in pictures.items()}})
    return rows


def _print_table(rows: list[dict[str, object]]) -> None:
    heads = ("X0 unchanged", "inversion", "pasted", "rectified")
    print("mean L2 (images in [-1,1]); inversion is the edited inversion for edits")
    print(f"{'task':<16}{'region':<9}" + "".join(f"{head:>14}" for head in heads))
    for row in rows:
        task = row["task"] if row["task"] == "reconstruction" else f"{row['task']} {EDITS[str(row['task'])]:+g}"
        print(f"{task:<16}{row['region']:<9}" + "".join(f"{row[head]:>14.4f}" for head in heads))


def _sheet(sources: list[Source], edits: dict[str, float], results: dict[str, EditResult],
           exact: dict[str, Tensor]) -> Image.Image:
    from ..sheets import contact_sheet
    from .edit import COLUMNS, sheet_row

    rows, labels = [], []
    for index, source in enumerate(sources):
        name = list(edits)[index % len(edits)]
        rows.append(sheet_row(results[name], index, exact[name][index : index + 1]))
        items = " + ".join(source.label.split()[1:]) or "plain"
        labels.append(f"{items}: {name} {edits[name]:+g}")
    return contact_sheet(rows, list(COLUMNS), labels, "ReGANIE on portraits the generator has never seen", cell=128)
