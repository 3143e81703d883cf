#!/usr/bin/env python3
"""Train any network of the system.

    python trainer/train.py rectifier  --config trainer/configs/portraits-64/rectifier.json  --out runs/rectifier
    python trainer/train.py generator  --config trainer/configs/portraits-64/generator.json  --out runs/generator
    python trainer/train.py attributes | encoder | directions ...        (rectifier is the default stage)

Options come from the stage's defaults, then --config FILE (JSON), then key=value on the command line, for example
`batch=8 lr=0.001 threads=1`. `python trainer/train.py STAGE --options` lists a stage's options and defaults.
A run lives in its --out folder: config.json, stats.jsonl, sample sheets, state.safetensors (to --resume from) and the
exported network, which the nodes and `rc.load_*` read. Ctrl-C or SIGTERM saves and leaves; --resume goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from reganie_core.errors import ReganieError  # noqa: E402
from trainer import config as configs  # noqa: E402
from trainer.stages import STAGES, stage_class  # noqa: E402


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python trainer/train.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stage", nargs="?", default="rectifier", choices=sorted(STAGES), help="what to train")
    p.add_argument("--config", metavar="FILE", help="JSON file with options")
    p.add_argument("--out", metavar="DIR", help="folder of this run")
    p.add_argument("--resume", action="store_true", help="continue the run in --out")
    p.add_argument("--options", action="store_true", help="list the stage's options and leave")
    p.add_argument("overrides", nargs="*", metavar="key=value", help="options that override the file")
    return p


def split_arguments(argv: list[str]) -> list[str]:
    """Let `key=value` stand anywhere, also when the stage is left out."""
    pairs = [a for a in argv if "=" in a and not a.startswith("-")]
    rest = [a for a in argv if a not in pairs]
    if not any(a in STAGES for a in rest):
        rest.insert(0, "rectifier")
    return rest + pairs


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if "-h" in argv or "--help" in argv:
        parser().parse_args(argv)
    args = parser().parse_intermixed_args(split_arguments(argv))
    try:
        cls = stage_class(args.stage)
        if args.options:
            print(json.dumps(configs.to_dict(cls.config_class()), indent=1))
            return 0
        if not args.out:
            parser().error("--out DIR is missing: the folder for this run")
        config = configs.build(cls.config_class, args.config, args.overrides)
        import torch

        from trainer.loop import Run
        if config.threads:
            torch.set_num_threads(config.threads)
        run = Run(cls(config), Path(args.out), ["python", "trainer/train.py", *argv])
        run.prepare(args.resume)
        run.run()
    except ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
