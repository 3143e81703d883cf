#!/usr/bin/env python3
"""Measure how large a domain's inversion errors usually are, and write that into its domain.json.

    python trainer/usual.py runs/mine --pictures "photographs of cats" --images held_out_folder
    python trainer/usual.py reganie_core/portraits/weights --pictures "drawn portraits"

The pictures must be ones that nothing was trained on: a folder, or without --images rendered portraits with validation
seeds, half of them with an item. An inversion far outside this distribution then gives a notice in nodes, command line
and Python: the picture is unlike those that the networks know.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402

import reganie_core as rc  # noqa: E402
from reganie_core.checkpoints.sums import MANIFEST  # noqa: E402
from reganie_core.inversion.usual import UsualError, inversion_error  # noqa: E402
from reganie_core.paths import atomic_write  # noqa: E402


def errors_of(domain: rc.Domain, images: str, count: int) -> torch.Tensor:
    """Inversion errors ``[N]`` of the pictures in a folder, or of rendered portraits."""
    from trainer.evaluation.people import FIRST_VALIDATION_SEED, Photos, held_out_people

    if count < 1:
        raise rc.errors.InputError(f"--count must be at least 1; found {count}.")
    people = Photos(images, count) if images else held_out_people(count, FIRST_VALIDATION_SEED, validation=True)
    found = []
    for start in range(0, len(people), 25):
        rows = slice(start, min(start + 25, len(people)))
        size = domain.generator.resolution
        pictures = people.read(rows, size) if images else rc.portraits.render(people.parameters[rows], size)
        with torch.inference_mode():
            result = rc.inversion.invert(domain.generator, domain.encoder, pictures)
        found.append(inversion_error(result.image, result.inversion))
    return torch.cat(found)


def write(folder: Path, usual: UsualError) -> None:
    """Put the distribution into the domain.json of a folder; everything else in it stays."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["inversion_error"] = usual.to_dict()
    manifest["sha256"] = manifest.pop("sha256", {})  # stays last, where people do not have to scroll past it
    with atomic_write(path) as temporary:
        Path(temporary).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python trainer/usual.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("domain", metavar="FOLDER", help="a folder with a domain.json")
    p.add_argument("--pictures", required=True, help='what the networks know, for example "photographs of cats"')
    p.add_argument("--images", default="", metavar="FOLDER", help="held-out pictures (default: rendered portraits)")
    p.add_argument("--count", type=int, default=500, help="how many of them (default: 500)")
    args = p.parse_args(argv)
    try:
        domain = rc.load_domain(args.domain)
        domain.require("generator", "encoder")
        usual = UsualError.measured(args.pictures, errors_of(domain, args.images, args.count))
        if UsualError.from_dict(usual.to_dict()) is None:
            raise rc.errors.InputError(f"The encoder finds nothing of these pictures (99 % below {usual.p99}), or "
                                       "--pictures is empty or longer than 80 characters; nothing was written.")
        write(domain.folder, usual)
    except rc.ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.domain}: inversion error of {usual.count} pictures, half below {usual.p50}, 99 % below {usual.p99}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
