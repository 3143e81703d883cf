"""Memory after many runs: `python -m tests.soak_memory [--runs 200] [--tiny] [--json out/soak/memory.json]`.

The whole graph (invert, edit, difference, rectify) runs again and again with node objects that live on, as ComfyUI
keeps them; then as many runs are cancelled, each at another one of the moments at which a node looks for Cancel. The
resident memory of the process must return to where it was after a few runs, within 64 MB.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import json
import logging
import random
import tempfile
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from tests.host_stubs import Interrupted, host_modules, load_pack, picture
from tests.soak_about import about

ALLOWED = 64 << 20
WARM = 10


def resident() -> int:
    """Bytes of this process in memory, after everything that can be given back was (Linux)."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:
        pass
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) << 10


class Graph:
    """The whole graph beside stand-ins of ComfyUI, whose Cancel can be set to come at a certain look for it."""

    def __init__(self, folder: Path, tiny: bool) -> None:
        from tests.conftest import write_tiny_domain

        self.host = host_modules(folder / "comfy")
        module = load_pack(self.host, suffix="_memory")
        self.nodes = module.NODE_CLASS_MAPPINGS
        core = importlib.import_module(f"{module.__name__}.reganie_core")
        if tiny:
            core.domains.PACKAGED["portraits"] = write_tiny_domain(folder / "tiny")
        self.looks, self.cancel_at = 0, 0
        self.host.modules["comfy.model_management"].throw_exception_if_processing_interrupted = self._look
        self.kept: dict[str, Any] = {}
        names = self.nodes["LoadReGANIE"].RETURN_NAMES
        self.wires = SimpleNamespace(**dict(zip(names, self.call("LoadReGANIE", domain="portraits (packaged)"),
                                                strict=True)))
        self.seen: list[weakref.ref[torch.Tensor]] = []

    def _look(self) -> None:
        self.looks += 1
        if self.looks == self.cancel_at:
            raise Interrupted

    def call(self, node: str, **inputs: Any) -> Any:
        """Run a node with the object it had before, as ComfyUI does."""
        cls = self.nodes[node]
        one = self.kept.setdefault(node, cls())
        with torch.inference_mode():
            return getattr(one, cls.FUNCTION)(**inputs)

    def run(self, seed: int, cancel_at: int = 0) -> int:
        """One run with pictures of its own; how often the nodes looked for Cancel. Results are dropped."""
        wires, self.looks, self.cancel_at = self.wires, 0, cancel_at
        size = wires.generator.value.resolution
        image = picture(1 + seed % 3, size, size, seed=seed)
        try:
            latent, inversion, prepared = self.call("E4EInvert", generator=wires.generator, image=image,
                                                    encoder=wires.encoder)
            _, edited = self.call("DirectionEdit", generator=wires.generator, latent=latent, direction="yaw",
                                  strength=float(seed % 20 - 10), editor=wires.directions)
            delta, _ = self.call("ComputeDelta", image=prepared, inversion=inversion)
            rectified = self.call("Rectify", edited=edited, delta=delta, rectifier=wires.rectifier)[0]
            self.seen = [*self.seen[-8:], weakref.ref(rectified)]
        except Interrupted:
            pass
        self.cancel_at = 0
        self.host.state.bars.clear(), self.host.state.loads.clear(), self.host.state.previews.clear()
        self.host.state.notices.clear()
        return self.looks


def measure(runs: int, tiny: bool, seed: int = 0) -> dict[str, Any]:
    """Memory before and after ``runs`` whole and ``runs`` cancelled runs."""
    dice, begin = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        graph = Graph(Path(folder), tiny)
        looks = [graph.run(index) for index in range(WARM)]
        start = resident()
        most = start
        for index in range(runs):
            graph.run(index)
            if index % 20 == 19:
                most = max(most, resident())
        whole = resident()
        cancelled = 0
        for index in range(runs):
            moment = dice.randint(1, min(looks))
            cancelled += graph.run(index, moment) == moment
        graph.run(0)
        end = resident()
        alive = sum(ref() is not None for ref in graph.seen)
    return {"runs": runs, "cancelled": cancelled, "start_mb": start >> 20, "after_runs_mb": (whole - start) / 2**20,
            "after_cancel_mb": (end - start) / 2**20, "most_mb": (most - start) / 2**20, "allowed_mb": ALLOWED >> 20,
            "results_alive": alive, "looks_for_cancel": min(looks), "tiny": tiny,
            "seconds": round(time.monotonic() - begin), "about": about()}


def problem(found: dict[str, Any]) -> str:
    """What is wrong with a measurement; empty when nothing is."""
    limit = found["allowed_mb"]
    if abs(found["after_runs_mb"]) > limit or abs(found["after_cancel_mb"]) > limit or found["most_mb"] > limit:
        return f"Memory does not return to the start within {limit} MB."
    if found["cancelled"] != found["runs"]:
        return f"Only {found['cancelled']} of {found['runs']} runs could be cancelled."
    return "Results of runs that are over stay in memory." if found["results_alive"] else ""


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--runs", type=int, default=200)
    p.add_argument("--tiny", action="store_true", help="a tiny domain in place of the packaged one")
    p.add_argument("--json", type=Path, help="write what happened here")
    args = p.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("ReGANIE").setLevel(logging.ERROR)  # pictures of noise resemble no inversion, and it says so
    found = measure(args.runs, args.tiny)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    wrong = problem(found)
    print(f"{found['runs']} whole runs: {found['after_runs_mb']:+.1f} MB; {found['cancelled']} cancelled: "
          f"{found['after_cancel_mb']:+.1f} MB; at most {found['most_mb']:+.1f} MB between (start {found['start_mb']} "
          f"MB, {found['seconds']} s). {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
