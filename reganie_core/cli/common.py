"""What several commands share: pictures by file or by portrait seed, devices, reports."""

from __future__ import annotations

import argparse
import fnmatch
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from ..editing import EditValue
    from ..portraits import Portraits

__all__ = [
    "Source",
    "add_device",
    "add_domain",
    "add_pictures",
    "amounts",
    "ensure_folder",
    "escape_output",
    "expand",
    "load_source",
    "load_sources",
    "one_line",
    "output_paths",
    "print_json",
    "read_edits",
]

PORTRAIT = re.compile(r"portrait:(\d{1,12})(?::([a-z_]+(?:\+[a-z_]+)*))?")
DRAWN = 512  # pixels: portraits are drawn larger than the packaged generator's 128, as photos are
PORTRAIT_HELP = "a picture file, or portrait:SEED[:item+item] for a rendered portrait (items: hat, earrings, ...)"


@dataclass(frozen=True)
class Source:
    """One input picture: where it came from, and its parameters when the renderer drew it."""

    spec: str
    label: str
    image: Tensor
    portrait: Portraits | None = None

    def exact(self, edits: Mapping[str, EditValue], size: int) -> Tensor | None:
        """The exact answer ``[1,3,size,size]`` to ``edits``; None for files, or controls the renderer lacks."""
        if self.portrait is None:
            return None
        from .. import portraits

        if not set(edits) <= set(portraits.attributes(self.portrait)):
            return None
        return portraits.render(portraits.edit(self.portrait, amounts(self.portrait, edits)), size)


def amounts(people: Portraits, edits: Mapping[str, EditValue]) -> dict[str, Any]:
    """Edits (amounts, absolute targets, on and off) as amounts for ``portraits.edit``; unknown names stay."""
    from ..editing import Target
    from ..portraits import attributes

    now, found = attributes(people), {}
    for name, value in edits.items():
        goal = value.value if isinstance(value, Target) else float(value) if isinstance(value, bool) else None
        found[name] = goal - now[name] if goal is not None and name in now else value
    return found


def expand(specs: Sequence[str]) -> list[str]:
    """Patterns such as ``photos/*.jpg`` as the files that they stand for: on Windows no shell does it.

    An existing path wins over a pattern, only the last part of a path is one, and hidden files are left out. A pattern
    without files stays as it is, and is then named as a picture that is not there.
    """
    found: list[str] = []
    for spec in specs:
        folder, name = os.path.split(spec)
        matches: list[str] = []
        if any(c in name for c in "*?[") and not os.path.exists(spec):
            try:
                names = fnmatch.filter(os.listdir(folder or "."), name)
            except (OSError, ValueError):
                names = []
            matches = sorted(path for path in (os.path.join(folder, n) for n in names if not n.startswith("."))
                             if os.path.isfile(path))
        found += matches or [spec]
    return found


def load_source(spec: str, size: int, fit: str, largest: int | None = None) -> Source:
    """One input as ``[1,3,s,s]``; see ``PORTRAIT_HELP`` for what a spec may be.

    s is ``size``; with ``largest`` it is the picture's own side, up to so many pixels, and portraits are drawn at
    ``DRAWN`` pixels.
    """
    from .. import portraits
    from ..images import clamp, load_image, resize, square

    match = PORTRAIT.fullmatch(spec)
    if match and not Path(spec).exists():
        items = tuple(match[2].split("+")) if match[2] else ()
        people = portraits.sample(1, int(match[1]), items=items)
        drawn = portraits.render(people, max(size, min(DRAWN, largest)) if largest else size)
        return Source(spec, " ".join([match[1], *items]), drawn, people)
    try:
        picture = square(load_image(spec), fit)
    except InputError as error:
        name = Path(spec).name
        raise error if name in str(error) else type(error)(f"{name}: {error}") from error
    side = max(size, min(largest or size, picture.shape[-1]))
    return Source(spec, Path(spec).stem, clamp(resize(picture, side)))


def load_sources(specs: list[str], size: int, fit: str, largest: int | None = None) -> list[Source]:
    """Every input as ``[1,3,s,s]``, all of them in memory."""
    return [load_source(spec, size, fit, largest) for spec in specs]


def output_paths(specs: list[str], out: str, suffix: str = ".png") -> list[Path]:
    """Where the results go: ``out`` itself for one picture and a name with a suffix, else files in the folder ``out``.

    Raises:
        InputError: a result would overwrite an input, a name that no picture can have, or a file stands where the
            folder should be.
    """
    from ..images import check_target
    from ..paths import refuse_overwriting_inputs

    target = Path(out)
    if len(specs) == 1 and target.suffix and not target.is_dir():
        check_target(target)
        ensure_folder(target.parent)
        paths = [target]
    else:
        if target.suffix and not target.is_dir():
            raise InputError(f"There are {len(specs)} pictures, so the output must be a folder, not the file {target}.")
        ensure_folder(target)
        paths = []
        for spec in specs:
            match = PORTRAIT.fullmatch(spec)
            stem = "_".join(part for part in ("portrait", match[1], match[2]) if part) if match else Path(spec).stem
            taken = {path.name.casefold() for path in paths}       # Windows and macOS take A.png and a.png for one
            tries = (f"{stem}{f'_{i}' if i else ''}{suffix}" for i in range(len(specs) + 1))
            name = next(name for name in tries if name.casefold() not in taken)
            paths.append(target / name)
    for path in paths:
        refuse_overwriting_inputs(path, list(specs))
    return paths


def ensure_folder(folder: Path) -> None:
    """Create a folder for results."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot create the folder {folder}: {error.strerror}. Choose another output.") from error


def read_edits(texts: list[str]) -> dict[str, EditValue]:
    """Several ``--edit`` options as one set."""
    from ..editing import parse_edits

    return dict(parse_edits(", ".join(texts)))


def add_pictures(parser: argparse.ArgumentParser, written: str) -> None:
    """What every command that reads pictures and writes one for each has; ``written`` says what."""
    parser.add_argument("photo", nargs="+", help=PORTRAIT_HELP)
    parser.add_argument("-o", "--out", required=True, help=f"{written}; a folder for several photos")
    parser.add_argument("--fit", choices=("error", "crop", "pad"), default="error",
                        help="what to do with a picture that is not square (default: refuse it)")
    add_domain(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="report as JSON")


def add_domain(parser: argparse.ArgumentParser) -> None:
    """``--domain``"""
    parser.add_argument("--domain", default="portraits", metavar="NAME|FOLDER",
                        help="packaged domain, or a folder with a domain.json (default: portraits)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """``--device``"""
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or mps (default: cpu)")


def check_device(name: str) -> str:
    """The device name, or :class:`InputError` when this machine does not have it."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise InputError(f"The device {ascii(name)} cannot be used here ({str(error).splitlines()[0][:80]}); devices "
                         "are cpu, cuda, cuda:1, mps and the like.") from error
    return name


def escape_output() -> None:
    """From now on, what standard output's encoding lacks is printed as an escape, as on standard error.

    A file name that the console cannot show (Cyrillic in a Western Windows, any in a pipe without a locale) must not
    end a command that has done its work.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def one_line(message: object) -> str:
    """One line without control characters: names out of files must not steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(message).split()))


def print_json(data: Any) -> None:
    """One JSON document on standard output; ASCII, because names in files may hold what a terminal cannot."""
    print(json.dumps(data, indent=2))
