"""What several promises share: the chain of nodes of the design card, and Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from torch import Tensor

from tests.host_stubs import ROOT, call

PACKAGED = "portraits (packaged)"
SHIPPED = ("reganie_core", "nodes", "trainer")  # the code people run; __init__.py registers the nodes


def wires_of(pack: SimpleNamespace, domain: str = PACKAGED) -> SimpleNamespace:
    """What LoadReGANIE puts on its wires, by name."""
    names = pack.nodes["LoadReGANIE"].RETURN_NAMES
    return SimpleNamespace(**dict(zip(names, call(pack, "LoadReGANIE", domain=domain), strict=True)))


def chain(pack: SimpleNamespace, image: Tensor, direction: str = "yaw", amount: float = 15.0,
          wires: SimpleNamespace | None = None, strength: float = 1.0) -> SimpleNamespace:
    """E4EInvert, DirectionEdit, ComputeDelta and Rectify, each called as ComfyUI calls it."""
    on = wires or wires_of(pack)
    latent, inversion, prepared = call(pack, "E4EInvert", generator=on.generator, image=image, encoder=on.encoder)
    delta, _ = call(pack, "ComputeDelta", image=prepared, inversion=inversion)
    edited_latent, edited = call(pack, "DirectionEdit", generator=on.generator, latent=latent, direction=direction,
                                 strength=amount, layers="all", editor=on.directions)
    result = call(pack, "Rectify", edited=edited, delta=delta, strength=strength, output="rectifier",
                  rectifier=on.rectifier)[0]  # and the doubt
    return SimpleNamespace(latent=latent, inversion=inversion, prepared=prepared, delta=delta, lost=delta.pixels,
                           edited=edited, edited_latent=edited_latent, result=result)


def python(*arguments: str | Path, cwd: Path = ROOT, timeout: float = 120, **env: str) -> subprocess.CompletedProcess:
    """Run this Python on one thread; stdout and stderr as text."""
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd,
                          timeout=timeout, env={**os.environ, "OMP_NUM_THREADS": "1", **env}, check=False)


def shipped_files() -> list[Path]:
    """Every Python file that people run."""
    return [ROOT / "__init__.py", *(path for room in SHIPPED for path in sorted((ROOT / room).rglob("*.py")))]
