"""`train.py STAGE --help`: what a stage does, and every option with its default and its help text."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from .extras import EXTRAS, extra_class, manual_of
from .loop.config import StageConfig, help_of
from .stages import stage_class

__all__ = ["manual", "pages_of"]

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


def pages_of(cls: type) -> list[str]:
    """The documentation of a stage's module, and of the module in trainer/portraits that adds to it."""
    return [(sys.modules[part.__module__].__doc__ or "").strip() for part in _stages_of(cls)]


def _stages_of(cls: type) -> list[type]:
    """A stage's class, after the plain stage that it adds to."""
    return [part for part in reversed(cls.__mro__) if getattr(part, "kind", "")]


def manual(stage: str) -> str:
    """The help page of a stage. What only a renderer can do stands in a section of its own."""
    cls = stage_class(stage)
    config_class = cls.config_class
    plain = _stages_of(cls)[0].config_class
    common = {f.name for f in dataclasses.fields(StageConfig)}
    own = {f.name for f in dataclasses.fields(plain)} - common
    names = [f.name for f in dataclasses.fields(config_class)]
    config = config_class()

    def listed(title: str, chosen: list[str]) -> list[str]:
        lines = [_option(name, getattr(config, name), help_of(config_class, name)) for name in chosen]
        return [title, "\n".join(lines)] if lines else []

    configs = Path(__file__).parent / "configs"
    shipped = sorted(str(p.relative_to(configs.parents[1])) for p in configs.glob(f"*/{stage}*.json"))
    parts = [f"python trainer/train.py {stage} --out DIR [--config FILE] [--resume] [--preflight] [key=value ...]",
             *pages_of(cls),
             *listed("OPTIONS OF THIS STAGE, as key=value or in the config file", [n for n in names if n in own]),
             *listed("OPTIONS WHERE PORTRAITS ARE RENDERED", [n for n in names if n not in own | common]),
             *listed("OPTIONS OF EVERY STAGE, with this stage's defaults", [n for n in names if n in common])]
    if "extras" in names:
        for name in EXTRAS:
            extra = extra_class(name)
            parts.append(f"EXTRA {name}\n{(sys.modules[extra.__module__].__doc__ or '').strip()}\n"
                         + "\n".join(_option(*setting) for setting in manual_of(name)))
    if shipped:
        parts.append("SHIPPED CONFIGS\n  " + "\n  ".join(shipped))
    return "\n\n".join(parts)
