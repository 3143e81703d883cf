"""Every training stage at a size that takes milliseconds, and the files these stages start from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from reganie_core import portraits
from reganie_core.checkpoints import save_checkpoint
from reganie_core.networks import build, describe
from tests.conftest import TINY_RESOLUTION, write_tiny_domain

SIZE = TINY_RESOLUTION
LEVELS = ",".join(["8"] * (SIZE.bit_length() - 2))          # a width for 4, 8, ... SIZE
DATA = ["data={run}.data", "data_count=34"]                   # sheets show 32 of them
FILES = ["generator={root}/tiny/generator.safetensors", "encoder={root}/tiny/encoder.safetensors"]
READER = ["attributes={root}/attributes.safetensors"]

# What is written before every stage's own options; a save after every step, so that many kills hit a write.
COMMON = ["device=cpu", "threads=1", "save_minutes=0", "sheet_kimg=0.04", "total_kimg=10"]
OPTIONS: dict[str, list[str]] = {
    "generator": ["resolution=16", "channels=8,8,8", "w_dim=8", "batch=4", *DATA],
    "attributes": ["resolution=16", "channels=8,8", "hidden=8", "batch=4", "held_out_count=8", *DATA],
    "identity": ["resolution=16", "batch=4", "data={run}.data", "data_count=12", "held_out_count=8"],
    "encoder": ["batch=4", "stage_start_kimg=0.01", "stage_every_kimg=0.004", *DATA, *FILES[:1], *READER],
    "directions": ["batch=16", "controls=yaw,smile", *FILES, *READER],
    "editor": ["batch=4", "held_out_count=4", "controls=yaw,smile,glasses", "data=", *FILES, *READER,
               "identity={root}/identity.safetensors"],
    "rectifier": ["batch=4", "encoder_channels=8,12,16", "body_channels=16", "body_blocks=1", "decoder_channels=12,8",
                  "sp_channels=8", "gl_channels=16", "gl_dim=16", f"d_channels={LEVELS}", "r1_gamma=1",
                  "r1_interval=2", "editors={root}/tiny/directions.safetensors",
                  'extras={{"paste": {{"share": 0.5}}, "jitter": {{"most": 0.3}}}}',
                  *DATA, *FILES, *READER],
    "restyle": ["batch=4", "iterations=2", *DATA, *FILES[:1], *READER],
    "hfgi": ["batch=4", *DATA, *FILES, *READER],
    "hyperstyle": ["batch=4", "iterations=2", *DATA, *FILES, *READER],
    "styleclip": ["batch=16", "pictures=64", "samples=32", "text_encoder={root}/text_image.safetensors", *FILES[:1]],
    "text": ["resolution=16", "channels=8,12", "batch=8", "data_count=24", "held_out_count=16"],
}


def options(stage: str, root: Path, run: Path) -> list[str]:
    """`key=value` options of a stage whose run lives in ``run``, after :func:`prepare` has filled ``root``."""
    batch = next(int(item.partition("=")[2]) for item in OPTIONS[stage] if item.startswith("batch="))
    every = [*COMMON, f"tick_kimg={batch / 1000}"]
    return [item.format(root=root, run=run) for item in (*every, *OPTIONS[stage])]


def prepare(root: Path, stages: Iterable[str] = OPTIONS) -> Path:
    """Write the tiny domain and the other networks of random weights that ``stages`` start from into ``root``."""
    from trainer.loop.config import build as build_config
    from trainer.portraits.text import TextStage, TextStageConfig

    root.mkdir(parents=True, exist_ok=True)
    write_tiny_domain(root / "tiny")
    names = {kind: [c.name for c in portraits.CONTROLS if c.kind == kind] for kind in ("numeric", "binary")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = build("attributes", {
            "type": "AttributeNet", "resolution": SIZE, "channels": [8, 8], "hidden": 8, **names,
            "mean": [0.0] * len(names["numeric"]), "std": [1.0] * len(names["numeric"])})
        person = build("identity", {"type": "IdentityNet", "resolution": SIZE, "channels": [8, 8], "dim": 8})
        for kind, network in (("attributes", reader), ("identity", person)):
            save_checkpoint(root / f"{kind}.safetensors", kind, describe(network), network.state_dict(), {})
        if "styleclip" in stages:
            text = TextStage(build_config(TextStageConfig, None, options("text", root, root / "text")))
            text.export(root / "text_image.safetensors", {})
    return root
