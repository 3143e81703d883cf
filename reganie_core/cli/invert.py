"""``invert``: picture -> latent code and inversion."""

from __future__ import annotations

import argparse
from pathlib import Path

from .batch import Batch, Done
from .common import add_pictures, check_device, ensure_folder, expand, load_source, output_paths, print_json

EPILOG = """examples:
  python -m reganie_core invert face.png -o inversion.png --latent face.safetensors
  python -m reganie_core invert portrait:1000000005:hat -o out/inversion.png --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    add_pictures(parser, "inversion picture")
    parser.add_argument("--latent", metavar="FILE", help="also save the codes of all photos as safetensors")


def run(args: argparse.Namespace) -> int:
    """Invert the photos and write the pictures of their codes."""
    import torch

    from ..domains import load_domain
    from ..images import save_image
    from ..inversion import invert
    from ..latents import Latent, concatenate, save_latent
    from ..metrics import l2

    args.photo = expand(args.photo)
    paths = output_paths(args.photo, args.out)
    if args.latent:
        ensure_folder(Path(args.latent).parent)
    domain = load_domain(args.domain, check_device(args.device))
    domain.require("generator", "encoder")
    latents: list[Latent] = []

    def work(spec: str, path: Path) -> Done:
        image = load_source(spec, domain.generator.resolution, args.fit).image
        with torch.inference_mode():
            found = invert(domain.generator, domain.encoder, image.to(args.device))
        done = Done(spec, save_image(found.inversion.cpu(), path), more={"l2": float(l2(found.image, found.inversion))})
        latents.append(found.latent.to("cpu"))
        return done

    batch = Batch(lambda done: None if args.json else print(
        f"{done.spec} -> {done.path}  (L2 {done.more['l2']:.4f})", flush=True))
    batch.run(args.photo, paths, work)
    if args.latent and latents:
        save_latent(concatenate(latents), args.latent,
                    {"command": "reganie_core invert", "photos": [done.spec for done in batch.done if not done.error]})
    if args.json:
        print_json({"latent": args.latent if latents else None, "pictures": batch.report("inversion")})
    return batch.finish()
