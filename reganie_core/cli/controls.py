"""``controls``: what can be changed, in which units and ranges."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import add_domain, print_json

EPILOG = """examples:
  python -m reganie_core controls
  python -m reganie_core controls --editor directions.safetensors --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.epilog = EPILOG
    add_domain(parser)
    parser.add_argument("--editor", metavar="FILE", help="list the controls of this editor file instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """List the controls."""
    from .. import domains
    from ..editing import load_editor
    from ..paths import safe_join

    if args.editor:
        editors = {Path(args.editor).name: load_editor(args.editor)}
    else:
        folder, manifest = domains.load_manifest(args.domain)
        names = [part for part in ("dystyle", "directions", "styleclip") if manifest.get(part)]
        editors = {part: load_editor(safe_join(folder, manifest[part])) for part in names}
    rows = [{"editor": name, "accepts_targets": editor.accepts_targets, **control.to_dict()}
            for name, editor in editors.items() for control in editor.controls]
    if args.json:
        print_json(rows)
        return 0
    for name, editor in editors.items():
        kind = "changes and absolute values" if editor.accepts_targets else "changes only"
        print(f"{name} ({kind})")
        width = max(len(control.name) for control in editor.controls)
        for control in editor.controls:
            print(f"  {control.name:<{width}}  {control.range_text:<18} {control.description}".rstrip())
    if not editors:
        print("This domain has no editor.")
    return 0
