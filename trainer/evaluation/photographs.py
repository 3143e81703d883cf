"""Edits of photographs beside the same people's real pictures: pairs NAME_neutral and NAME_smiling in a folder.

The neutral photograph is cut as the domain's pictures are, inverted, edited and carried at 512 px; the real smile is
cut in the same way. Every row that needs no network stands beside it. Nothing is exact here: two photographs of one
person also differ in light and pose, and the unchanged photograph shows by how much.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import reganie_core as rc
from reganie_core.alignment.trivial import trivial_rows
from reganie_core.editing import parse_edits
from reganie_core.errors import InputError, NotFoundError
from reganie_core.images import area_downsample, clamp, resize
from reganie_core.metrics import l2
from reganie_core.sheets import contact_sheet

from ..loop import provenance
from .local import Local, load_local
from .stats import mean, ratio

__all__ = ["MOUTH", "pairs", "run"]

SIZE, COMPARED = 512, 256
MOUTH = (slice(150, 256), slice(50, 206))       # rows and columns of the 256 px picture: the lower middle of a face
SHOWN = 8                                       # people on the sheet
BEFORE, AFTER = "_neutral", "_smiling"
UNCHANGED, EDITED, CARRY = "X0 unchanged", "Y^ (edited inversion)", "carry (no network)"


def pairs(folder: str) -> list[tuple[Path, Path]]:
    """The pictures NAME_neutral.* and NAME_smiling.* of a folder, by name.

    Raises:
        NotFoundError: no folder, or no pair in it.
    """
    place = Path(folder)
    files = {path.stem: path for path in sorted(place.glob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")}
    found = [(path, files[stem.removesuffix(BEFORE) + AFTER]) for stem, path in files.items()
             if stem.endswith(BEFORE) and stem.removesuffix(BEFORE) + AFTER in files]
    if not found:
        raise NotFoundError(f"{place} holds no pair of pictures NAME{BEFORE} and NAME{AFTER} (.jpg or .png); give "
                            "--pairs FOLDER.")
    return found


def cut(path: Path, domain: rc.Domain, detector: Any) -> Tensor:
    """The face of a photograph ``[1,3,512,512]``, cut as the domain's pictures are."""
    with Image.open(path) as photo:
        return rc.faces.align_photos(photo, SIZE, detector=detector, framing=domain.framing, names=[path.name]).crops


def rows_of(photo: Tensor, edits: Mapping[str, Any], domain: rc.Domain) -> dict[str, Tensor]:
    """{row: picture ``[1,3,512,512]``}."""
    result = rc.edit(photo, edits, domain=domain, rectifier="carry")
    return {UNCHANGED: photo, EDITED: clamp(resize(result.edited, SIZE)),
            **trivial_rows(result.edited, result.delta, result.inversion), CARRY: result.rectified}


def measured(pictures: Mapping[str, Tensor], real: Tensor, local: Local) -> dict[str, dict[str, float]]:
    """{row: {measure: value}} of one person: how far each is from the real picture."""
    wanted = area_downsample(real, COMPARED)
    out = {}
    for name, picture in pictures.items():
        small = area_downsample(picture, COMPARED)
        out[name] = {"mouth": float(l2(small[..., MOUTH[0], MOUTH[1]], wanted[..., MOUTH[0], MOUTH[1]])),
                     "whole": float(l2(small, wanted)),
                     **{label: float(value) for label, value in local.compare(small, wanted).items()}}
    return out


def table(found: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """{row: {column: mean with its interval}}, and how much nearer carry's mouth is than that row's."""
    columns = {row: {key: np.array([v[key] for v in values]) for key in values[0]} for row, values in found.items()}
    out: dict[str, dict[str, Any]] = {}
    for row, measures in columns.items():
        out[row] = {key: mean(values) for key, values in measures.items()}
        if row != CARRY:
            out[row]["carry's mouth over this"] = ratio(columns[CARRY]["mouth"], measures["mouth"])
    return out


def run(args: argparse.Namespace, command: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers of one invocation and its sheet."""
    if not args.pairs:
        raise InputError(f"photographs compares with real pictures: give --pairs FOLDER with NAME{BEFORE}.jpg and "
                         f"NAME{AFTER}.jpg.")
    people = pairs(args.pairs)[:args.count or None]
    domain = rc.load_domain(args.domain, device=args.device)
    local = load_local(args.weights, args.device) if args.weights else Local()
    detector = rc.faces.load_detector()
    tables: dict[str, Any] = {}
    shown: list[list[Tensor]] = []
    edits = args.edit or ["smile=+3", "smile=+4"]
    for text in edits:
        found: dict[str, list[dict[str, float]]] = {}
        for before, after in people:
            photo, real = (cut(path, domain, detector) for path in (before, after))
            pictures = rows_of(photo, parse_edits(text), domain)
            for name, values in measured(pictures, real, local).items():
                found.setdefault(name, []).append(values)
            if text == edits[-1] and len(shown) < SHOWN:
                shown.append([*pictures.values(), real])
        tables[text] = table(found)
    about = {"command": " ".join(command), "count": len(people), "seed": "none", "validation": False,
             "domain": args.domain, "commit": provenance.commit(), "torch": torch.__version__, "notes": [],
             "machine": f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
             "date": time.strftime("%Y-%m-%d")}
    sheet = contact_sheet([[tile[0] for tile in row] for row in shown], [*next(iter(tables.values())), "real picture"],
                          cell=192, gap=4)
    return {"about": about, "photographs": {"count": len(people), "tables": tables}}, {"people": sheet}
