"""`train.py STAGE --help`: what a stage does, and every option with its default and its help text."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from .loop.config import StageConfig, help_of
from .stages import stage_class

__all__ = ["manual"]

WIDTH = 120
COLUMN = 34


def _shown(value: Any) -> str:
    """A default as it would be typed after `key=`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(_shown, value))
    if isinstance(value, str):
        return shlex.quote(value) if " " in value else value
    return json.dumps(value) if isinstance(value, dict) else f"{value:g}" if isinstance(value, float) else str(value)


def _option(name: str, value: Any, note: str) -> str:
    head = f"  {name}={_shown(value)}"
    if not note:
        return head
    lines = textwrap.wrap(note, WIDTH - COLUMN - 1)
    first = f"{head:<{COLUMN}} {lines[0]}" if len(head) < COLUMN else f"{head}\n{'':<{COLUMN}} {lines[0]}"
    return "\n".join([first, *(f"{'':<{COLUMN}} {line}" for line in lines[1:])])


def manual(stage: str) -> str:
    """The help page of a stage."""
    cls = stage_class(stage)
    config_class = cls.config_class
    defaults = {f.name: getattr(config_class(), f.name) for f in dataclasses.fields(config_class)}
    common = {f.name for f in dataclasses.fields(StageConfig)}
    configs = Path(__file__).parent / "configs"
    shipped = sorted(str(p.relative_to(configs.parents[1])) for p in configs.glob(f"*/{stage}*.json"))
    parts = [f"python trainer/train.py {stage} --out DIR [--config FILE] [--resume] [--preflight] [key=value ...]",
             (sys.modules[cls.__module__].__doc__ or "").strip(),
             "OPTIONS OF THIS STAGE, as key=value or in the config file",
             "\n".join(_option(k, v, help_of(config_class, k)) for k, v in defaults.items() if k not in common),
             "OPTIONS OF EVERY STAGE, with this stage's defaults",
             "\n".join(_option(k, v, help_of(config_class, k)) for k, v in defaults.items() if k in common)]
    if shipped:
        parts.append("SHIPPED CONFIGS\n  " + "\n  ".join(shipped))
    return "\n\n".join(parts)
