#!/usr/bin/env python3
"""A folder of pictures becomes a domain, in one command.

    python trainer/domain.py --images photographs --name mine
    python trainer/domain.py --images photographs --name mine --labels labels.csv --framing faces joint.total_kimg=300

Stages: `joint` (generator and encoder together, hours), `directions` (from the table of labels, else SeFa: directions
found in the generator alone, a minute), `package` (a domain folder with what is usual for its inversion errors). Each
has a folder below runs/NAME. Call it again to go on where it stopped: finished stages are skipped, a begun one is
resumed. After the first stage runs/NAME/domain can be used already; put it into ComfyUI's models/reganie, or give it
to --domain.

`STAGE.key=value` sets an option of `joint` or `directions`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Replace, not add: the modules of trainer/ must not shadow anything.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from reganie_core.errors import InputError, ReganieError  # noqa: E402
from reganie_core.faces.framing import NAMES  # noqa: E402
from reganie_core.paths import check_name  # noqa: E402
from trainer.chain import finished  # noqa: E402
from trainer.data.files import picture_names  # noqa: E402
from trainer.label_directions import read_labels  # noqa: E402
from trainer.stages.joint import split  # noqa: E402

HERE = Path(__file__).resolve().parent
STAGES = ("joint", "directions")


class Chain:
    """The stages of one domain below ``out``."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, Path(args.out or "runs").joinpath(*check_name(args.name))
        self.options: dict[str, list[str]] = {stage: [] for stage in STAGES}
        for option in args.options:
            stage, dot, rest = option.partition(".")
            if stage not in STAGES or not dot or "=" not in rest:
                raise InputError(f"{option!r} is not STAGE.key=value with a stage of {', '.join(STAGES)}.")
            self.options[stage].append(rest)

    def call(self, script: str, *words: str) -> None:
        """Run one of the trainer's commands; its messages are the user's.

        Raises:
            InputError: it failed.
        """
        print(f"$ python trainer/{script} {' '.join(words)}", flush=True)
        if subprocess.run([sys.executable, str(HERE / script), *words], check=False).returncode:
            raise InputError(f"{script} stopped (see above). What is finished stays; call the same command again.")

    def train(self, stage: str, *words: str) -> None:
        """Train a stage from its beginning, or from where it stopped."""
        folder = self.out / stage
        begun = ["--resume"] if (folder / "state.safetensors").exists() else []
        self.call("train.py", stage, *words, *self.options[stage], "--out", str(folder), *begun)
        if not self.ended(stage):               # stopped by a signal, with everything saved
            raise InputError(f"{stage} was stopped before its end. Call the same command again to go on.")

    def ended(self, stage: str) -> bool:
        """Whether a stage has reached its end; SeFa and labelled directions have no length, only a result."""
        folder = self.out / stage
        if stage == "joint":
            return finished(folder)
        return (folder / "directions.safetensors").exists() and any(
            (folder / last).exists() for last in ("sheet_last.png", "directions.json"))

    def run(self) -> None:
        """Every stage that is not finished, and the package after each."""
        joint, found = self.out / "joint", self.out / "directions"
        networks = [f"{kind}={joint / f'{kind}.safetensors'}" for kind in ("generator", "encoder")]
        if not self.ended("joint"):
            self.train("joint", f"images={self.args.images}")
            self.package(networks)
        if not self.ended("directions"):
            if self.args.labels:
                files = [word for entry in networks for word in (f"--{entry.split('=')[0]}", entry.split("=", 1)[1])]
                self.call("label_directions.py", *files, "--images", self.args.images, "--labels", self.args.labels,
                          "--out", str(found))
            else:
                self.train("directions", "method=sefa", networks[0])
        self.package([*networks, f"directions={found / 'directions.safetensors'}"])

    def package(self, parts: list[str]) -> None:
        """The domain folder with what there is, and how large its inversion errors are."""
        domain = self.out / "domain"
        framing = ["--framing", self.args.framing] if self.args.framing else []
        self.call("package.py", *parts, "--out", str(domain), "--name", self.args.name, *framing)
        try:
            self.call("usual.py", str(domain), "--pictures", f"pictures of {self.args.name}"[:80], "--images",
                      str(self.held_out()), "--count", "300")
        except InputError:                      # an encoder that has hardly learned: a domain without notices
            print("The domain gives no notice of pictures unlike these yet.")


    def held_out(self) -> Path:
        """A folder of links to the pictures that `joint` never trained on.

        Raises:
            InputError: the pictures are no folder.
        """
        images, folder = Path(self.args.images).resolve(), self.out / "held_out"
        if not images.is_dir():
            raise InputError("What is usual is measured on the held-out pictures of a folder only.")
        folder.mkdir(parents=True, exist_ok=True)
        names = picture_names(images)
        for index in split(names)[1].tolist():
            link = folder / f"{index}{Path(names[index]).suffix}"
            if not link.is_symlink():
                link.symlink_to(images / names[index])
        return folder


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python trainer/domain.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", required=True, metavar="FOLDER", help="the pictures, all cut in the same way")
    p.add_argument("--name", required=True, help="of the domain")
    p.add_argument("--labels", default="", metavar="CSV", help="a column file, and one of numbers for each label")
    p.add_argument("--framing", default="", help=f"how faces were cut: {', '.join(NAMES)}")
    p.add_argument("--out", default="", metavar="FOLDER", help="default: runs")
    p.add_argument("options", nargs="*", metavar="STAGE.key=value")
    args = p.parse_args(argv)
    start = time.time()
    try:
        chain = Chain(args)
        if not Path(args.images).exists():
            raise InputError(f"There is no folder {args.images}.")
        if args.labels:                         # now, not after hours of training
            if not Path(args.images).is_dir():
                raise InputError(f"Labels name the pictures of a folder; {args.images} is none. Unpack it first.")
            read_labels(Path(args.labels), Path(args.images))
        chain.run()
    except (ReganieError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{chain.out / 'domain'} is ready ({(time.time() - start) / 60:.0f} min).")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
