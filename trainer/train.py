#!/usr/bin/env python3
"""Train any network of the system, for any StyleGAN.

  python trainer/train.py [STAGE] --out DIR [--config FILE] [--resume] [key=value ...]

STAGES AND WHAT THEY NEED  (files are options: generator=FILE encoder=FILE ...; public .pkl and .pt files will do)
  generator    a StyleGAN2                images=PATH, or nothing: the packaged portraits are rendered
  attributes   an attribute reader        nothing (portraits)
  identity     an identity embedder       nothing (portraits)
  encoder      picture -> latent (e4e)    generator=FILE  [images=PATH]
  directions   linear edits               generator=FILE encoder=FILE, and labels (portraits)
  editor       DyStyle                    generator=FILE encoder=FILE attributes=FILE
  rectifier    what ReGANIE is about      generator=FILE encoder=FILE and an editor      (the default stage)
  text, styleclip                         edits by text
  restyle, hfgi, hyperstyle               other inversion methods, to compare with
  `train.py STAGE --help` is the page of one stage, with all of its options; `--stages` lists the stages.
  PATH is a folder of pictures, a .zip, a .tar, or a pattern of tar shards ("data/ffhq-*.tar"). Pictures are cropped to
  their central square and brought to the resolution that is trained.

OPTIONS come from the stage's defaults, then --config FILE (JSON), then key=value, for example
  batch=8 lr=0.001 dtype=bfloat16.   Lists are written with commas: channels=64,32.

A RUN lives in its --out folder: config.json, stats.jsonl, sample sheets, state.safetensors and state.previous (to
  --resume from), the exported network (and the best one so far), which the nodes and `rc.load_*` read.
  It starts with a preflight: one step of everything, so that whatever is wrong shows at once; --preflight does only
  that. Ctrl-C or SIGTERM saves and leaves; --resume goes on, also with another number of GPUs.

EXAMPLES
  your own StyleGAN and pictures, two commands:
    python trainer/train.py encoder   generator=my.pkl images=my_pictures --out runs/my_encoder
    python trainer/train.py rectifier generator=my.pkl encoder=runs/my_encoder/encoder.safetensors --out runs/mine
  the paper's setting, 512 px:
    python trainer/train.py --config trainer/configs/paper-512/rectifier.json generator=G encoder=E --out runs/paper
  the packaged portraits:
    see trainer/configs/portraits-*/README.md

SEVERAL GPUs  (batch counts all of them together; CPU processes work the same way)
  1 GPU    python trainer/train.py STAGE ...
  8 GPUs   torchrun --nproc-per-node 8 --max-restarts 3 trainer/train.py STAGE --resume batch=32 ...
  2 nodes  torchrun --nnodes 2 --nproc-per-node 8 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
               trainer/train.py STAGE --resume batch=64 ...                                   (the same on both nodes)
  A worker that dies makes torchrun start all of them again from the last checkpoint.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from reganie_core.cli.common import escape_output  # noqa: E402
from reganie_core.errors import InputError, ReganieError  # noqa: E402
from trainer.loop import config as configs  # noqa: E402
from trainer.stages import STAGES, stage_class  # noqa: E402

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)     # wherever in a run a disk refuses


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python trainer/train.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stage", nargs="?", default="rectifier", choices=sorted(STAGES), help="what to train")
    p.add_argument("--config", metavar="FILE", help="JSON file with options")
    p.add_argument("--out", metavar="DIR", help="folder of this run")
    p.add_argument("--resume", action="store_true",
                   help="continue the run in --out, with its own options unless others are given; start it if there "
                        "is none")
    p.add_argument("--other-networks", action="store_true",
                   help="with --resume: go on although the generator or another network that the run trains with is "
                        "not the one it was started with")
    p.add_argument("--preflight", action="store_true", help="check everything with one step and leave")
    p.add_argument("--options", action="store_true", help="list the stage's options and leave")
    p.add_argument("--stages", action="store_true", help="list the stages and leave")
    p.add_argument("overrides", nargs="*", metavar="key=value", help="options that override the file")
    return p


def split_arguments(argv: list[str]) -> list[str]:
    """Let `key=value` stand anywhere, also when the stage is left out; what follows --out or --config is a path."""
    pairs: list[str] = []
    rest: list[str] = []
    named = False
    for before, word in zip(["", *argv], argv, strict=False):
        path = before in ("--out", "--config")
        (pairs if "=" in word and not word.startswith("-") and not path else rest).append(word)
        named = named or (word in STAGES and not path)
    return ([] if named else ["rectifier"]) + rest + pairs


def read_config(args: argparse.Namespace) -> configs.StageConfig:
    """The stage's config; a resumed run starts from its own config.json unless another file is given."""
    cls = stage_class(args.stage).config_class
    own = Path(args.out) / "config.json"
    if args.resume and not args.config and own.exists():
        overrides = [*(["device=auto"] if not any(o.startswith("device=") for o in args.overrides) else []),
                     *args.overrides]
        return configs.build(cls, own, overrides, resuming=True)
    return configs.build(cls, args.config, args.overrides)


def make_stage(name: str, config: configs.StageConfig) -> Any:
    """The stage with its networks; sizes and numbers that no network can have are said with the options they are in."""
    try:
        return stage_class(name)(config)
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        if isinstance(error, ReganieError) or "out of memory" in str(error):
            raise
        plain = configs.to_dict(type(config)())
        given = ", ".join(f"{k}={v}" for k, v in configs.to_dict(config).items() if plain[k] != v)
        raise InputError(f"The {name} stage cannot be made with these options ({given}): {error}") from error


def train(args: argparse.Namespace, command: list[str]) -> None:
    """Prepare, check and run."""
    config = read_config(args)
    import torch

    from trainer.loop import accelerate, distributed
    from trainer.loop.optimisation import compile_networks
    from trainer.loop.preflight import preflight
    from trainer.loop.run import Run
    if config.threads:
        torch.set_num_threads(config.threads)
    config.device = distributed.setup(config.device)
    accelerate.tune(config.device)
    try:
        with distributed.main_first():
            stage = make_stage(args.stage, config)
        run = Run(stage, Path(args.out), command)
        run.prepare(args.resume, args.other_networks)
        if config.compile:
            compile_networks(stage)
        if run.seen == 0:
            preflight(run)
        if not args.preflight:
            run.run()
    except torch.OutOfMemoryError as error:
        raise InputError(f"The GPU's memory is full. Continue with --resume accumulate={2 * config.accumulate}: the "
                         "same training in smaller pieces.") from error
    finally:
        distributed.leave()


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    escape_output()
    if "-h" in argv or "--help" in argv:
        if (stage := next((a for a in argv if a in STAGES), None)) is None:
            parser().parse_args(argv)
        from trainer.manual import manual

        print(manual(stage))
        return 0
    args = parser().parse_intermixed_args(split_arguments(argv))
    try:
        if args.stages:
            from trainer.manual import pages_of

            for name in STAGES:
                print(f"{name:12} {pages_of(stage_class(name))[0].splitlines()[0]}")
            return 0
        if args.options:
            print(json.dumps(configs.to_dict(stage_class(args.stage).config_class()), indent=1))
            return 0
        if not args.out:
            parser().error("--out DIR is missing: the folder for this run")
        train(args, ["python", "trainer/train.py", *argv])
    except ReganieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in DISK:
            raise
        print(f"error: {error.filename or args.out} cannot be written: {error.strerror}. What is saved in {args.out} "
              "is whole; make room, or choose another --out, and go on with --resume.", file=sys.stderr)
        return 1
    return 0


def show_warning(message: Warning | str, *_: object) -> None:
    """A warning is a sentence for a person; where in the code it was raised helps nobody here."""
    print(f"warning: {message}", file=sys.stderr)


def program(argv: list[str] | None = None) -> NoReturn:
    """`main` as a process of its own.

    One of several processes ends at once when all is written: the message threads of the process group may otherwise
    wake up inside a Python that is half taken down, and abort a run that had succeeded.
    """
    code = main(argv)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


if __name__ == "__main__":
    warnings.showwarning = show_warning
    program()
