"""The command line: ``python -m reganie_core COMMAND --help``."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Sequence

from .cli.common import escape_output, one_line
from .errors import ReganieError, ReganieWarning

COMMANDS = {
    "edit": (".cli.edit", "invert, edit and rectify pictures"),
    "invert": (".cli.invert", "find the latent code of pictures and what their inversion looks like"),
    "controls": (".cli.controls", "list what a domain or an editor file can change"),
    "inspect": (".cli.inspect", "say what a model file is, without executing anything in it"),
    "convert": (".cli.convert", "turn a model file of any known dialect into safetensors"),
    "render": (".cli.render", "draw procedural portraits with known attributes"),
    "demo": (".cli.demo", "edit eight portraits the generator has never seen, beside the exact answers"),
}


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser; only the chosen command's module is imported, so that ``--help`` is instant."""
    parser = argparse.ArgumentParser(
        prog="python -m reganie_core",
        description="Edit real pictures through a StyleGAN without losing what the StyleGAN cannot express.",
        epilog="Exit status: 0 done, 1 something was wrong with the input (one line says what), 2 wrong usage.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        raw = argparse.RawDescriptionHelpFormatter
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", formatter_class=raw)
        if name == chosen:
            implementation = importlib.import_module(module, __package__)
            implementation.add_arguments(sub)
            sub.set_defaults(run=implementation.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 a :class:`ReganieError`, 2 usage, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    escape_output()
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    try:
        args = build_parser(chosen).parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    with warnings.catch_warnings(record=False):
        warnings.simplefilter("always", ReganieWarning)
        warnings.showwarning = _show_warning
        try:
            return int(args.run(args) or 0)
        except ReganieError as error:
            sys.stderr.write(f"error: {one_line(error)}\n")
            return 1
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            return 130
        except BrokenPipeError:
            sys.stderr.close()
            return 0
        except OSError as error:  # a disk that is full, a name that is too long, a folder that may not be entered
            sys.stderr.write(f"error: {one_line(error)}. Check the file names and the disk.\n")
            return 1


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    if issubclass(category, ReganieWarning):
        sys.stderr.write(f"warning: {one_line(message)}\n")


if __name__ == "__main__":
    sys.exit(main())
