"""``inspect``: what is this file?"""

from __future__ import annotations

import argparse
import math
from typing import Any

from .common import print_json

EPILOG = """Nothing in the file is executed, whatever it is.

example:
  python -m reganie_core inspect stylegan2-ffhq-config-f.pt"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    parser.add_argument("file", nargs="+", help="model file of any dialect")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, every tensor included")


def run(args: argparse.Namespace) -> int:
    """Report kind, dialect, config and tensors."""
    from .. import checkpoints

    reports = [{"file": path, **checkpoints.inspect(path)} for path in args.file]
    if args.json:
        print_json(_plain(reports if len(reports) > 1 else reports[0]))
        return 0
    for report in reports:
        tensors = report.pop("tensors", None)
        for key, value in report.items():
            print(f"{key:<12} {_short(value)}")
        if tensors is not None:
            print(f"{'tensors':<12} {len(tensors)} (use --json to list them)")
        print()
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):  # which JSON does not have
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{key}={_short(item)}" for key, item in value.items())
    text = "".join(c if c.isprintable() else "?" for c in str(value))
    return text if len(text) <= 300 else text[:297] + "..."
