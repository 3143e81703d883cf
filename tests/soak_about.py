"""When, where and on what the long tests ran, in words without paths or names of machines."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def about() -> dict[str, str]:
    """Date, commit and machine."""
    import torch

    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {"date": datetime.date.today().isoformat(), "commit": found.stdout.strip() or "unknown",
            "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python "
                       f"{platform.python_version()}, torch {torch.__version__}"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
