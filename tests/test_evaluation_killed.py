"""A measurement that is killed without warning goes on and ends with the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reganie_core import networks, portraits
from reganie_core.checkpoints import save_checkpoint

ROOT = Path(__file__).parents[1]
NUMERIC = [c.name for c in portraits.CONTROLS if c.kind == "numeric"]


def run(domain: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "trainer" / "evaluate.py"), "reconstruction", "--domain", str(domain),
               "--count", "40", "--chunk", "2", "--validation", "--json", str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(out: Path) -> Any:
    return json.loads(out.read_text())["reconstruction"]["rows"]


@pytest.mark.soak
def test_a_killed_table_goes_on(make_domain: Any, tmp_path: Path) -> None:
    domain = make_domain(tmp_path / "tiny")
    config = {"type": "AttributeNet", "resolution": 32, "channels": [6, 6], "numeric": NUMERIC, "binary": ["glasses"],
              "mean": [0.0] * len(NUMERIC), "std": [1.0] * len(NUMERIC), "hidden": 8}
    judge = networks.build("attributes", config)
    save_checkpoint(domain / "judge.safetensors", "attributes", config, judge.state_dict(), {})
    whole = run(domain, tmp_path / "whole.json")
    killed, parts = run(domain, tmp_path / "table.json"), tmp_path / "table.parts"
    deadline = time.monotonic() + 300
    while len(list(parts.glob("*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    found = {f.name: f.stat().st_mtime_ns for f in parts.glob("*.npz")}
    assert 3 <= len(found) < 20 and not (tmp_path / "table.json").exists()
    again = run(domain, tmp_path / "table.json")
    assert again.wait(300) == 0 and whole.wait(300) == 0
    assert rows(tmp_path / "table.json") == rows(tmp_path / "whole.json")
    assert {name: (parts / name).stat().st_mtime_ns for name in found} == found      # nothing was measured twice
    assert len(list(parts.glob("*.npz"))) == 20
