"""``edit``: a portrait in, an accurate edit out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, ReganieError
from .batch import Batch, Done
from .common import add_pictures, check_device, ensure_folder, expand, output_paths, print_json, read_edits
from .photos import Photos, add_align

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..editing import EditValue
    from ..pipeline import EditResult

EPILOG = """edits:
  age=+1      change by an amount (units and ranges: python -m reganie_core controls)
  yaw=@-15    ask for an absolute value (editors that know absolute values)
  glasses=on  set a binary attribute
  beyond a control's range the edit is computed and a warning says so; beyond twice the range it is refused

several photos:
  each result is written when it is done; those that fail are named at the end, and the exit status is 1

examples:
  python -m reganie_core edit face.png -o older.png --edit age=+0.5
  python -m reganie_core edit a.png b.png -o out --edit yaw=+15 --edit smile=+0.5 --sheet sheet.png
  python -m reganie_core edit portrait:1000000005:hat -o out/hat.png --edit yaw=+15 --sheet
  python -m reganie_core edit photo.jpg -o out.png --edit age=+0.5 --align points.txt --paste-back
  python -m reganie_core edit face.png -o out.png --text 'an old woman with glasses'"""

COLUMNS = ("input", "inversion", "edited inversion", "difference", "pasted difference", "input warped",
           "carried (no network)", "rectified edit", "exact answer")
CELL, SHEET_ROWS = 160, 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    add_pictures(parser, "edited picture")
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
    add_align(parser)


def run(args: argparse.Namespace) -> int:
    """Edit the photos."""
    from ..domains import load_domain
    from ..editing.protocol import check_edits
    from ..images import save_image
    from ..pipeline import edit

    edits = _edits(args)
    if not 0.0 <= args.strength <= 2.0:
        raise InputError(f"--strength must be a number from 0 to 2, found {args.strength:g}.")
    args.photo = expand(args.photo)
    paths = output_paths(args.photo, args.out)
    sheet_path = _sheet_path(args, paths)
    domain = load_domain(args.domain, check_device(args.device))
    domain.require("generator", "encoder")
    batch = Batch(lambda done: None if args.json else print(
        f"{done.spec} -> {done.path or 'no usable face, skipped'}", flush=True))
    if edits:                       # what is wrong with an edit is wrong for every photo
        with batch.named_warnings():
            check_edits(domain.editor_for(edits), edits)
    rectifier = None if args.no_rectify else domain.choose_rectifier(args.rectifier)  # read once, refused before work
    photos = Photos(args, domain)
    rows: list[tuple[str, list[Image.Image | None]]] = []
    used: list[str | None] = []

    def work(spec: str, path: Path) -> Done:
        photo = photos.take(spec, path)
        if not photo.sources:
            picture = photo.without_faces()
        else:
            result = edit([source.image for source in photo.sources], edits, domain=domain,
                          rectify=not args.no_rectify, strength=args.strength, output=args.output,
                          rectifier="auto" if rectifier is None else rectifier)
            used.append(result.used)
            unedited = result.inversion if result.reconstruction is None else result.reconstruction
            picture = photo.result(result.result.cpu(), unedited.cpu())
            if sheet_path is not None:
                rows.extend((source.label, _cells(result, i, source.exact(edits, result.result.shape[-1])))
                            for i, source in enumerate(photo.sources))
        return Done(spec, None if picture is None else save_image(picture, path))

    batch.run(args.photo, paths, work)
    if sheet_path is not None and rows:
        try:
            save_image(make_sheet(rows, _described(edits) or "no edit"), sheet_path)
        except ReganieError:
            batch.finish()          # photos that failed are named, whatever comes after
            raise
    if args.json:
        print_json({"edits": _described(edits), "rectifier": used[0] if used else None,
                    "sheet": str(sheet_path) if sheet_path is not None and rows else None,
                    "pictures": batch.report("result")})
    else:
        if used:
            print(f"rectifier: {used[0] or 'none'}")
        if sheet_path is not None and rows:
            print(f"sheet -> {sheet_path}")
    return batch.finish()


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


def _described(edits: dict[str, EditValue]) -> str:
    """The edits as one line for titles and reports."""
    from ..editing import TextEdit, format_edits

    text = edits.get("text")
    if not isinstance(text, TextEdit):
        return format_edits(edits)
    return f"text: {text.target}" + (f" ({text.strength:+g})" if text.strength is not None else "")


def _sheet_path(args: argparse.Namespace, paths: list[Path]) -> Path | None:
    """Where the sheet goes, None without one.

    Raises:
        InputError: a name that no picture can have, that of a result or an input, or too many photos for one sheet.
    """
    from ..images import check_target
    from ..paths import refuse_overwriting_inputs

    if args.sheet is None:
        return None
    if args.sheet:
        path = Path(args.sheet)
    else:
        path = paths[0].with_name(paths[0].stem + "_sheet.png") if len(paths) == 1 else Path(args.out) / "sheet.png"
    check_target(path)
    if str(path).casefold() in {str(result).casefold() for result in paths}:
        raise InputError(f"The sheet and a result have the same name {path}; choose another.")
    if len(paths) > SHEET_ROWS:
        raise InputError(f"A sheet shows at most {SHEET_ROWS} photos, there are {len(paths)}; leave out --sheet.")
    refuse_overwriting_inputs(path, list(args.photo))
    ensure_folder(path.parent)
    return path


def sheet_row(result: EditResult, index: int, exact: Tensor | None) -> list[Tensor | None]:
    """The pictures of one row, in the order of ``COLUMNS``."""
    from ..alignment import Carry, trivial_rows
    from ..alignment.trivial import PASTED, WARPED
    from ..sheets import difference_picture

    one = slice(index, index + 1)
    trivial = trivial_rows(result.edited[one], result.delta[one], result.inversion[one])
    rectified, carried = None if result.rectified is None else result.rectified[one], None
    if result.used != Carry.label:  # then it is what stands in the next column
        carried = Carry().carried(result.edited[one], result.delta[one], result.inversion[one]).picture
    pictures = [result.image[one], result.inversion[one], result.edited[one], difference_picture(result.delta[one]),
                trivial[PASTED], trivial[WARPED], carried, rectified]
    row = [None if picture is None else picture[0].cpu() for picture in pictures]
    return [*row, None if exact is None else exact[0].cpu()]


def _cells(result: EditResult, index: int, exact: Tensor | None) -> list[Image.Image | None]:
    """``sheet_row`` at the size of a sheet's cells: all that memory holds of a photo until the others are done."""
    from ..sheets import in_cell

    return [None if picture is None else in_cell(picture, CELL) for picture in sheet_row(result, index, exact)]


def make_sheet(rows: Sequence[tuple[str, Sequence[Tensor | Image.Image | None]]], title: str,
               cell: int = CELL) -> Image.Image:
    """One row (label, cells) a face; columns without any picture (no rectifier, no exact answer) are left out."""
    from ..sheets import contact_sheet

    used = [c for c in range(len(COLUMNS)) if any(cells[c] is not None for _, cells in rows)]
    return contact_sheet([[cells[c] for c in used] for _, cells in rows], [COLUMNS[c] for c in used],
                         [label for label, _ in rows] if len(rows) > 1 else [], title, cell)
