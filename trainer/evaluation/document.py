"""docs/results.md: prose from a template, tables from the JSON files of `evaluate.py EXPERIMENT --json FILE`.

A line `{{NAME.json}}` of the template is replaced by what that file says: the command and its tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reganie_core.errors import CorruptCheckpointError, InputError, NotFoundError

from . import tables

TEMPLATE = Path(__file__).with_name("results.template.md")
PLACE = re.compile(r"^\{\{(.+\.json)\}\}$", re.MULTILINE)


def read(file: Path) -> dict[str, Any]:
    """The results of one run. Raises NotFoundError and CorruptCheckpointError for files that are none."""
    try:
        text = file.read_text(encoding="utf-8").replace("perceptual (judge)", "perceptual distance")  # its older name
        results = json.loads(text)
        results["about"]["command"]
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}. Run the experiment with --json first.") \
            from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpointError(f"{file} holds no results of evaluate.py.") from error
    return results


def run(results: dict[str, Any]) -> str:
    """What was run, and its tables."""
    about = results["about"]
    command = re.sub(r" --(json|chunk) \S+", "", about["command"])   # neither changes a number
    warning = "\n\n> Validation seeds: this supports no claim." if about["validation"] else ""
    return (f"`{command}`; commit {about['commit'][:12]}, torch {about['torch']}, {about['machine']}, {about['date']}."
            f"{warning}\n\n{tables.section(results)}")


def compose(files: Sequence[Path], template: str) -> str:
    """The document. Raises InputError when files and places in the template are not the same; see also `read`."""
    given = {file.name: file for file in files}
    wanted = PLACE.findall(template)
    if missing := [name for name in wanted if name not in given]:
        raise InputError(f"The template has a place for {', '.join(missing)}; give these files as well.")
    if extra := [name for name in given if name not in wanted]:
        raise InputError(f"The template has no place for {', '.join(extra)}; add a line {{{{{extra[0]}}}}} to it.")
    return PLACE.sub(lambda place: run(read(given[place[1]])), template)
