"""`train.py STAGE --help`: what a stage does, and every option with its default and what its config file says of it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from .loop.config import StageConfig
from .stages import stage_class

__all__ = ["manual", "notes"]

WIDTH = 120
COLUMN = 34
FIELD = re.compile(r"^ {4}(\w+): [^=]+=(?P<rest>.*)$")
COMMENT = re.compile(r"\s#\s(.*)$")


#: For names that mean the same wherever they appear; a comment at the option itself goes first.
GENERAL = {
    "generator": "the frozen generator: ours, .pkl or .pt", "encoder": "the frozen encoder: ours or .pt",
    "editors": "DyStyle, directions, StyleCLIP; several are mixed",
    "batch": "pictures per step, all processes together",
    "lr": "learning rate of Adam", "beta1": "of Adam", "beta2": "of Adam", "channels": "widths, one per size",
    "resolution": "of the pictures, a power of two", "data": "folder of rendered portraits, filled on first use",
    "data_count": "how many portraits", "data_seed": "seed of the first one", "l1_weight": "of L1 in the loss",
    "l2_weight": "of the squared difference in the loss", "perceptual_weight": "of the perceptual distance in the loss",
    "identity_weight": "of 1 - identity similarity in the loss", "gan_weight": "of the adversarial loss; 0: no "
    "discriminator", "gan_start_kimg": "the discriminator joins here", "r1_gamma": "weight of the R1 penalty",
    "r1_interval": "steps from one R1 penalty to the next", "encoder_channels": "of E_p and E_d, from full size down",
    "body_channels": "of f_x and of G_p's first blocks", "body_blocks": "how many of them",
    "decoder_channels": "of G_p, up to full size", "sp_channels": "of the spatial code",
    "gl_channels": "of E_d's global head", "gl_dim": "width of the global code",
    "modulation": "spatial+global; spatial or global alone for ablations",
    "output": "residual: I^ + G_p(...), or literal: G_p(...)", "w_dim": "width of a style vector",
    "mapping_layers": "depth of the mapping network", "hidden": "width of the hidden layer",
    "tap_channels": "of the maps that the codes are read from", "features": "width of the vectors read from them",
    "align_channels": "of the alignment network", "trunk": "widths of the trunk's stages",
    "trunk_blocks": "blocks in each stage", "iterations": "how often it corrects itself",
    "shared_width": "of heads that share the large hypernetwork", "own_width": "of the other heads",
}


def notes(cls: type) -> dict[str, str]:
    """{option: the comment that follows it where it is declared}, base classes first; empty without a comment."""
    found: dict[str, str] = {}
    for part in reversed([c for c in cls.__mro__ if dataclasses.is_dataclass(c)]):
        for line in inspect.getsource(part).splitlines():
            if match := FIELD.match(line):
                comment = COMMENT.search(match["rest"])
                if comment or match[1] not in found:
                    found[match[1]] = comment[1] if comment else ""
    return found


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
    text = {name: note or GENERAL.get(name, "") for name, note in notes(config_class).items()}
    defaults = {f.name: getattr(config_class(), f.name) for f in dataclasses.fields(config_class)}
    common = {f.name for f in dataclasses.fields(StageConfig)}
    configs = Path(__file__).parent / "configs"
    shipped = sorted(str(p.relative_to(configs.parents[1])) for p in configs.glob(f"*/{stage}*.json"))
    parts = [f"python trainer/train.py {stage} --out DIR [--config FILE] [--resume] [--preflight] [key=value ...]",
             (sys.modules[cls.__module__].__doc__ or "").strip(),
             "OPTIONS OF THIS STAGE, as key=value or in the config file",
             "\n".join(_option(k, v, text[k]) for k, v in defaults.items() if k not in common),
             "OPTIONS OF EVERY STAGE, with this stage's defaults",
             "\n".join(_option(k, v, text[k]) for k, v in defaults.items() if k in common)]
    if shipped:
        parts.append("SHIPPED CONFIGS\n  " + "\n  ".join(shipped))
    return "\n\n".join(parts)
