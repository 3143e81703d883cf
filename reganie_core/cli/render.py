"""``python -m reganie_core render``: pictures, data sets and attribute tables from seeds."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .common import amounts, ensure_folder, print_json

if TYPE_CHECKING:
    from ..editing import EditValue
    from ..portraits import Portraits

__all__ = ["add_arguments", "changes", "run"]

#: Portraits drawn at a time when files are written, so that large sets need little memory.
BATCH = 64
#: The largest sheet; a folder has no such limit.
MAX_SHEET = 1024
MAX_SIZE = 4096

EPILOG = """examples:
  python -m reganie_core render -o people.png                          16 people, one sheet
  python -m reganie_core render --seed 7 --edit yaw=+15 -o turned.png  the same people, turned by exactly 15 degrees
  python -m reganie_core render --count 2000 --size 64 -o set --attributes set/attributes.csv
  python -m reganie_core render --items hat,hand --masks -o long_tail  long-tail items and where they are
  python -m reganie_core render --list                                 attributes, units, ranges, items, styles

Portrait i of a set belongs to seed + i alone: the same seed is the same person in every set, size and batch.
Seeds from 1000000000 up are kept for measuring; training never uses them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command on its parser."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("--count", type=int, default=16, help="how many portraits (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first one (default: 0)")
    parser.add_argument("--size", type=int, default=128, help="side of a picture in pixels (default: 128)")
    parser.add_argument("--items", default="", metavar="NAME,...",
                        help="long-tail items for everybody: hat, earrings, paint, hand, pattern")
    parser.add_argument("--style", default="default", help="default, or toon (the out-of-domain style)")
    parser.add_argument("--edit", action="append", default=[], metavar="NAME=AMOUNT",
                        help="change an attribute: yaw=+15, yaw=@0 (absolute), glasses=on; may be repeated")
    parser.add_argument("-o", "--out", metavar="OUT", help="NAME.png for one sheet, or a folder for one PNG each")
    parser.add_argument("--attributes", metavar="FILE", help="also write a table of all attributes: .csv or .json")
    parser.add_argument("--masks", action="store_true",
                        help="with a folder: also write one grey PNG per item, white where it is seen")
    parser.add_argument("--columns", type=int, default=8, help="pictures per row of a sheet (default: 8)")
    parser.add_argument("--list", action="store_true", help="list attributes, items and styles as JSON, draw nothing")


def changes(people: Portraits, edits: Mapping[str, EditValue]) -> dict[str, Any]:
    """Edits as the command line writes them (amounts, absolute targets, on/off) as amounts for `portraits.edit`."""
    from ..editing import Target
    from ..editing.ranges import check_range
    from ..portraits import CONTROLS

    known = {control.name: control for control in CONTROLS}
    for name, value in edits.items():
        if name in known and not isinstance(value, bool):
            check_range(known[name], getattr(value, "value", value), isinstance(value, Target))
    return amounts(people, edits)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; raises InputError with one sentence for anything that cannot be done."""
    if args.list:
        _list()
        return 0
    _check(args)
    items = tuple(part for part in args.items.replace("+", ",").split(",") if part)
    if not args.out and not args.attributes:
        raise InputError("Nothing to write: give -o NAME.png, -o FOLDER or --attributes FILE.")
    out = Path(args.out) if args.out else None
    if out is not None and out.suffix and not out.is_dir():
        _sheet(args, items, out)
    elif out is not None:
        _folder(args, items, out)
    if args.attributes:
        _table(args, items, Path(args.attributes))
    return 0


def _check(args: argparse.Namespace) -> None:
    from ..images import check_target

    if args.count < 1:
        raise InputError(f"--count must be at least 1, got {args.count}.")
    if not 8 <= args.size <= MAX_SIZE:
        raise InputError(f"--size must lie between 8 and {MAX_SIZE} pixels, got {args.size}.")
    if args.columns < 1:
        raise InputError(f"--columns must be at least 1, got {args.columns}.")
    sheet = bool(args.out) and bool(Path(args.out).suffix) and not Path(args.out).is_dir()
    if sheet:
        check_target(args.out)
    if sheet and args.count > MAX_SHEET:
        raise InputError(f"A sheet holds up to {MAX_SHEET} portraits, got {args.count}; give a folder instead.")
    if args.masks and (sheet or not args.out):
        raise InputError("--masks writes one file per item and portrait; give a folder with -o.")
    if args.attributes and Path(args.attributes).suffix.lower() not in (".csv", ".json"):
        raise InputError(f"The attribute table {args.attributes} must end in .csv or .json.")


def _batches(args: argparse.Namespace, items: tuple[str, ...]) -> Iterator[tuple[int, Portraits]]:
    """(first seed, people) in batches, edits applied."""
    from ..editing import parse_edits
    from ..portraits import edit, sample

    edits = parse_edits(", ".join(args.edit))
    for start in range(args.seed, args.seed + args.count, BATCH):
        people = sample(min(BATCH, args.seed + args.count - start), start, items, args.style)
        yield start, edit(people, changes(people, edits))


def _sheet(args: argparse.Namespace, items: tuple[str, ...], out: Path) -> None:
    from ..images import save_image
    from ..portraits import render
    from ..sheets import contact_sheet

    pictures = [image for _, people in _batches(args, items) for image in render(people, args.size)]
    rows = [pictures[i:i + args.columns] for i in range(0, len(pictures), args.columns)]
    labels = [str(args.seed + i * args.columns) for i in range(len(rows))]
    ensure_folder(out.parent)
    save_image(contact_sheet(rows, row_labels=labels, cell=args.size, gap=4), out)


def _folder(args: argparse.Namespace, items: tuple[str, ...], out: Path) -> None:
    from PIL import Image

    from ..images import save_image
    from ..portraits import render

    ensure_folder(out)
    for start, people in _batches(args, items):
        images, masks = render(people, args.size, masks=True) if args.masks else (render(people, args.size), {})
        for i, image in enumerate(images):
            save_image(image, out / f"portrait_{start + i}.png")
            for item in items if args.masks else ():
                grey = (masks[item][i, 0] * 255.0).round().byte().numpy()
                save_image(Image.fromarray(grey), out / f"portrait_{start + i}_{item}.png")


def _table(args: argparse.Namespace, items: tuple[str, ...], target: Path) -> None:
    from ..paths import atomic_write
    from ..portraits import attributes

    rows = []
    for start, people in _batches(args, items):
        columns = {name: value.tolist() for name, value in attributes(people).items()}
        for i in range(len(people)):
            values = {name: round(column[i], 5) for name, column in columns.items()}
            rows.append({"seed": start + i, **values, "items": "+".join(items), "style": args.style})
    text = io.StringIO()
    if target.suffix.lower() == ".json":
        json.dump(rows, text, indent=1)
    else:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    ensure_folder(target.parent)
    with atomic_write(target) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _list() -> None:
    from ..portraits import CONTROLS, ITEMS, STYLES

    print_json({"controls": [asdict(control) for control in CONTROLS], "items": ITEMS, "styles": STYLES})
