#!/usr/bin/env python3
"""Collect trained networks into a domain folder that `rc.load_domain` and the nodes read.

    python trainer/package.py --out reganie_core/portraits/weights --name portraits \\
        generator=runs/generator/generator.safetensors encoder=runs/encoder/encoder.safetensors \\
        directions=runs/directions/directions.safetensors rectifier=runs/rectifier/rectifier.safetensors \\
        extra:attributes=runs/attributes/attributes.safetensors extra:judge=runs/judge/attributes.safetensors --examples

`part=FILE` becomes a part of the domain; `extra:name=FILE` is stored beside them for training and tables. With
--examples, a few portraits with long-tail items (seeds from 10^9 up) are rendered as example pictures; --example FILE
adds a picture of your own, already cut as the domain's pictures are. --framing says how that was. domain.json holds
the SHA-256 sum of every network, which readers compare; what `usual.py` and others wrote into it stays.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from reganie_core import portraits  # noqa: E402
from reganie_core.checkpoints import load_generator, read_checkpoint  # noqa: E402
from reganie_core.checkpoints.files import sha256_of  # noqa: E402
from reganie_core.checkpoints.sums import MANIFEST  # noqa: E402
from reganie_core.domains import PARTS, load_domain  # noqa: E402
from reganie_core.errors import InputError, ReganieError  # noqa: E402
from reganie_core.faces.framing import NAMES, framing_named  # noqa: E402
from reganie_core.images import save_image  # noqa: E402
from trainer.portraits.renderer import FIRST_RESERVED_SEED  # noqa: E402

# name -> (offset from the first reserved seed, items)
EXAMPLES = {"hat": (11, ("hat",)), "earrings": (5, ("earrings",)), "hand": (8, ("hand",)), "paint": (3, ("paint",)),
            "pattern": (14, ("pattern",)), "plain": (20, ())}


def copy_parts(entries: list[str], out: Path) -> dict[str, str]:
    """Copy every file after checking that it is of the kind it is given as; returns {part: file name}."""
    manifest = {}
    for entry in entries:
        name, sep, source = entry.partition("=")
        extra = name.startswith("extra:")
        name = name.removeprefix("extra:")
        if not sep or not (extra or name in PARTS) or not name.isidentifier():
            raise InputError(f"{entry!r} is not part=FILE with a part of {', '.join(PARTS)}, or extra:name=FILE.")
        read_checkpoint(source, kind=None if extra else name)
        target = out / f"{name}.safetensors"
        temporary = target.with_suffix(".part")
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
        if not extra:
            manifest[name] = target.name
    return manifest


def render_examples(out: Path, resolution: int) -> list[str]:
    """Example pictures at four times the generator's resolution: results have the photo's detail."""
    (out / "examples").mkdir(exist_ok=True)
    names = []
    for name, (offset, items) in EXAMPLES.items():
        person = portraits.sample(1, FIRST_RESERVED_SEED + offset, items=items)
        save_image(portraits.render(person, 4 * resolution), out / "examples" / f"{name}.png")
        names.append(f"examples/{name}.png")
    return names


def copy_examples(files: list[str], out: Path) -> list[str]:
    """Pictures into the domain's folder of examples, under their own names."""
    names = []
    for file in files:
        if not Path(file).is_file():
            raise InputError(f"--example {file} is no file.")
        (out / "examples").mkdir(exist_ok=True)
        shutil.copyfile(file, out / "examples" / Path(file).name)
        names.append(f"examples/{Path(file).name}")
    return names


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python trainer/package.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("parts", nargs="+", metavar="part=FILE")
    p.add_argument("--out", required=True, metavar="DIR")
    p.add_argument("--name", default="portraits")
    p.add_argument("--examples", action="store_true", help="render example portraits")
    p.add_argument("--example", action="append", default=[], metavar="FILE", help="a picture to ship with it; again")
    p.add_argument("--framing", default="", help=f"how its pictures were cut around a face: {', '.join(NAMES)}")
    args = p.parse_args(argv)
    out = Path(args.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        before = json.loads((out / MANIFEST).read_text()) if (out / MANIFEST).exists() else {}
        manifest = copy_parts(args.parts, out)
        (out / MANIFEST).unlink(missing_ok=True)  # its sums are those of the files before
        resolution = load_generator(out / "generator.safetensors").resolution
        examples = render_examples(out, resolution) if args.examples else []
        examples += copy_examples(args.example, out)
        stays = {key: before[key] for key in ("default_rectifier", "framing", "inversion_error") if key in before}
        if args.framing:
            stays["framing"] = framing_named(args.framing).name
        sums = {file.name: sha256_of(file) for file in sorted(out.glob("*.safetensors"))}
        text = {"format_version": "1", "name": args.name, "resolution": resolution, **manifest, **stays,
                "examples": examples, "sha256": sums}
        (out / MANIFEST).write_text(json.dumps(text, indent=1) + "\n")
        load_domain(out)
    except ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    total = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {', '.join(manifest)}; {total / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
