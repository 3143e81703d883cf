"""``invert``: picture -> latent code and inversion."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import (
    PORTRAIT_HELP,
    add_device,
    add_domain,
    add_fit,
    check_device,
    ensure_folder,
    load_sources,
    output_paths,
    print_json,
)

EPILOG = """examples:
  python -m reganie_core invert face.png -o inversion.png --latent face.safetensors
  python -m reganie_core invert portrait:1000000007:hat -o out/inversion.png --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    parser.add_argument("photo", nargs="+", help=PORTRAIT_HELP)
    parser.add_argument("-o", "--out", required=True, help="inversion picture; a folder for several photos")
    parser.add_argument("--latent", metavar="FILE", help="also save the codes of all photos as safetensors")
    add_domain(parser)
    add_fit(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="report as JSON")


def run(args: argparse.Namespace) -> int:
    """Invert the photos and write the pictures of their codes."""
    import torch

    from ..domains import load_domain
    from ..images import save_image
    from ..inversion import invert
    from ..latents import save_latent
    from ..metrics import l2

    domain = load_domain(args.domain, check_device(args.device))
    domain.require("generator", "encoder")
    sources = load_sources(args.photo, domain.generator.resolution, args.fit)
    paths = output_paths(args.photo, args.out)
    with torch.inference_mode():
        pictures = torch.cat([source.image for source in sources]).to(args.device)
        found = invert(domain.generator, domain.encoder, pictures)
    errors = l2(found.image, found.inversion).tolist()
    for path, picture in zip(paths, found.inversion.cpu(), strict=True):
        save_image(picture, path)
    if args.latent:
        ensure_folder(Path(args.latent).parent)
        save_latent(found.latent, args.latent, {"command": "reganie_core invert", "photos": args.photo})
    rows = [{"photo": spec, "inversion": str(path), "l2": error}
            for spec, path, error in zip(args.photo, paths, errors, strict=True)]
    if args.json:
        print_json({"latent": args.latent, "pictures": rows})
    else:
        for row in rows:
            print(f"{row['photo']} -> {row['inversion']}  (L2 {row['l2']:.4f})")
    return 0
