"""``edit``: a portrait in, an accurate edit out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .common import (
    PORTRAIT_HELP,
    Source,
    add_device,
    add_domain,
    add_fit,
    check_device,
    ensure_folder,
    output_paths,
    print_json,
    read_edits,
)
from .photos import add_align, load_work

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..editing import EditValue
    from ..pipeline import EditResult

EPILOG = """edits:
  age=+1      change by an amount (units and ranges: python -m reganie_core controls)
  yaw=@-15    ask for an absolute value (editors that know absolute values)
  glasses=on  set a binary attribute

examples:
  python -m reganie_core edit face.png -o older.png --edit age=+0.5
  python -m reganie_core edit a.png b.png -o out --edit yaw=+15 --edit smile=+0.5 --sheet sheet.png
  python -m reganie_core edit portrait:1000000007:hat -o out/hat.png --edit yaw=+15 --sheet
  python -m reganie_core edit photo.jpg -o out.png --edit age=+0.5 --align points.txt --paste-back
  python -m reganie_core edit face.png -o out.png --text 'an old woman with glasses'"""

COLUMNS = ("input", "inversion", "edited inversion", "difference", "pasted difference", "input warped",
           "carried (no network)", "rectified edit", "exact answer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    parser.add_argument("photo", nargs="+", help=PORTRAIT_HELP)
    parser.add_argument("-o", "--out", required=True, help="edited picture; a folder for several photos")
    parser.add_argument("--edit", action="append", default=[], metavar="CONTROL=VALUE",
                        help="an edit such as age=+1; repeat for several")
    parser.add_argument("--text", metavar="DESCRIPTION",
                        help='what the picture should show, for example "an old woman with glasses"')
    parser.add_argument("--neutral", default="", metavar="DESCRIPTION",
                        help="what the text is compared with (default: the editor's own, for example a person)")
    parser.add_argument("--text-strength", type=float, metavar="AMOUNT",
                        help="how far to move towards the text; 0 is no edit (default: the editor's own)")
    parser.add_argument("--threshold", type=float, metavar="0..1",
                        help="leave out style channels that matter less for the text (default: the editor's own)")
    add_domain(parser)
    parser.add_argument("--no-rectify", action="store_true", help="stop after the edited inversion")
    parser.add_argument("--strength", type=float, default=1.0, help="0 edited inversion .. 1 rectified (default: 1)")
    parser.add_argument("--rectifier", default="auto", metavar="auto|own|carry|FILE",
                        help="auto: the domain's own where it has one and nothing better is known, else carry; carry: "
                             "no network, any generator; FILE: a trained one (default: auto)")
    parser.add_argument("--output", choices=("photo", "rectifier", "edited"), default="photo",
                        help="size of the result: the picture's own with all of its detail, the rectifier's, or the "
                             "generator's (default: photo)")
    parser.add_argument("--sheet", nargs="?", const="", metavar="FILE",
                        help="also write one picture of all steps (default name: OUT with _sheet)")
    add_fit(parser)
    add_align(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="report as JSON")


def run(args: argparse.Namespace) -> int:
    """Edit the photos."""
    import torch

    from ..domains import load_domain
    from ..images import save_image
    from ..paths import refuse_overwriting_inputs
    from ..pipeline import edit

    edits = _edits(args)
    domain = load_domain(args.domain, check_device(args.device))
    domain.require("generator")
    work = load_work(args, domain)
    sources = work.sources
    paths = output_paths(args.photo, args.out)
    sheet_path = _sheet_path(args, paths)
    if sheet_path is not None:
        if sheet_path in paths:
            raise InputError(f"The sheet and a result have the same name {sheet_path}; choose another.")
        refuse_overwriting_inputs(sheet_path, list(args.photo))
        ensure_folder(sheet_path.parent)
    result = edit(torch.cat([source.image for source in sources]), edits, domain=domain, rectify=not args.no_rectify,
                  strength=args.strength, output=args.output, rectifier=args.rectifier)
    unedited = result.inversion if result.reconstruction is None else result.reconstruction
    pictures = work.results(result.result.cpu(), unedited.cpu())
    for path, picture in zip(paths, pictures, strict=True):
        if picture is not None:
            save_image(picture, path)
    if sheet_path is not None:
        title = _said(edits) or "no edit"
        exact = [source.exact(edits, result.result.shape[-1]) for source in sources]
        save_image(make_sheet(sources, result, exact, title), sheet_path)
    if args.json:
        print_json({"edits": _said(edits), "rectifier": result.used, "sheet": sheet_path and str(sheet_path),
                    "pictures": [{"photo": spec, "result": None if picture is None else str(path)}
                                 for spec, path, picture in zip(args.photo, paths, pictures, strict=True)]})
    else:
        print(f"rectifier: {result.used or 'none'}")
        for spec, path, picture in zip(args.photo, paths, pictures, strict=True):
            print(f"{spec} -> {'no usable face, skipped' if picture is None else path}")
        if sheet_path is not None:
            print(f"sheet -> {sheet_path}")
    return 0


def _edits(args: argparse.Namespace) -> dict[str, EditValue]:
    """The edits asked for: by controls, or by a text."""
    from ..editing import TextEdit

    edits = read_edits(args.edit)
    if args.text is None:
        if args.neutral or args.text_strength is not None or args.threshold is not None:
            raise InputError("--neutral, --text-strength and --threshold belong to a text: add --text.")
        return edits
    if edits:
        raise InputError("--text and --edit are for different editors; give one of them, and edit its result with the "
                         "other.")
    return {"text": TextEdit(args.text, args.neutral, args.text_strength, args.threshold)}


def _said(edits: dict[str, EditValue]) -> str:
    """The edits as one line for titles and reports."""
    from ..editing import TextEdit, format_edits

    text = edits.get("text")
    if not isinstance(text, TextEdit):
        return format_edits(edits)
    return f"text: {text.target}" + (f" ({text.strength:+g})" if text.strength is not None else "")


def _sheet_path(args: argparse.Namespace, paths: list[Path]) -> Path | None:
    if args.sheet is None:
        return None
    if args.sheet:
        return Path(args.sheet)
    return paths[0].with_name(paths[0].stem + "_sheet.png") if len(paths) == 1 else Path(args.out) / "sheet.png"


def sheet_row(result: EditResult, index: int, exact: Tensor | None) -> list[Tensor | None]:
    """The pictures of one row, in the order of ``COLUMNS``."""
    from ..alignment import Carry, trivial_rows
    from ..alignment.trivial import PASTED, WARPED
    from ..sheets import difference_picture

    one = slice(index, index + 1)
    trivial = trivial_rows(result.edited[one], result.delta[one], result.inversion[one])
    carried = Carry().carried(result.edited[one], result.delta[one], result.inversion[one]).picture
    rectified = result.rectified[one] if result.rectified is not None and result.used != Carry.label else None
    pictures = [result.image[one], result.inversion[one], result.edited[one], difference_picture(result.delta[one]),
                trivial[PASTED], trivial[WARPED], carried, rectified]
    row = [None if picture is None else picture[0].cpu() for picture in pictures]
    return [*row, None if exact is None else exact[0].cpu()]


def make_sheet(sources: list[Source], result: EditResult, exact: list[Tensor | None], title: str) -> Image.Image:
    """One row a photo; columns without any picture (no rectifier, no exact answer) are left out."""
    from ..sheets import contact_sheet

    rows = [sheet_row(result, index, exact[index]) for index in range(len(sources))]
    kept = [c for c in range(len(COLUMNS)) if any(row[c] is not None for row in rows)]
    return contact_sheet([[row[c] for c in kept] for row in rows], [COLUMNS[c] for c in kept],
                         [source.label for source in sources] if len(sources) > 1 else [], title)
