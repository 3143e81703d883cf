"""Where a trained file comes from: command, config, commit, seed, images seen, metrics."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import torch

from .config import StageConfig, to_dict

ROOT = Path(__file__).resolve().parents[2]


def commit() -> str:
    """The repository's commit, with "+" when tracked files differ from it; "unknown" outside a checkout."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True,
                               check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def collect(command: list[str], config: StageConfig, seen: int, metrics: dict[str, float],
            **more: Any) -> dict[str, Any]:
    """The provenance record that goes into the metadata of an exported file."""
    return {"command": " ".join(command), "config": to_dict(config), "commit": commit(), "seed": config.seed,
            "kimg": seen / 1000, "metrics": metrics, "torch": torch.__version__, **more}
