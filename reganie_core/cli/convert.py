"""``convert``: any known dialect -> our safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .common import ensure_folder, print_json

EPILOG = """examples:
  python -m reganie_core convert stylegan2-ffhq.pkl ffhq.safetensors
  python -m reganie_core convert e4e_ffhq_encode.pt e4e.safetensors                      # its encoder
  python -m reganie_core convert e4e_ffhq_encode.pt ffhq.safetensors --kind generator    # and its generator
  python -m reganie_core convert encoder.pt encoder.safetensors --encoder-type e4e       # a file that does not say"""

KINDS = ("generator", "discriminator", "encoder", "restyle", "hfgi", "hyperstyle", "styleclip", "directions")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    parser.add_argument("source", help="model file to read (nothing in it is executed)")
    parser.add_argument("destination", help="safetensors file to write")
    parser.add_argument("--kind", choices=KINDS,
                        help="which network of a file with several; without it the main one: of an e4e or pSp file "
                        "the encoder, else the generator")
    parser.add_argument("--encoder-type", choices=("e4e", "psp", "psp-w"),
                        help="what an encoder is whose file does not say: e4e and pSp ones have the same tensors")
    parser.add_argument("--force", action="store_true", help="replace an existing destination")
    parser.add_argument("--json", action="store_true", help="report as JSON")


def run(args: argparse.Namespace) -> int:
    """Convert one file."""
    from .. import checkpoints
    from ..paths import refuse_overwriting_inputs

    refuse_overwriting_inputs(args.destination, [args.source])
    target = Path(args.destination)
    if target.exists() and not args.force:
        raise InputError(f"{target} exists; choose another name, or add --force to replace it.")
    ensure_folder(target.parent)
    checkpoints.convert(args.source, target, kind=args.kind, encoder_type=args.encoder_type)
    report = checkpoints.inspect(target)
    summary = {"destination": str(target), "bytes": target.stat().st_size, "kind": report.get("kind")}
    if args.json:
        print_json(summary)
    else:
        print(f"wrote {target} ({summary['kind']}, {summary['bytes'] / 1e6:.1f} MB)")
    return 0
